//! What `stackless.monkey` puts in the place of the standard library's own calls.
//!
//! Each call decides anew: if other tasklets can run meanwhile, it waits in the
//! calling tasklet as this module's own calls do; else it makes the standard call, with unchanged arguments.

use crate::engine::schedule;
use crate::model::thread::Sched;
use crate::model::world::{object, world};
use crate::model::{classes, settings};
use crate::python::args::arguments;
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::{entry, idle};
use crate::sockets::methods::{self, Entries};
use crate::sockets::socket;
use crate::sockets::socket::{FILENO, GETTIMEOUT, Original, SOCKET, drop_ref_if_any};
use crate::waiting::sleep;
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, Pending};
use std::ptr::null_mut;

static RECV: Original = Original::new();
static RECV_INTO: Original = Original::new();
static SEND: Original = Original::new();
static SENDALL: Original = Original::new();
static SLEEP: Original = Original::new();

/// True if a call waits in the calling tasklet. False in a thread without tasklets, in a main tasklet that
/// is alone, and where nothing can switch: in a greenlet, a signal handler during a sleep, a
/// callback. (Under `switch_trap` it is true, and the call fails.)
pub fn cooperates() -> bool {
    let Some(entered) = entry::enter_begun() else { return false };
    let s = entered.s;
    if settings::exited() || (entered.refused() && s.trap.get() == 0) {
        return false;
    }
    !idle::is_alone(s)
}

/// A number of arguments that no call takes.
const MOST: usize = 8;

/// Makes the standard call for this object, with the arguments of a METH_FASTCALL | METH_KEYWORDS call.
///
/// # Safety
/// As for such a call.
unsafe fn original(method: &Original, o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    let count = count as usize;
    // SAFETY: the caller's; a tuple or null.
    unsafe {
        let all = count + if names.is_null() { 0 } else { PyTuple_GET_SIZE(names) as usize };
        let values = args::positional(args, all as Py_ssize_t);
        let start = usize::from(o.is_null());
        if all >= MOST {
            let given = [&[o], values].concat(); // refused before anything can switch
            return PyObject_Vectorcall(method.get(), given.as_ptr().add(start), count + 1 - start, names);
        }
        let mut given = [o; MOST];
        given[1..=all].copy_from_slice(values);
        PyObject_Vectorcall(method.get(), given.as_ptr().add(start), count + 1 - start, names)
    }
}

unsafe extern "C" fn recv(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a socket's method.
    unsafe {
        if !cooperates() {
            return original(&RECV, o, args, count, null_mut());
        }
        if schedule::give_way().is_err() {
            return null_mut();
        }
        let pending = Pending::call(recv as _, args, count);
        give(methods::do_recv(o, args::positional(args, count), pending))
    }
}

unsafe extern "C" fn recv_into(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a socket's method.
    unsafe {
        if !cooperates() {
            return original(&RECV_INTO, o, args, count, names);
        }
        if schedule::give_way().is_err() {
            return null_mut();
        }
        let pending = Pending::call(recv_into as _, args, arguments(count, names));
        give(methods::do_recv_into(o, args, count, names, pending))
    }
}

unsafe extern "C" fn send(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a socket's method.
    unsafe {
        if !cooperates() {
            return original(&SEND, o, args, count, null_mut());
        }
        if schedule::give_way().is_err() {
            return null_mut();
        }
        let pending = Pending::call(send as _, args, count);
        give(methods::do_send(o, args::positional(args, count), pending))
    }
}

unsafe extern "C" fn sendall(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a socket's method.
    unsafe {
        if !cooperates() {
            return original(&SENDALL, o, args, count, null_mut());
        }
        let pending = Pending::call(sendall as _, args, count);
        give(methods::do_sendall(o, args::positional(args, count), pending))
    }
}

