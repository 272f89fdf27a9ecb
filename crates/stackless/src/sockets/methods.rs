//! The type under `stackless.socket.socket`, and the entry points of its calls, which are in
//! [`crate::sockets::calls`].

use crate::model::wait::{CallKind, Deadline, IoDirection, SocketCall};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::{entry, readiness};
use crate::sockets::calls::make;
use crate::sockets::socket::{self, Field, OFFSET, TYPE, descriptor_of, field, is_ours};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use stackless_reactor::now;
use std::ffi::c_int;
use std::io::Error;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;

/// True for this module's type, and for a standard socket once the standard type is known.
pub fn is_socket(o: Obj) -> bool {
    is_ours(o) || socket::is_socket(o)
}

fn call(socket: Obj, kind: CallKind, count: usize, flags: c_int) -> Res<SocketCall> {
    let timeout = if is_ours(socket) {
        Some(field(socket).timeout.get()).filter(|time| *time > 0).map(|time| time - 1)
    } else {
        socket::timeout(socket)?
    };
    let time = match timeout {
        _ if flags & libc::MSG_DONTWAIT != 0 => Deadline::None,
        None => Deadline::Unlimited,
        Some(0) => Deadline::None,
        Some(time) => Deadline::Until(now().saturating_add(time)),
    };
    call_in_time(socket, kind, count, flags, time)
}

/// As [`call`], with a given timeout instead of the socket's.
fn call_in_time(
    socket: Obj,
    kind: CallKind,
    count: usize,
    flags: c_int,
    deadline: Deadline,
) -> Res<SocketCall> {
    let Some(descriptor) = descriptor_of(socket)? else {
        return Err(raise_os_error(&Error::from_raw_os_error(libc::EBADF)));
    };
    let followed = is_ours(socket);
    Ok(SocketCall { kind, descriptor, count, flags, fair: false, followed, deadline })
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
    give(do_recv(o, args, pending))
}

pub fn do_recv(o: Obj, args: &[Obj], pending: Pending) -> Res<Obj> {
    args::at_least("recv", 1, args.len())?;
    args::at_most("recv", 2, args.len())?;
    let (size, flags) = (size(args.first(), "recv")?, number(args.get(1))?);
    let call = call(o, CallKind::Recv, size, flags as c_int)?;
    if !waits_for_all(&call) {
        return make(o, null_mut(), call, Some(pending));
    }
    // SAFETY: no bytes are read from the null pointer: the new object has room for them.
    let buffer = check(unsafe { PyByteArray_FromStringAndSize(std::ptr::null(), size as Py_ssize_t) })?;
    make_owning(o, buffer, SocketCall { kind: CallKind::RecvAll, count: 0, ..call }, pending)
}

/// True if it must fill its buffer: only if it may wait without a limit, as in the standard module.
fn waits_for_all(call: &SocketCall) -> bool {
    let all = call.flags & (libc::MSG_WAITALL | libc::MSG_PEEK) == libc::MSG_WAITALL;
    all && matches!(call.deadline, Deadline::Unlimited) && readiness::is_stream(call.descriptor)
}

/// Makes a call whose buffer is taken over: if the call waits, the next tasklet to run drops it.
fn make_owning(socket: Obj, buffer: Obj, call: SocketCall, pending: Pending) -> Res<Obj> {
    entry::enter_anywhere()?.s.drop_later(buffer);
    make(socket, buffer, call, Some(pending))
}

unsafe extern "C" fn recv_into(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    let pending = Pending::call(recv_into as _, args, args::arguments(count, names));
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a socket's method.
    give(unsafe { do_recv_into(o, args, count, names, pending) })
}

/// # Safety
/// The arguments are those of a METH_FASTCALL | METH_KEYWORDS call.
pub unsafe fn do_recv_into(
    o: Obj,
    args: *const Obj,
    count: Py_ssize_t,
    names: Obj,
    pending: Pending,
) -> Res<Obj> {
    // SAFETY: the caller's.
    let given = unsafe { args::named("recv_into", ["buffer", "nbytes", "flags"], args, count, names) };
    given.and_then(|[buffer, count, flags]| {
        if buffer.is_null() {
            return Err(type_error("recv_into() missing required argument 'buffer' (pos 1)"));
        }
        let (size, flags) = (size(Some(&count), "recv_into")?, number(Some(&flags))?);
        let call = call(o, CallKind::RecvInto, size, flags as c_int)?;
        if !waits_for_all(&call) {
            return make(o, buffer, call, Some(pending));
        }
        let room = with_buffer(buffer, true, |_, room| Ok(room))?;
        if size > room {
            return Err(raise(Exc::Value, "buffer too small for requested bytes"));
        }
        // SAFETY: a living object with a buffer.
        let part = unsafe {
            let whole = check(PyMemoryView_FromObject(buffer))?;
            let bytes = PyObject_CallMethod(whole, c"cast".as_ptr(), c"s".as_ptr(), c"B".as_ptr());
            drop_ref(whole);
            let bytes = check(bytes)?;
            let end = if size == 0 { room } else { size };
            let part = PySequence_GetSlice(bytes, 0, end as Py_ssize_t);
            drop_ref(bytes);
            check(part)?
        };
        make_owning(o, part, SocketCall { kind: CallKind::RecvIntoAll, count: 0, ..call }, pending)
    })
}

