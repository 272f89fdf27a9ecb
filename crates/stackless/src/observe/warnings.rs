//! `StacklessWarning`: what nothing would tell otherwise. A function whose call runs nothing, tasklets that were left
//! when the program ended; and the note in uncaught exceptions that names the tasklet.

use crate::model::tasklet::TaskletRef;
use crate::model::world::each_tasklet_of;
use crate::observe::{inspect, origins};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::entry;
use pyo3_ffi::*;
use stackless_cpython::CallDoes;
use std::ffi::CString;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};

static CLASS: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

/// Whether the program is told at its end of tasklets that have not ended.
static AT_EXIT: AtomicBool = AtomicBool::new(false);

/// Warns that a tasklet was given a function whose call only makes a generator or a coroutine. The error is that of a
/// warning that is to be raised.
#[cold]
pub fn of_function(func: Obj, does: CallDoes) -> Res<()> {
    let name = inspect::callable_name(func);
    let text = if does == CallDoes::MakeGenerator {
        format!(
            "'{name}' is a generator function: its call runs nothing. Give the tasklet a function that iterates over it"
        )
    } else {
        format!(
            "'{name}' is defined with async: its call runs nothing. Give the tasklet a function that runs it"
        )
    };
    let text = CString::new(text.replace('\0', "?")).expect("without NUL");
    // SAFETY: a category and a text.
    if unsafe { PyErr_WarnEx(CLASS.load(Relaxed), text.as_ptr(), 1) } < 0 { Err(Raised) } else { Ok(()) }
}

/// Adds a note to an exception that the running tasklet, whose frames are gone, did not catch; its seat still has its function. Without memory for the
/// note there is none.
pub fn note(t: TaskletRef, exception: Obj) {
    let mut name = inspect::name_of(t);
    if name.is_empty() {
        // SAFETY: a tasklet that is running has a seat, which owns the function or has null.
        name = inspect::callable_name(unsafe { &*t.seat.get() }.call[0].get());
    }
    let name = if name.is_empty() { name } else { format!(" '{name}'") };
    let made = origins::words(t).map_or_else(String::new, |place| format!(", made at {place}"));
    let text = format!("(in tasklet {}{name}{made})", t.serial.get());
    saving_exception(|| without_collection(|| add(exception, &text)));
}

fn add(exception: Obj, text: &str) {
    // SAFETY: living objects; owned references are dropped.
    unsafe {
        let text = give(str_obj(text));
        let notes = c"__notes__".as_ptr();
        let list = PyObject_GetAttrString(exception, notes);
        PyErr_Clear();
        if !list.is_null() && !text.is_null() && PyList_Check(list) != 0 {
            PyList_Append(list, text);
        } else if list.is_null() && !text.is_null() {
            let list = give(list_of(vec![new_ref(text)]));
            if !list.is_null() {
                PyObject_SetAttrString(exception, notes, list);
            }
            drop_ref(list);
        }
        drop_ref(list);
        drop_ref(text);
        PyErr_Clear();
    }
}

function!(enable_exit_warnings, |args| args::one_argument("enable_exit_warnings", args)
    .and_then(|flag| types::setting(&AT_EXIT, flag, "enable_exit_warnings")));

// `_unended(threads)`: the tasklets of the calling thread that have not ended, but for the running one, the main one and
// daemons; those that are threads for `threading` only if `threads` is true.
function!(unended, |args| args::one_argument("_unended", args).and_then(|threads| {
    let (s, threads) = (entry::current()?, is_true(threads)?);
    let mut all = Vec::new();
    each_tasklet_of(s, |t| {
        let flags = t.flags.get();
        if t.alive() && !t.is_current() && !flags.daemon && (threads || !flags.is_thread) {
            all.push(new_ref(t.obj()));
        }
    });
    list_of(all)
}));

/// Makes the class, and puts it into the module.
pub fn ready(module: Obj) -> Res<()> {
    let doc = forever("About something that a program with tasklets probably does not mean. A UserWarning.");
    // SAFETY: a living class; the reference is kept for ever.
    unsafe {
        let name = c"stackless.StacklessWarning".as_ptr();
        let made = check(PyErr_NewExceptionWithDoc(name, doc, PyExc_UserWarning, null_mut()))?;
        CLASS.store(made, Relaxed);
        types::add_object(module, c"StacklessWarning", made)
    }
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method("_unended", "The tasklets that have not ended.", unended),
        types::method(
            "enable_exit_warnings",
            "enable_exit_warnings($module, flag, /)\n--\n\nWhether tasklets that have not ended at exit are reported; returns the old value. None only asks.\n\n\
         The report is a StacklessWarning that names the tasklets of the main thread that never ran, wait\n\
         or are paused, with their places; daemons are left out. On in development mode (-X dev) and\n\
         with STACKLESS_WARN=1, off with STACKLESS_WARN=0. Raises TypeError unless flag is None, a bool\n\
         or an int.",
            enable_exit_warnings,
        ),
    ]
}