// `_standard_methods(base, kind)`: for the class `kind` of the module `socket`, whose methods are those
// of `base`, the ones that wait in tasklets, by name.
function!(standard_methods, |args| {
    let [base, kind] = *args else { return Err(type_error("two types are required")) };
    // SAFETY: living objects; types, where they are compared.
    let derived = unsafe {
        PyType_Check(base) != 0 && PyType_Check(kind) != 0 && PyType_IsSubtype(kind.cast(), base.cast()) != 0
    };
    if !derived {
        return Err(type_error("_standard_methods() needs a type and one derived from it"));
    }
    for (name, method) in [
        (c"fileno", &FILENO),
        (c"gettimeout", &GETTIMEOUT),
        (c"recv", &RECV),
        (c"recv_into", &RECV_INTO),
        (c"send", &SEND),
        (c"sendall", &SENDALL),
    ] {
        // SAFETY: a living object, and a name.
        method.set(check(unsafe { PyObject_GetAttrString(base, name.as_ptr()) })?);
    }
    SOCKET.set(new_ref(base));
    socket::look(base.cast());
    // SAFETY: the definitions live for ever; owned references.
    unsafe {
        let made = check(PyDict_New())?;
        for definition in methods::methods(&Entries { recv, recv_into, send, sendall }) {
            let name = definition.ml_name;
            let definition = Box::leak(Box::new(definition));
            let method = PyDescr_NewMethod(kind.cast(), definition);
            if method.is_null() || PyDict_SetItemString(made, name, method) < 0 {
                drop_ref_if_any(method);
                drop_ref(made);
                return Err(Raised);
            }
            drop_ref(method);
        }
        Ok(made)
    }
});

// ---------------------------------------------------------------------- time

unsafe extern "C" fn scoped_sleep(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    unsafe {
        let given = args::positional(args, count);
        match given {
            [seconds] if cooperates() => {
                if let Some(time) = duration(*seconds) {
                    return give(sleep::sleep_for(time, Pending::call(scoped_sleep as _, args, count)));
                }
            }
            _ => {}
        }
        original(&SLEEP, null_mut(), args, count, null_mut()) // it raises the error, if there is one
    }
}

/// Nanoseconds from what `time.sleep` takes: a float, or what can be an int.
fn duration(seconds: Obj) -> Option<u64> {
    // SAFETY: a living object; an error is dropped.
    let value = unsafe {
        if PyFloat_Check(seconds) != 0 {
            PyFloat_AsDouble(seconds)
        } else {
            let whole = PyNumber_Index(seconds);
            let value = if whole.is_null() { -1.0 } else { PyLong_AsDouble(whole) };
            drop_ref_if_any(whole);
            if raised() {
                PyErr_Clear();
            }
            value
        }
    };
    (0.0..=9e9).contains(&value).then_some((value * 1e9) as u64)
}

// `_standard_sleep(sleep)`: the function that replaces `time.sleep`, which is given.
function!(standard_sleep, |args| {
    args::one_argument("_standard_sleep", args).and_then(|sleep| {
        SLEEP.set(new_ref(sleep));
        let definition = types::method(
            "sleep",
            "sleep($module, seconds, /)\n--\n\nLet the calling tasklet rest, or the thread if no other tasklet is there.",
            scoped_sleep,
        );
        // SAFETY: the definition lives for ever; owned references.
        unsafe {
            let module = check(PyUnicode_FromString(c"time".as_ptr()))?;
            let made = PyCFunction_NewEx(Box::leak(Box::new(definition)), null_mut(), module);
            drop_ref(module);
            check(made)
        }
    })
});

unsafe extern "C" fn does_cooperate(_: Obj, _: Obj) -> Obj {
    bool_obj(cooperates())
}

// ---------------------------------------------------------------------- locks

/// `_owner()`: does not make a scheduler for a thread that has not used tasklets.
unsafe extern "C" fn running_owner(_: Obj, _: Obj) -> Obj {
    // SAFETY: no precondition.
    unsafe { PyLong_FromUnsignedLongLong(entry::running_owner()) }
}

/// `_ident()`: the identity of the calling thread; a tasklet that is a thread for `threading` has its own.
unsafe extern "C" fn ident(_: Obj, _: Obj) -> Obj {
    let ident = match entry::enter_begun() {
        Some(entered) if entered.s.current().flags.get().is_thread => entered.s.current().serial.get(),
        // SAFETY: the calling thread's state.
        _ => unsafe { cpython::ident_of(cpython::thread_state()) },
    };
    // SAFETY: no precondition.
    unsafe { PyLong_FromUnsignedLongLong(ident) }
}

