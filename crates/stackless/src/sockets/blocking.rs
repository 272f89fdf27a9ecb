//! System calls that have no flag for "do not wait", on descriptors that block.
//!
//! A descriptor's flags hold for all that share it: other threads, and other processes. So `accept` is
//! called on a listener without a change of flags, when a connection is there and no other thread of this process can
//! take it meanwhile. For `connect` and TLS, of which two at a time on one connection make no sense, the
//! descriptor is non-blocking during the call; of several calls at a time, the last one to return
//! restores it.

use crate::model::wait::IoDirection;
use crate::python::args::function;
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::python::types;
use crate::scheduler::readiness::is_ready;
use crate::sockets::methods::is_socket;
use crate::sockets::socket::descriptor_of;
use pyo3_ffi::*;
use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::io::Error;
use std::ptr::null_mut;

/// Identifies a file, whatever descriptors it has.
type File = (libc::dev_t, libc::ino_t);

struct Calls {
    /// The listeners on which an `accept` is under way.
    accepting: Vec<File>,
    /// The descriptors that are non-blocking now, and the number of calls for which they are.
    changed: Vec<(c_int, usize)>,
}

static CALLS: Gil<UnsafeCell<Calls>> =
    Gil::new(UnsafeCell::new(Calls { accepting: Vec::new(), changed: Vec::new() }));

fn calls<R>(f: impl FnOnce(&mut Calls) -> R) -> R {
    // SAFETY: the GIL; no `f` here runs Python code.
    f(unsafe { &mut *CALLS.get() })
}

fn room_for_one<T>(v: &mut Vec<T>) -> Res<()> {
    v.try_reserve(1).map_err(|_| raise(Exc::Memory, "no memory for a call of a socket"))
}

fn last_error() -> Raised {
    raise_os_error(&Error::last_os_error())
}

fn open_descriptor(socket: Obj) -> Res<c_int> {
    if !is_socket(socket) {
        return Err(type_error("a socket is required"));
    }
    descriptor_of(socket)?.ok_or_else(|| raise_os_error(&Error::from_raw_os_error(libc::EBADF)))
}

// `_accept_if_ready(socket, accept)`: see its text below.
function!(accept_if_ready, |args| {
    let [socket, accept] = *args else {
        return Err(type_error("_accept_if_ready() takes exactly two arguments"));
    };
    let descriptor = open_descriptor(socket)?;
    let file = file_of(descriptor)?;
    if calls(|calls| calls.accepting.contains(&file)) {
        return Ok(bool_obj(false));
    }
    if !is_ready(descriptor, IoDirection::In) {
        return Ok(none());
    }
    calls(|calls| room_for_one(&mut calls.accepting).map(|()| calls.accepting.push(file)))?;
    // SAFETY: living objects.
    let result = unsafe { PyObject_CallOneArg(accept, socket) };
    calls(|calls| calls.accepting.retain(|other| *other != file));
    check(result)
});

fn file_of(descriptor: c_int) -> Res<File> {
    // SAFETY: all zero is a valid value, and a place to write to.
    unsafe {
        let mut found = std::mem::zeroed::<libc::stat>();
        if libc::fstat(descriptor, &mut found) < 0 {
            Err(last_error())
        } else {
            Ok((found.st_dev, found.st_ino))
        }
    }
}

// `_while_nonblocking(socket, call, *arguments)`
function!(while_nonblocking, |args| {
    let [socket, call, arguments @ ..] = args else {
        return Err(type_error("_while_nonblocking() takes at least two arguments"));
    };
    let descriptor = open_descriptor(*socket)?;
    let mine = enter(descriptor)?;
    // SAFETY: a living object, and the arguments of this call.
    let result = unsafe { PyObject_Vectorcall(*call, arguments.as_ptr(), arguments.len(), null_mut()) };
    if mine {
        leave(*socket, descriptor);
    }
    check(result)
});

/// Makes a descriptor non-blocking. Returns false if it was so already, and stays so.
fn enter(descriptor: c_int) -> Res<bool> {
    calls(|calls| {
        if let Some((_, count)) = calls.changed.iter_mut().find(|(other, _)| *other == descriptor) {
            *count += 1;
            return Ok(true);
        }
        room_for_one(&mut calls.changed)?;
        // SAFETY: no memory is involved.
        let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
        if flags >= 0 && flags & libc::O_NONBLOCK != 0 {
            return Ok(false);
        }
        // SAFETY: as above.
        if flags < 0 || unsafe { libc::fcntl(descriptor, libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
            return Err(last_error());
        }
        calls.changed.push((descriptor, 1));
        Ok(true)
    })
}

/// Makes it blocking again if this is the last call, and it was not closed meanwhile.
fn leave(socket: Obj, descriptor: c_int) {
    let is_last = calls(|calls| {
        let Some(at) = calls.changed.iter().position(|(other, _)| *other == descriptor) else { return false };
        calls.changed[at].1 -= 1;
        let is_last = calls.changed[at].1 == 0;
        if is_last {
            calls.changed.swap_remove(at);
        }
        is_last
    });
    let is_open = || match descriptor_of(socket) {
        Ok(now) => now == Some(descriptor),
        Err(Raised) => {
            // SAFETY: the GIL is held.
            unsafe { PyErr_Clear() };
            false
        }
    };
    if is_last && saving_exception(is_open) {
        // SAFETY: no memory is involved. Nothing is left to be done if this fails.
        unsafe {
            let flags = libc::fcntl(descriptor, libc::F_GETFL);
            if flags >= 0 {
                libc::fcntl(descriptor, libc::F_SETFL, flags & !libc::O_NONBLOCK);
            }
        }
    }
}

/// In the child of a fork: the other calls belong to threads of the parent.
pub fn after_fork() {
    calls(|calls| {
        calls.accepting.clear();
        calls.changed.clear();
    });
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method(
            "_accept_if_ready",
            "Accepts on a blocking listener what is there: (socket, accept). None if nothing is, False if \
             another thread is about to take it.",
            accept_if_ready,
        ),
        types::method(
            "_while_nonblocking",
            "Makes a call while a socket's descriptor is non-blocking. (socket, call, *arguments)",
            while_nonblocking,
        ),
    ]
}
