//! The calls of `stackless.socket` whose speed matters: one system call each, and no Python
//! exception where it would block.
//!
//! A call is tried first. If it would block, the tasklet waits until the descriptor is ready, with the
//! call itself as its tempval, in a bomb; the bomb tries again when the tasklet continues, and the tasklet may wait
//! again. So a waiting call keeps nothing in its C frame. The descriptor's flags are not changed: the
//! calls themselves use MSG_DONTWAIT.
//!
//! A tasklet whose calls on this module's sockets find everything ready lets others run all the same: after a number
//! of calls, as `schedule()` does. Not for calls that do not wait in any case, and not for the
//! standard sockets: their callers may hold a lock of the thread, and do not expect a switch then.

use crate::engine::departure::depart;
use crate::engine::switch::switch_and_resume;
use crate::engine::throw;
use crate::model::thread::{Moment, Sched};
use crate::model::wait::{CallKind, Deadline, SocketCall, WaitKind};
use crate::model::world::world;
use crate::model::{bomb, thread};
use crate::parking::stacks::prepare;
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::scheduler::entry::Entered;
use crate::scheduler::ring::{leave_value, unlink_running};
use crate::scheduler::{entry, readiness, timers, waits};
use crate::sockets::socket::descriptor_of;
use crate::waiting::descriptors;
use pyo3_ffi::*;
use stackless_cpython::Pending;
use stackless_reactor::now;
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;
use std::io::{Error, ErrorKind};
use std::ptr::null_mut;

unsafe extern "C" {
    // Exported by CPython, declared in its cpython/bytesobject.h.
    fn _PyBytes_Resize(bytes: *mut Obj, size: Py_ssize_t) -> c_int;
}

/// The maximum size that a `recv` reads into a static buffer first: most messages of most protocols fit.
const SCRATCH: usize = 64 * 1024;
static BUFFER: Gil<UnsafeCell<[u8; SCRATCH]>> = Gil::new(UnsafeCell::new([0; SCRATCH]));

/// The maximum number of calls in a row without a wait before other tasklets get a turn.
const CALLS: u32 = 64;
static DONE: Gil<Cell<u32>> = Gil::new(Cell::new(0));

/// The result of a try.
enum Tried {
    Done(Obj),
    /// It would block; this call is to be made then.
    Blocks(SocketCall),
}

/// Makes the call, for the running tasklet. `buffer` is what it reads into or writes, or null;
/// `pending` is the primitive's call, None if the tasklet has waited in it already.
pub fn make(socket: Obj, buffer: Obj, call: SocketCall, pending: Option<Pending>) -> Res<Obj> {
    let entered = entry::enter_anywhere()?;
    let s = entered.s;
    throw::raise_pending(s.current())?;
    let blocks = !readiness::may_be_ready(s, call.descriptor, call.direction()) && may_rely(s, &call);
    match if blocks { Tried::Blocks(call) } else { attempt(s, buffer, call)? } {
        Tried::Done(result) => done(entered, call, result, pending),
        Tried::Blocks(call) => {
            let until = match call.deadline {
                Deadline::None => return Err(raise_os_error(&Error::from_raw_os_error(libc::EAGAIN))),
                Deadline::Until(at) if at <= now() => return Err(waits::raise_timed_out()),
                Deadline::Until(at) => Some(at),
                Deadline::Unlimited => None,
            };
            DONE.set(0);
            let again = bomb::of_call(
                new_ref(socket),
                if buffer.is_null() { buffer } else { new_ref(buffer) },
                call,
                again,
            )?;
            let what = WaitKind::Descriptor(call.descriptor, call.direction());
            let next = match descriptors::plan_wait(entered, what, until, blocks || call.followed) {
                Ok(next) => next,
                Err(Raised) => {
                    saving_exception(|| drop_ref(again));
                    return Err(Raised);
                }
            };
            let me = s.current();
            me.seat().pending.set(pending.unwrap_or(me.seat().pending.get()));
            leave_value(s, me, again);
            unlink_running(s);
            // SAFETY: nothing is owned in this frame.
            unsafe { depart(s, next) }
        }
    }
}

/// A call was made without waiting, and returns `result`, which is taken over. Now and then other tasklets run
/// before.
#[inline(always)]
fn done(entered: Entered, call: SocketCall, result: Obj, pending: Option<Pending>) -> Res<Obj> {
    if !call.followed || matches!(call.deadline, Deadline::None) {
        return Ok(result);
    }
    DONE.set(DONE.get() + 1);
    if DONE.get() < CALLS || !entered.can_switch() {
        return Ok(result);
    }
    DONE.set(0);
    take_turn(entered.s, result, pending)
}

/// Lets other tasklets run before the call returns `result`, which is taken over.
fn take_turn(s: &'static Sched, result: Obj, pending: Option<Pending>) -> Res<Obj> {
    timers::wake_due(s, Moment::Running);
    let me = s.current();
    let next = world(|w| w.right_neighbour_payload(me.id()));
    // If an exception has come up, it is raised at the next call, so that this result is not lost.
    if std::ptr::eq(next, me) || !me.tempval.get().is_null() {
        return Ok(result);
    }
    if prepare(s, next).is_err() {
        drop_ref(result);
        return Err(Raised);
    }
    me.seat().pending.set(pending.unwrap_or(me.seat().pending.get()));
    leave_value(s, me, result);
    world(|w| w.run_now(next.id()));
    // SAFETY: nothing is owned in this frame.
    unsafe { switch_and_resume(s, next) }
}

