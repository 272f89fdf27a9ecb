//! Waits for descriptors other than this module's own sockets, for `stackless.select` and servers.
//!
//! The caller asks the system itself whether there is something to do, before and after. So such a wait
//! may end early, and returns neither whether the descriptor is ready nor whether the time is over.

use crate::engine::departure::{Departure, depart, plan_departure};
use crate::engine::throw;
use crate::model::readiness::Readiness;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::wait::{IoDirection, WaitKind};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, memory, types};
use crate::scheduler::entry::Entered;
use crate::scheduler::readiness::{drop_poller, of_thread};
use crate::scheduler::readiness::{is_of_poller, is_ready};
use crate::scheduler::ring::unlink_running;
use crate::scheduler::{entry, readiness, waits};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use stackless_reactor::now;
use std::ffi::c_int;

fn number(o: Obj) -> Res<c_int> {
    // SAFETY: a living object.
    let number = unsafe { PyObject_AsFileDescriptor(o) };
    if number < 0 { Err(Raised) } else { Ok(number) }
}

/// `_wait_ready(descriptor, out, seconds)`
unsafe extern "C" fn wait_ready(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    let (call, args) =
        unsafe { (Pending::call(wait_ready as _, args, count), args::positional(args, count)) };
    give((|| {
        let [descriptor, out, seconds] = args else {
            return Err(type_error("_wait_ready() takes exactly three arguments"));
        };
        let direction = if is_true(*out)? { IoDirection::Out } else { IoDirection::In };
        do_wait_ready(number(*descriptor)?, direction, args::time(*seconds, "the time to wait")?, call)
    })())
}

fn do_wait_ready(descriptor: c_int, direction: IoDirection, time: Option<u64>, call: Pending) -> Res<Obj> {
    let entered = entry::enter()?;
    let s = entered.s;
    throw::raise_pending(s.current())?;
    if time == Some(0) || is_ready(descriptor, direction) {
        return Ok(none());
    }
    let until = time.map(|time| now().saturating_add(time));
    // Others are closed by their objects alone, which tell of that.
    let followed = !readiness::is_socket(descriptor);
    let next = plan_wait(entered, WaitKind::DescriptorOrTime(descriptor, direction), until, followed)?;
    s.current().seat().pending.set(call);
    unlink_running(s);
    // SAFETY: nothing is owned in this frame.
    unsafe { depart(s, next) }
}

// `_descriptor_closed(descriptor)`
function!(descriptor_closed, |args| args::one_argument("_descriptor_closed", args)
    .and_then(number)
    .and_then(|descriptor| {
        readiness::closed(descriptor)?;
        Ok(none())
    }));

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method(
            "_wait_ready",
            "Waits until a descriptor may be ready, at most for this time; may end earlier.",
            wait_ready,
        ),
        types::method(
            "_descriptor_closed",
            "A descriptor that was waited for is about to be closed.",
            descriptor_closed,
        ),
    ]
}

/// A call would block: plans the running tasklet's departure until the descriptor is ready. `kind` has
/// the descriptor and the direction. A descriptor that is not `followed` may have been closed since the last call,
/// and its number may belong to another file: it is registered again, unless it is the same socket.
pub fn plan_wait(entered: Entered, kind: WaitKind, until: Option<u64>, followed: bool) -> Res<Departure> {
    let (WaitKind::Descriptor(descriptor, direction) | WaitKind::DescriptorOrTime(descriptor, direction)) =
        kind
    else {
        unreachable!("the callers wait for descriptors");
    };
    entered.at_rest()?;
    let s = entered.s;
    let me = s.current();
    memory::enough()?;
    let readiness = register(s, descriptor, followed)?;
    waits::arm(s, me, kind, Some(readiness::forget), until)?;
    enlist(readiness, me, descriptor, direction);
    let next = plan_departure(entered, None);
    if next.is_err() {
        waits::disarm(me);
    }
    next
}

/// Has the thread's poller watch a descriptor; there is memory for tasklets that wait for it afterwards.
pub fn register(s: &'static Sched, descriptor: c_int, followed: bool) -> Res<&'static Readiness> {
    let mut readiness = of_thread(s)?;
    let known = readiness.sources.borrow().get(descriptor).is_some();
    let anew = !(known && (followed || readiness::watches(s, descriptor)));
    if anew {
        let mut added = readiness.bell.add(descriptor);
        if added.as_ref().is_err_and(|error| is_of_poller(error, descriptor)) {
            drop_poller(s);
            readiness = of_thread(s)?;
            added = readiness.bell.add(descriptor);
        }
        added.map_err(|error| raise_os_error(&error))?;
    }
    if !readiness.sources.borrow_mut().has_room(descriptor) {
        return Err(memory::no_memory());
    }
    if anew {
        readiness::watched_anew(readiness, descriptor);
    }
    Ok(readiness)
}

/// The tasklet waits for a registered descriptor: its wait is to [forget](readiness::forget) that when it ends.
pub fn enlist(readiness: &Readiness, t: TaskletRef, descriptor: c_int, direction: IoDirection) {
    {
        let mut sources = readiness.sources.borrow_mut();
        let source = sources.get_or_add(descriptor);
        source.exhausted[direction as usize] = true;
        source.waiting[direction as usize].push(t);
    }
    readiness.waiting.set(readiness.waiting.get() + 1);
}