// `_make_thread(tasklet)`: from now on it is a thread for `threading`. Returns its identity.
function!(make_thread, |args| args::one_argument("_make_thread", args).and_then(|o| {
    let Some(t) = classes::as_tasklet(o) else { return Err(type_error("_make_thread() needs a tasklet")) };
    t.set_flags(|f| {
        f.is_thread = true;
        f.gives_way = true;
    });
    // SAFETY: no precondition.
    check(unsafe { PyLong_FromUnsignedLongLong(t.serial.get()) })
}));

// `_gives_way()`: from now on the calling tasklet lets others run at some of its calls, as one that is a thread does.
function!(gives_way, |args| {
    args::no_arguments("_gives_way", args)?;
    entry::enter()?.s.current().set_flags(|f| f.gives_way = true);
    Ok(none())
});

// `_give_way()`: in a tasklet that is a thread, lets the others run at some of the calls.
function!(give_way, |args| {
    args::no_arguments("_give_way", args)?;
    schedule::give_way().map(|()| none())
});

// `_thread_of(owner)`: the identity of the OS thread of a tasklet that is an owner; the number itself if it is none.
// ValueError for a number that is neither a tasklet's nor a thread's.
function!(thread_of, |args| args::one_argument("_thread_of", args).and_then(|asked| {
    // SAFETY: a living object.
    let number = unsafe { PyLong_AsUnsignedLongLong(asked) };
    if number == u64::MAX && raised() {
        return Err(Raised);
    }
    if number >= 1 << 32 {
        return Ok(new_ref(asked)); // identities of threads are addresses, numbers of tasklets are small
    }
    let all = world(|w| w.tasklets()).into_iter().map(object);
    let found = all.filter(|t| t.serial.get() == number).find_map(|t| t.scheduler());
    let Some(s) = found else { return Err(raise(Exc::Value, "no thread has this identity")) };
    // SAFETY: no precondition.
    check(unsafe { PyLong_FromUnsignedLongLong(s.ident()) })
}));

// `_runs_others(owner)`: true if the owner is inside `run()` of the calling thread, and continues only when the
// other tasklets have run.
function!(runs_others, |args| args::one_argument("_runs_others", args).and_then(|asked| {
    // SAFETY: a living object.
    let asked = unsafe { PyLong_AsUnsignedLongLong(asked) };
    if asked == u64::MAX && raised() {
        return Err(Raised);
    }
    let in_run = |s: &'static Sched| {
        world(|w| w.watchdogs(s.id())).into_iter().any(|tid| entry::owner(s, object(tid)) == asked)
    };
    Ok(bool_obj(entry::enter_begun().is_some_and(|entered| in_run(entered.s))))
}));

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method_noargs(
            "_knows_socket_fields",
            "True if the fields of standard sockets are read directly.",
            socket::knows_fields,
        ),
        types::method_noargs(
            "_cooperates",
            "True if a patched call would wait in the calling tasklet.",
            does_cooperate,
        ),
        types::method_noargs("_owner", "The owner of locks that are acquired now.", running_owner),
        types::method_noargs(
            "_ident",
            "The identity of the calling thread, or of a tasklet that is one.",
            ident,
        ),
        types::method("_make_thread", "Makes a tasklet a thread; returns its identity.", make_thread),
        types::method("_gives_way", "Some calls of this tasklet let others run.", gives_way),
        types::method("_give_way", "Some of these calls let other tasklets run, in a thread.", give_way),
        types::method("_thread_of", "The identity of the OS thread of an owner.", thread_of),
        types::method("_runs_others", "True if this owner waits in run() of this thread.", runs_others),
        types::method(
            "_standard_methods",
            "Methods for the standard sockets. (base, kind)",
            standard_methods,
        ),
        types::method("_standard_sleep", "What takes the place of time.sleep. (sleep)", standard_sleep),
    ]
}