/// Continues a tasklet that waited with this call. The references are taken over.
fn again(socket: Obj, buffer: Obj, call: SocketCall) -> Res<Obj> {
    // The next tasklet to run drops them: this frame may never continue. The waiting call below owns both.
    let s = thread::of_running_tasklet();
    [socket, buffer].into_iter().filter(|o| !o.is_null()).for_each(|o| s.drop_later(o));
    if descriptor_of(socket)? != Some(call.descriptor) {
        return Err(raise_os_error(&Error::from_raw_os_error(libc::EBADF)));
    }
    make(socket, buffer, call, None)
}

/// True if what is known of the descriptor is known of this socket. One of ours tells when it is closed; a standard one may
/// have been closed behind our back, and another one have its descriptor.
#[inline(always)]
fn may_rely(s: &'static Sched, call: &SocketCall) -> bool {
    call.followed || (!matches!(call.kind, CallKind::Wait(_)) && readiness::watches(s, call.descriptor))
}

fn attempt(s: &'static Sched, buffer: Obj, call: SocketCall) -> Res<Tried> {
    match call.kind {
        CallKind::Recv => receive(s, call),
        CallKind::RecvInto => with_buffer(buffer, true, |start, size| {
            let room = if call.count == 0 { size } else { call.count };
            if room > size {
                return Err(raise(Exc::Value, "buffer too small for requested bytes"));
            }
            Ok(match read(s, start, room, &call)? {
                Some(count) => Tried::Done(int_obj(count as i64)),
                None => Tried::Blocks(call),
            })
        }),
        CallKind::RecvAll | CallKind::RecvIntoAll => with_buffer(buffer, true, |start, size| {
            let mut call = call;
            while call.count < size {
                // SAFETY: within the buffer.
                let rest = unsafe { start.add(call.count) };
                match read(s, rest, size - call.count, &call)? {
                    Some(0) => break,
                    Some(count) => call.count += count,
                    None => return Ok(Tried::Blocks(call)),
                }
            }
            if call.kind == CallKind::RecvIntoAll {
                return Ok(Tried::Done(int_obj(call.count as i64)));
            }
            // SAFETY: that many bytes are there.
            check(unsafe { PyBytes_FromStringAndSize(start.cast(), call.count as Py_ssize_t) })
                .map(Tried::Done)
        }),
        CallKind::Send => with_buffer(buffer, false, |start, size| {
            Ok(match write(start, size, &call)? {
                Some(count) => Tried::Done(int_obj(count as i64)),
                None => Tried::Blocks(call),
            })
        }),
        CallKind::SendAll => with_buffer(buffer, false, |start, size| {
            let mut call = call;
            while call.count < size {
                // SAFETY: within the buffer.
                let rest = unsafe { start.add(call.count) };
                match write(rest, size - call.count, &call)? {
                    Some(count) => call.count += count,
                    None => return Ok(Tried::Blocks(call)),
                }
            }
            Ok(Tried::Done(none()))
        }),
        CallKind::Wait(direction) => {
            let ready = readiness::is_ready(call.descriptor, direction);
            Ok(if ready { Tried::Done(none()) } else { Tried::Blocks(call) })
        }
    }
}

fn receive(s: &'static Sched, call: SocketCall) -> Res<Tried> {
    if call.count <= SCRATCH {
        let start = BUFFER.get().cast::<u8>();
        let Some(count) = read(s, start, call.count, &call)? else { return Ok(Tried::Blocks(call)) };
        // SAFETY: that many bytes were written there.
        return check(unsafe { PyBytes_FromStringAndSize(start.cast(), count as Py_ssize_t) })
            .map(Tried::Done);
    }
    // SAFETY: a new bytes object of this size, which no other code has seen.
    unsafe {
        let mut bytes = check(PyBytes_FromStringAndSize(null_mut(), call.count as Py_ssize_t))?;
        match read(s, PyBytes_AsString(bytes).cast(), call.count, &call) {
            Ok(Some(count)) if _PyBytes_Resize(&mut bytes, count as Py_ssize_t) < 0 => Err(Raised),
            Ok(Some(_)) => Ok(Tried::Done(bytes)),
            Ok(None) => {
                drop_ref(bytes);
                Ok(Tried::Blocks(call))
            }
            Err(Raised) => {
                drop_ref(bytes);
                Err(Raised)
            }
        }
    }
}

/// Reads. The number of bytes received; None if it would block.
fn read(s: &'static Sched, start: *mut u8, room: usize, call: &SocketCall) -> Res<Option<usize>> {
    // SAFETY: the caller's room.
    let count = system_call(|| unsafe {
        libc::recv(call.descriptor, start.cast(), room, call.flags | libc::MSG_DONTWAIT)
    })?;
    if let Some(count) = count
        && 0 < count
        && count < room
        && call.flags & libc::MSG_PEEK == 0
    {
        readiness::exhausted(s, call.descriptor);
    }
    Ok(count)
}

/// Writes. The number of bytes sent; None if it would block.
fn write(start: *mut u8, size: usize, call: &SocketCall) -> Res<Option<usize>> {
    // SAFETY: the caller's bytes.
    system_call(|| unsafe {
        libc::send(call.descriptor, start.cast(), size, call.flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    })
}

fn system_call(call: impl Fn() -> isize) -> Res<Option<usize>> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(Some(count));
        }
        let error = Error::last_os_error();
        match error.kind() {
            ErrorKind::WouldBlock => return Ok(None),
            ErrorKind::Interrupted => {
                // SAFETY: the GIL is held.
                if unsafe { PyErr_CheckSignals() } < 0 {
                    return Err(Raised);
                }
            }
            _ => return Err(raise_os_error(&error)),
        }
    }
}