unsafe extern "C" fn send(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a socket's method.
    let (pending, args) = unsafe { (Pending::call(send as _, args, count), args::positional(args, count)) };
    give(do_send(o, args, pending))
}

unsafe extern "C" fn sendall(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a socket's method.
    let (pending, args) =
        unsafe { (Pending::call(sendall as _, args, count), args::positional(args, count)) };
    give(do_sendall(o, args, pending))
}

pub fn do_send(o: Obj, args: &[Obj], pending: Pending) -> Res<Obj> {
    send_bytes(o, CallKind::Send, "send", args, pending)
}

pub fn do_sendall(o: Obj, args: &[Obj], pending: Pending) -> Res<Obj> {
    send_bytes(o, CallKind::SendAll, "sendall", args, pending)
}

fn send_bytes(o: Obj, kind: CallKind, name: &str, args: &[Obj], pending: Pending) -> Res<Obj> {
    args::at_least(name, 1, args.len())?;
    args::at_most(name, 2, args.len())?;
    let flags = number(args.get(1))?;
    make(o, args[0], call(o, kind, 0, flags as c_int)?, Some(pending))
}

/// `_wait_for_socket(socket, out, until)`: waits until a call in this direction would not block. `until` is
/// a time of the monotonic clock, in nanoseconds, or None. For sockets of any kind.
unsafe extern "C" fn wait_for(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    let (pending, args) =
        unsafe { (Pending::call(wait_for as _, args, count), args::positional(args, count)) };
    give((|| {
        let [socket, out, until] = args else {
            return Err(type_error("three arguments are required"));
        };
        if !is_socket(*socket) {
            return Err(type_error("_wait_for_socket() needs a socket"));
        }
        let direction = if is_true(*out)? { IoDirection::Out } else { IoDirection::In };
        let time = match some(*until) {
            Some(until) => Deadline::Until(number(Some(&until))?.max(0) as u64),
            None => Deadline::Unlimited,
        };
        make(
            *socket,
            null_mut(),
            call_in_time(*socket, CallKind::Wait(direction), 0, 0, time)?,
            Some(pending),
        )
    })())
}

/// `_attach(descriptor, timeout)`; a negative descriptor means that the socket is closed.
unsafe extern "C" fn attach(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a socket's method.
    let args = unsafe { args::positional(args, count) };
    give((|| {
        let [descriptor, timeout] = args else {
            return Err(type_error("two arguments are required"));
        };
        let descriptor = number(Some(descriptor))? as c_int;
        let timeout = args::time(*timeout, "timeout")?;
        let field = field(o);
        let old = field.descriptor();
        if let Some(old) = old.filter(|old| *old != descriptor) {
            field.descriptor.set(0);
            readiness::closed(old)?;
        }
        if descriptor >= 0 && old != Some(descriptor) {
            readiness::opened(descriptor);
        }
        field.descriptor.set(descriptor.saturating_add(1).max(0));
        field.timeout.set(timeout.map_or(0, |time| time.saturating_add(1)));
        Ok(none())
    })())
}

// `_socket_type(base)`: the type, made once, of `socket.socket`.
function!(socket_type, |args| args::one_argument("_socket_type", args).and_then(make_type));

/// The C functions behind the four fast methods.
pub struct Entries {
    pub recv: PyCFunctionFast,
    pub recv_into: PyCFunctionFastWithKeywords,
    pub send: PyCFunctionFast,
    pub sendall: PyCFunctionFast,
}

/// The methods that this module's sockets and the patched standard ones both have.
pub fn methods(calls: &Entries) -> [PyMethodDef; 4] {
    [
        types::method(
            "recv",
            "recv($self, bufsize, flags=0, /)\n--\n\nReceive up to bufsize bytes; b'' at the end. Only the calling tasklet waits.",
            calls.recv,
        ),
        types::method_keywords(
            "recv_into",
            "recv_into($self, /, buffer, nbytes=0, flags=0)\n--\n\nReceive into a buffer; return the number of bytes. Only the calling tasklet waits.",
            calls.recv_into,
        ),
        types::method(
            "send",
            "send($self, data, flags=0, /)\n--\n\nSend data, or a part; return the number of bytes. Only the calling tasklet waits.",
            calls.send,
        ),
        types::method(
            "sendall",
            "sendall($self, data, flags=0, /)\n--\n\nSend all of data. Only the calling tasklet waits. After an error it is not known how much was sent.",
            calls.sendall,
        ),
    ]
}

fn make_type(base: Obj) -> Res<Obj> {
    if !TYPE.get().is_null() {
        return Ok(new_ref(TYPE.get().cast()));
    }
    let mut methods = methods(&Entries { recv, recv_into, send, sendall }).to_vec();
    methods.extend([types::method("_attach", "Tell of the descriptor, the kind and the timeout.", attach)]);
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
    vec![
        types::method("_socket_type", "The type under stackless.socket.socket.", socket_type),
        types::method("_wait_for_socket", "Wait until a socket is ready. (socket, out, until)", wait_for),
    ]
}
