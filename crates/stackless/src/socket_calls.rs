//! The calls of `stackless.socket` that matter for speed: one system call each, and no Python
//! exception where that would block.
//!
//! A call is tried first. If it would block, the tasklet waits until the descriptor is ready, with the
//! call itself as its tempval, in a bomb; that tries again when the tasklet goes on, and may wait again.
//! So a waiting call keeps nothing in its C frame. The descriptor keeps the flags that it has: the
//! calls themselves say MSG_DONTWAIT.
//!
//! Whoever never has to wait takes turns all the same: every so many calls, as `schedule()` does.

use crate::args;
use crate::bomb;
use crate::kernel::{depart, leave_value, prepare, switch_and_resume, unlink_running, world};
use crate::module;
use crate::py::*;
use crate::readiness::{self, Way, raise_os_error};
use crate::sleep;
use crate::thread::{self, Sched};
use crate::throw;
use crate::types;
use crate::waits::{self, Moment};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use stackless_reactor::now;
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;
use std::io::{Error, ErrorKind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A call that can be tried again.
#[derive(Clone, Copy)]
pub struct Call {
    kind: Kind,
    descriptor: c_int,
    /// How many bytes may come; those that are gone.
    count: usize,
    flags: c_int,
    /// Do short reads mean that nothing is left? Of a stream they do.
    stream: bool,
    time: Time,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Recv,
    RecvInto,
    Send,
    SendAll,
    Wait(Way),
}

#[derive(Clone, Copy)]
enum Time {
    /// It would block: an error.
    None,
    Until(u64),
    Unlimited,
}

impl Call {
    fn way(&self) -> Way {
        match self.kind {
            Kind::Recv | Kind::RecvInto => Way::In,
            Kind::Send | Kind::SendAll => Way::Out,
            Kind::Wait(way) => way,
        }
    }
}

unsafe extern "C" {
    // Exported by CPython, declared in its cpython/bytesobject.h.
    fn _PyBytes_Resize(bytes: *mut Obj, size: Py_ssize_t) -> c_int;
}

/// Bytes that a `recv` may get without a detour: a whole one of most protocols.
const SCRATCH: usize = 64 * 1024;

struct Scratch(UnsafeCell<[u8; SCRATCH]>);

// SAFETY: only reached with the GIL held.
unsafe impl Sync for Scratch {}

static BUFFER: Scratch = Scratch(UnsafeCell::new([0; SCRATCH]));

/// So many calls in a row do not wait before others have a turn.
const CALLS: u32 = 64;

struct Calls(Cell<u32>);

// SAFETY: only reached with the GIL held.
unsafe impl Sync for Calls {}

static DONE: Calls = Calls(Cell::new(0));

/// What a try has brought.
enum Tried {
    Done(Obj),
    /// It would block; so much is to be done then.
    Blocks(Call),
}

/// Makes the call, for a tasklet that runs. `buffer` is what it reads from or writes to, or null;
/// `pending` the primitive's call, None if the tasklet has waited in it already.
fn make(socket: Obj, buffer: Obj, call: Call, pending: Option<Pending>) -> Res<Obj> {
    let entered = thread::enter_anywhere()?;
    let s = entered.s;
    throw::raise_pending(s.current())?;
    match attempt(s, buffer, call)? {
        Tried::Done(result) => {
            DONE.0.set(DONE.0.get() + 1);
            if DONE.0.get() < CALLS || !entered.can_switch() {
                return Ok(result);
            }
            DONE.0.set(0);
            take_turn(s, result, pending)
        }
        Tried::Blocks(call) => {
            let until = match call.time {
                Time::None => return Err(raise_os_error(&Error::from_raw_os_error(libc::EAGAIN))),
                Time::Until(at) if at <= now() => return Err(waits::raise_timed_out()),
                Time::Until(at) => Some(at),
                Time::Unlimited => None,
            };
            DONE.0.set(0);
            let again = bomb::of_call(
                new_ref(socket),
                if buffer.is_null() { buffer } else { new_ref(buffer) },
                call,
            )?;
            let next = match readiness::plan_wait(entered, call.descriptor, call.way(), until) {
                Ok(next) => next,
                Err(Raised) => {
                    aside(|| drop_ref(again));
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

/// Others run before the call returns this, which is taken over.
fn take_turn(s: &'static Sched, result: Obj, pending: Option<Pending>) -> Res<Obj> {
    waits::look(s, Moment::Running);
    let me = s.current();
    let next = world(|w| w.right_neighbour_payload(me.tid()));
    // An exception that has come up goes off at the next call: the result is not lost.
    if std::ptr::eq(next, me) || !me.tempval.get().is_null() {
        return Ok(result);
    }
    if prepare(s, next).is_err() {
        drop_ref(result);
        return Err(Raised);
    }
    me.seat().pending.set(pending.unwrap_or(me.seat().pending.get()));
    leave_value(s, me, result);
    world(|w| w.run_now(next.tid()));
    // SAFETY: nothing is owned in this frame.
    unsafe { switch_and_resume(s, next) }
}

/// The tasklet that waited with this call goes on. The references are taken over.
pub fn again(socket: Obj, buffer: Obj, call: Call) -> Res<Obj> {
    // Whoever goes on next drops them: this frame may not come back. The waiting call below owns both.
    let s = thread::of_running_tasklet();
    [socket, buffer].into_iter().filter(|o| !o.is_null()).for_each(|o| s.drop_later(o));
    if field(socket).descriptor() != Some(call.descriptor) {
        return Err(raise_os_error(&Error::from_raw_os_error(libc::EBADF)));
    }
    make(socket, buffer, call, None)
}

fn attempt(s: &'static Sched, buffer: Obj, call: Call) -> Res<Tried> {
    if !readiness::may_be_ready(s, call.descriptor, call.way()) {
        return Ok(Tried::Blocks(call));
    }
    match call.kind {
        Kind::Recv => receive(s, call),
        Kind::RecvInto => with_buffer(buffer, true, |start, size| {
            let room = if call.count == 0 { size } else { call.count };
            if room > size {
                return Err(raise(Exc::Value, "buffer too small for requested bytes"));
            }
            Ok(match read(s, start, room, &call)? {
                Some(count) => Tried::Done(int_obj(count as i64)),
                None => Tried::Blocks(call),
            })
        }),
        Kind::Send => with_buffer(buffer, false, |start, size| {
            Ok(match write(start, size, &call)? {
                Some(count) => Tried::Done(int_obj(count as i64)),
                None => Tried::Blocks(call),
            })
        }),
        Kind::SendAll => with_buffer(buffer, false, |start, size| {
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
        Kind::Wait(way) => {
            let events = if way == Way::In { libc::POLLIN } else { libc::POLLOUT };
            let mut asked = libc::pollfd { fd: call.descriptor, events, revents: 0 };
            // SAFETY: one entry.
            let ready = unsafe { libc::poll(&mut asked, 1, 0) };
            Ok(if ready == 0 { Tried::Blocks(call) } else { Tried::Done(none()) })
        }
    }
}

fn receive(s: &'static Sched, call: Call) -> Res<Tried> {
    if call.count <= SCRATCH {
        let start = BUFFER.0.get().cast::<u8>();
        let Some(count) = read(s, start, call.count, &call)? else { return Ok(Tried::Blocks(call)) };
        // SAFETY: so many bytes were written there.
        return check(unsafe { PyBytes_FromStringAndSize(start.cast(), count as Py_ssize_t) })
            .map(Tried::Done);
    }
    // SAFETY: a new bytes object, which nobody has seen, of this size.
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

/// How many bytes came; None if it would block.
fn read(s: &'static Sched, start: *mut u8, room: usize, call: &Call) -> Res<Option<usize>> {
    // SAFETY: the caller's room.
    let count = system_call(|| unsafe {
        libc::recv(call.descriptor, start.cast(), room, call.flags | libc::MSG_DONTWAIT)
    })?;
    if let Some(count) = count
        && call.stream
        && 0 < count
        && count < room
        && call.flags & libc::MSG_PEEK == 0
    {
        readiness::exhausted(s, call.descriptor, Way::In);
    }
    Ok(count)
}

/// How many bytes went; None if it would block.
fn write(start: *mut u8, size: usize, call: &Call) -> Res<Option<usize>> {
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

/// Gives `f` the bytes of an object.
fn with_buffer(buffer: Obj, writable: bool, f: impl FnOnce(*mut u8, usize) -> Res<Tried>) -> Res<Tried> {
    // SAFETY: a living object; the view is released.
    unsafe {
        let mut view = std::mem::zeroed::<Py_buffer>();
        if PyObject_GetBuffer(buffer, &mut view, if writable { PyBUF_WRITABLE } else { PyBUF_SIMPLE }) < 0 {
            return Err(Raised);
        }
        let done = f(view.buf.cast(), view.len as usize);
        PyBuffer_Release(&mut view);
        done
    }
}

// ---------------------------------------------------------------------- the type

/// What our sockets have besides `socket.socket`'s own fields. All zero at first.
struct Field {
    /// And 1; 0 if it is closed, or was not opened yet.
    descriptor: Cell<c_int>,
    stream: Cell<bool>,
    /// Nanoseconds and 1; 0: no limit.
    timeout: Cell<u64>,
}

impl Field {
    fn descriptor(&self) -> Option<c_int> {
        let number = self.descriptor.get();
        (number > 0).then(|| number - 1)
    }
}

/// Where it lies in an object.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

fn field<'a>(socket: Obj) -> &'a Field {
    // SAFETY: called with objects of our type, which end with the field.
    unsafe { &*socket.byte_add(OFFSET.load(Relaxed)).cast::<Field>() }
}

fn call(socket: Obj, kind: Kind, count: usize, flags: c_int) -> Res<Call> {
    let field = field(socket);
    let Some(descriptor) = field.descriptor() else {
        return Err(raise_os_error(&Error::from_raw_os_error(libc::EBADF)));
    };
    let time = match field.timeout.get() {
        _ if flags & libc::MSG_DONTWAIT != 0 => Time::None,
        0 => Time::Unlimited,
        1 => Time::None,
        time => Time::Until(now().saturating_add(time - 1)),
    };
    Ok(Call { kind, descriptor, count, flags, stream: field.stream.get(), time })
}

/// An optional int argument.
fn number(o: Option<&Obj>) -> Res<Py_ssize_t> {
    let Some(&o) = o.filter(|o| !o.is_null()) else { return Ok(0) };
    // SAFETY: a living object.
    let number = unsafe { PyLong_AsSsize_t(o) };
    if number == -1 && raised() { Err(Raised) } else { Ok(number) }
}

fn size(o: Option<&Obj>, name: &str) -> Res<usize> {
    usize::try_from(number(o)?).map_err(|_| raise(Exc::Value, &format!("negative buffersize in {name}")))
}

unsafe extern "C" fn recv(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a socket's method.
    let (pending, args) = unsafe { (Pending::call(recv as _, args, count), args::positional(args, count)) };
    give((|| {
        args::at_least("recv", 1, args.len())?;
        args::at_most("recv", 2, args.len())?;
        let (size, flags) = (size(args.first(), "recv")?, number(args.get(1))?);
        make(o, null_mut(), call(o, Kind::Recv, size, flags as c_int)?, Some(pending))
    })())
}

unsafe extern "C" fn recv_into(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a socket's method.
    let given = unsafe { args::named("recv_into", ["buffer", "nbytes", "flags"], args, count, names) };
    let pending = Pending::call(recv_into as _, args, module::arguments(count, names));
    give(given.and_then(|[buffer, count, flags]| {
        if buffer.is_null() {
            return Err(type_error("recv_into() missing required argument 'buffer' (pos 1)"));
        }
        let (size, flags) = (size(Some(&count), "recv_into")?, number(Some(&flags))?);
        make(o, buffer, call(o, Kind::RecvInto, size, flags as c_int)?, Some(pending))
    }))
}

unsafe extern "C" fn send(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a socket's method.
    let (pending, args) = unsafe { (Pending::call(send as _, args, count), args::positional(args, count)) };
    give(do_send(o, Kind::Send, "send", args, pending))
}

unsafe extern "C" fn sendall(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a socket's method.
    let (pending, args) =
        unsafe { (Pending::call(sendall as _, args, count), args::positional(args, count)) };
    give(do_send(o, Kind::SendAll, "sendall", args, pending))
}

fn do_send(o: Obj, kind: Kind, name: &str, args: &[Obj], pending: Pending) -> Res<Obj> {
    args::at_least(name, 1, args.len())?;
    args::at_most(name, 2, args.len())?;
    let flags = number(args.get(1))?;
    make(o, args[0], call(o, kind, 0, flags as c_int)?, Some(pending))
}

/// `_wait(out)`: until a call in this direction would not block.
unsafe extern "C" fn wait(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a socket's method.
    let (pending, args) = unsafe { (Pending::call(wait as _, args, count), args::positional(args, count)) };
    give(args::one_argument("_wait", args).and_then(is_true).and_then(|out| {
        let way = if out { Way::Out } else { Way::In };
        make(o, null_mut(), call(o, Kind::Wait(way), 0, 0)?, Some(pending))
    }))
}

/// `_attach(descriptor, stream, timeout)`; a negative descriptor: nobody calls it any more.
unsafe extern "C" fn attach(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a socket's method.
    let args = unsafe { args::positional(args, count) };
    give((|| {
        let [descriptor, stream, timeout] = args else {
            return Err(type_error("three arguments are required"));
        };
        let descriptor = number(Some(descriptor))? as c_int;
        let (stream, timeout) = (is_true(*stream)?, sleep::time(*timeout, "timeout")?);
        let field = field(o);
        if let Some(old) = field.descriptor().filter(|old| *old != descriptor) {
            field.descriptor.set(0);
            readiness::closed(old)?;
        }
        field.descriptor.set(descriptor.saturating_add(1).max(0));
        field.stream.set(stream);
        field.timeout.set(timeout.map_or(0, |time| time.saturating_add(1)));
        Ok(none())
    })())
}

/// `_socket_type(base)`: the type, made once, of `socket.socket`.
unsafe extern "C" fn socket_type(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    let args = unsafe { args::positional(args, count) };
    give(args::one_argument("_socket_type", args).and_then(make_type))
}

static TYPE: types::TypeCell = types::TypeCell::new();

fn make_type(base: Obj) -> Res<Obj> {
    if !TYPE.get().is_null() {
        return Ok(new_ref(TYPE.get().cast()));
    }
    let methods = [
        types::method(
            "recv",
            "recv($self, bufsize, flags=0, /)\n--\n\nReceive up to bufsize bytes; b'' at the end. Only the calling tasklet waits.",
            recv,
        ),
        types::method_keywords(
            "recv_into",
            "recv_into($self, /, buffer, nbytes=0, flags=0)\n--\n\nReceive into a buffer; return the number of bytes. Only the calling tasklet waits.",
            recv_into,
        ),
        types::method(
            "send",
            "send($self, data, flags=0, /)\n--\n\nSend data, or a part; return the number of bytes. Only the calling tasklet waits.",
            send,
        ),
        types::method(
            "sendall",
            "sendall($self, data, flags=0, /)\n--\n\nSend all of data. Only the calling tasklet waits. After an error nobody knows how much was sent.",
            sendall,
        ),
        types::method("_wait", "Wait until the socket can be read or, if true, written.", wait),
        types::method("_attach", "Tell of the descriptor, the kind and the timeout.", attach),
    ];
    // SAFETY: a type.
    let size = unsafe {
        if PyType_Check(base) == 0 {
            return Err(type_error("_socket_type() needs a type"));
        }
        ((*base.cast::<PyTypeObject>()).tp_basicsize as usize).next_multiple_of(align_of::<Field>())
    };
    OFFSET.store(size, Relaxed);
    types::derive(&TYPE, c"stackless._stackless._socket", base, size + size_of::<Field>(), &methods)?;
    Ok(new_ref(TYPE.get().cast()))
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![types::method("_socket_type", "The type under stackless.socket.socket.", socket_type)]
}
