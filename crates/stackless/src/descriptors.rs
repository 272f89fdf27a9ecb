//! Waits for descriptors that are no sockets of ours, for `stackless.select` and servers.
//!
//! The caller asks the system itself whether there is something to do, before and after. So such a wait
//! may end early, and returns nothing: neither whether the descriptor is ready, nor that the time is over.

use crate::args;
use crate::kernel::{depart, unlink_running};
use crate::py::*;
use crate::readiness::{self, Way};
use crate::sleep;
use crate::thread;
use crate::throw;
use crate::types;
use crate::waits::What;
use pyo3_ffi::*;
use stackless_cpython::Pending;
use stackless_reactor::now;
use std::ffi::c_int;

/// Would a call in this direction not block? So it is for what is closed or cannot be polled, too.
pub fn is_ready(descriptor: c_int, way: Way) -> bool {
    let events = if way == Way::In { libc::POLLIN } else { libc::POLLOUT };
    let mut asked = libc::pollfd { fd: descriptor, events, revents: 0 };
    // SAFETY: one entry.
    unsafe { libc::poll(&mut asked, 1, 0) != 0 }
}

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
        let way = if is_true(*out)? { Way::Out } else { Way::In };
        do_wait_ready(number(*descriptor)?, way, sleep::time(*seconds, "the time to wait")?, call)
    })())
}

fn do_wait_ready(descriptor: c_int, way: Way, time: Option<u64>, call: Pending) -> Res<Obj> {
    let entered = thread::enter()?;
    let s = entered.s;
    throw::raise_pending(s.current())?;
    if time == Some(0) || is_ready(descriptor, way) {
        return Ok(none());
    }
    let until = time.map(|time| now().saturating_add(time));
    let next = readiness::plan_wait(entered, What::DescriptorOrTime(descriptor, way), until, true)?;
    s.current().seat().pending.set(call);
    unlink_running(s);
    // SAFETY: nothing is owned in this frame.
    unsafe { depart(s, next) }
}

/// `_descriptor_closed(descriptor)`
unsafe extern "C" fn descriptor_closed(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    let args = unsafe { args::positional(args, count) };
    give(args::one_argument("_descriptor_closed", args).and_then(number).and_then(|descriptor| {
        readiness::closed(descriptor)?;
        Ok(none())
    }))
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method(
            "_wait_ready",
            "Waits until a descriptor may be ready, so long at the most, or for less.",
            wait_ready,
        ),
        types::method(
            "_descriptor_closed",
            "A descriptor that was waited for is about to be closed.",
            descriptor_closed,
        ),
    ]
}
