//! The nesting level of a tasklet, and the trace functions that a new one gets.

use crate::model::tasklet::TaskletRef;
use crate::model::world::fields;
use crate::model::{settings, thread};
use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, Of};
use std::ptr::null_mut;

/// The number of calls from C code back into Python. A tasklet whose function is C code has that below all its
/// Python calls, and counts one more. Without soft switching there is a C stack below everything: the level is at
/// least 1.
pub fn nesting(t: TaskletRef) -> i64 {
    let Some((ts, of)) = fields(t) else {
        return if t.started() { t.seat().last_level.get().into() } else { 0 };
    };
    let hard = if t.is_main() { !settings::soft_switching() } else { t.flags.get().hard };
    let before = if t.is_main() { threading_globals() } else { null_mut() };
    // SAFETY: as above; the globals are borrowed or null.
    let level = unsafe { cpython::nesting(ts, of, before) };
    // The seat has the function while it is called, except for main tasklets and parked ones, which have none in C.
    let c_function = !t.seat().python.get() && !t.seat().call[0].get().is_null();
    (level + i64::from(c_function)).max(hard.into())
}

/// Gives the running tasklet, which begins, the functions that `threading` has for new threads, or else the
/// debugger of the thread's main tasklet. No Python code runs in which the tasklet could be interrupted.
#[cold]
pub fn trace_as_threads_are() -> Res<()> {
    let s = thread::of_running_tasklet();
    for (name, profile) in [(c"_trace_hook", false), (c"_profile_hook", true)] {
        let globals = threading_globals();
        if globals.is_null() {
            return Ok(());
        }
        // SAFETY: a dict and a NUL-terminated name; the answer is borrowed, or null.
        let mut function = some(unsafe { PyDict_GetItemString(globals, name.as_ptr()) });
        if function.is_none() && !profile {
            function = debugger(s);
        }
        if let Some(function) = function.map(new_ref) {
            let set = set_trace_of(s, Of::Running, function, profile);
            drop_ref(function);
            set?;
        }
    }
    Ok(())
}

/// The trace function of the main tasklet, if it is a method of a debugger derived from `bdb.Bdb`: borrowed.
/// Such a debugger (pdb, IDLE's) may have breakpoints in any code, and does not know tasklets.
fn debugger(s: &'static thread::Sched) -> Option<Obj> {
    let (ts, of) = fields(s.main())?;
    // SAFETY: the fields are those of a started tasklet; all answers are borrowed, or null.
    unsafe {
        let function = some(cpython::trace_object(ts, of, false))?;
        let module = some(PyDict_GetItemString(PyImport_GetModuleDict(), c"bdb".as_ptr()))?;
        if PyModule_Check(module) == 0 || !std::ptr::eq(type_of(function), &raw const PyMethod_Type) {
            return None;
        }
        let class = some(PyDict_GetItemString(PyModule_GetDict(module), c"Bdb".as_ptr()))?;
        let is_class = PyType_Check(class) != 0;
        (is_class && PyObject_TypeCheck(PyMethod_Self(function), class.cast()) != 0).then_some(function)
    }
}

pub fn set_trace_of(s: &'static thread::Sched, of: Of, function: Obj, profile: bool) -> Res<()> {
    let setter = from_sys(if profile { c"setprofile" } else { c"settrace" })?;
    cpython::forbid(1);
    // SAFETY: the calling thread's state; switches are refused meanwhile.
    let set = unsafe { cpython::set_trace(s.ts, of, setter, function) };
    cpython::forbid(-1);
    drop_ref(setter);
    if set { Ok(()) } else { Err(Raised) }
}

/// The globals of the module `threading`, borrowed: what Python code does when a thread begins. Null if
/// the module was not imported.
pub fn threading_globals() -> Obj {
    // SAFETY: borrowed references; the module lives as long as sys.modules has it.
    unsafe {
        let module = PyDict_GetItemString(PyImport_GetModuleDict(), c"threading".as_ptr());
        if module.is_null() || PyModule_Check(module) == 0 { null_mut() } else { PyModule_GetDict(module) }
    }
}
