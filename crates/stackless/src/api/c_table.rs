//! The table of C functions that the Carbon engine's C++ code finds as `scheduler._C_API`.
//!
//! The order of the entries and their types are that scheduler's interface. Each entry calls what a Python
//! program would call, so that subclasses work; all need the GIL, like the rest of the C API. An `int`
//! result is -1 with an exception set if the entry can fail, else 0 or the answer.

use crate::model::classes;
use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::model::thread::Sched;
use crate::model::world::world;
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::{entry, hooks};
use pyo3_ffi::*;
use std::ffi::{CStr, c_char, c_int, c_long, c_longlong};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// `stackless.scheduler`, owned.
static SCHEDULER: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());
static EXIT: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

type FastHook = unsafe extern "C" fn(Obj, Obj) -> c_int;

/// The fast schedule hook, or null.
static FAST: AtomicPtr<std::ffi::c_void> = AtomicPtr::new(null_mut());

/// Calls the fast hook before a switch. It must not run Python code; its result is ignored.
pub fn announce(s: &'static Sched, next: TaskletRef, _: u16) {
    let hook = FAST.load(Relaxed);
    if !hook.is_null() {
        // SAFETY: it was stored as exactly this type, and the tasklets live.
        unsafe {
            std::mem::transmute::<*mut std::ffi::c_void, FastHook>(hook)(s.current().obj(), next.obj())
        };
    }
}

fn method(o: Obj, name: &CStr, args: &[Obj]) -> Obj {
    let mut all = vec![o];
    all.extend(args);
    // SAFETY: living objects and a NUL-terminated name.
    unsafe {
        let name = PyUnicode_InternFromString(name.as_ptr());
        if name.is_null() {
            return null_mut();
        }
        let result = PyObject_VectorcallMethod(name, all.as_ptr(), all.len(), null_mut());
        drop_ref(name);
        result
    }
}

/// Calls a function of the module.
fn function(name: &CStr, args: &[Obj]) -> Obj {
    method(SCHEDULER.load(Relaxed), name, args)
}

fn done(result: Obj) -> c_int {
    drop_ref(result);
    if result.is_null() { -1 } else { 0 }
}

fn int(result: Obj) -> c_int {
    if result.is_null() {
        return -1;
    }
    // SAFETY: an owned reference.
    let value = unsafe { PyLong_AsLong(result) };
    drop_ref(result);
    value as c_int
}

fn attribute(o: Obj, name: &CStr) -> Obj {
    // SAFETY: a living object and a NUL-terminated name.
    unsafe { PyObject_GetAttrString(o, name.as_ptr()) }
}

/// Sets an attribute to a value that is taken over. The caller cannot be told of an error.
fn set(o: Obj, name: &CStr, value: Obj) {
    // SAFETY: as above.
    if value.is_null() || unsafe { PyObject_SetAttrString(o, name.as_ptr(), value) } < 0 {
        write_unraisable(o);
    }
    drop_ref(value);
}

fn is_instance(o: Obj, kind: Obj) -> c_int {
    // SAFETY: living objects.
    unsafe { PyObject_IsInstance(o, kind) }
}

/// The object; None for null.
fn or_none(o: Obj) -> Obj {
    // SAFETY: None exists.
    if o.is_null() { unsafe { Py_None() } } else { o }
}

unsafe extern "C" fn tasklet_new(kind: Obj, args: Obj) -> Obj {
    // SAFETY: the caller's: a type, and a tuple or null.
    unsafe { if args.is_null() { PyObject_CallNoArgs(kind) } else { PyObject_Call(kind, args, null_mut()) } }
}

unsafe extern "C" fn tasklet_setup(t: Obj, args: Obj, kwargs: Obj) -> c_int {
    let setup = attribute(t, c"setup");
    if setup.is_null() {
        return -1;
    }
    // SAFETY: the caller's: a tuple or null, a dict or null.
    unsafe {
        let none = if args.is_null() { PyTuple_New(0) } else { new_ref(args) };
        let result = if none.is_null() { null_mut() } else { PyObject_Call(setup, none, kwargs) };
        drop_ref(none);
        drop_ref(setup);
        done(result)
    }
}

unsafe extern "C" fn tasklet_insert(t: Obj) -> c_int {
    done(method(t, c"insert", &[]))
}

unsafe extern "C" fn tasklet_get_block_trap(t: Obj) -> c_int {
    // SAFETY: the caller's: a tasklet.
    unsafe { Tasklet::from(t) }.flags.get().block_trap.into()
}

unsafe extern "C" fn tasklet_set_block_trap(t: Obj, on: c_int) {
    // SAFETY: the caller's: a tasklet.
    unsafe { Tasklet::from(t) }.set_flags(|f| f.block_trap = on != 0);
}

unsafe extern "C" fn tasklet_is_main(t: Obj) -> c_int {
    // SAFETY: the caller's: a tasklet.
    unsafe { Tasklet::from(t) }.is_main().into()
}

unsafe extern "C" fn tasklet_check(o: Obj) -> c_int {
    (!o.is_null() && is_instance(o, classes::tasklet_type().cast()) > 0).into()
}

unsafe extern "C" fn tasklet_alive(t: Obj) -> c_int {
    // SAFETY: the caller's: a tasklet.
    unsafe { Tasklet::from(t) }.alive().into()
}

unsafe extern "C" fn tasklet_kill(t: Obj) -> c_int {
    done(method(t, c"kill", &[]))
}

unsafe extern "C" fn tasklet_times_switched_to(t: Obj) -> c_long {
    // SAFETY: the caller's: a tasklet.
    let t: TaskletRef = unsafe { Tasklet::from(t) };
    t.switches.get() as c_long
}

/// The text lives as long as the tasklet refers to it. Null with an exception set, also if the tasklet has none.
unsafe extern "C" fn tasklet_context(t: Obj) -> *const c_char {
    let text = attribute(t, c"context");
    if text.is_null() {
        return null_mut();
    }
    // SAFETY: the tasklet keeps its text.
    let result = unsafe { PyUnicode_AsUTF8(text) };
    drop_ref(text);
    result
}

unsafe extern "C" fn channel_new(kind: Obj) -> Obj {
    // SAFETY: the caller's: a type.
    unsafe { PyObject_CallNoArgs(kind) }
}

unsafe extern "C" fn channel_send(ch: Obj, value: Obj) -> c_int {
    done(method(ch, c"send", &[or_none(value)]))
}

unsafe extern "C" fn channel_receive(ch: Obj) -> Obj {
    method(ch, c"receive", &[])
}

/// `arguments` is a tuple, one value, or null.
unsafe extern "C" fn channel_send_exception(ch: Obj, kind: Obj, arguments: Obj) -> c_int {
    let mut all = vec![kind];
    // SAFETY: the caller's: living objects; the items of a tuple are borrowed.
    unsafe {
        if !arguments.is_null() && PyTuple_Check(arguments) != 0 {
            all.extend((0..PyTuple_GET_SIZE(arguments)).map(|i| PyTuple_GET_ITEM(arguments, i)));
        } else if !arguments.is_null() {
            all.push(arguments);
        }
    }
    done(method(ch, c"send_exception", &all))
}

unsafe extern "C" fn channel_queue(ch: Obj) -> Obj {
    attribute(ch, c"queue")
}

unsafe extern "C" fn channel_get_preference(ch: Obj) -> c_int {
    int(attribute(ch, c"preference"))
}

unsafe extern "C" fn channel_set_preference(ch: Obj, value: c_int) {
    set(ch, c"preference", int_obj(value.into()));
}

unsafe extern "C" fn channel_balance(ch: Obj) -> c_int {
    int(attribute(ch, c"balance"))
}

unsafe extern "C" fn channel_check(o: Obj) -> c_int {
    (!o.is_null() && is_instance(o, classes::CHANNEL.get().cast()) > 0).into()
}

unsafe extern "C" fn channel_send_throw(ch: Obj, kind: Obj, value: Obj, traceback: Obj) -> c_int {
    done(method(ch, c"send_throw", &[kind, or_none(value), or_none(traceback)]))
}

unsafe extern "C" fn get_scheduler() -> Obj {
    function(c"get_schedule_manager", &[])
}

unsafe extern "C" fn schedule(value: Obj, remove: c_int) -> Obj {
    let name = if remove != 0 { c"schedule_remove" } else { c"schedule" };
    if value.is_null() { function(name, &[]) } else { function(name, &[value]) }
}

unsafe extern "C" fn run_count() -> c_int {
    entry::current().map_or(-1, |s| world(|w| w.run_count(s.id())) as c_int)
}

unsafe extern "C" fn get_current() -> Obj {
    give(entry::current().map(|s| new_ref(s.current().obj())))
}

fn with_number(name: &CStr, n: i64) -> Obj {
    let n = int_obj(n);
    let result = if n.is_null() { null_mut() } else { function(name, &[n]) };
    drop_ref(n);
    result
}

unsafe extern "C" fn run_with_timeout(nanoseconds: c_longlong) -> Obj {
    with_number(c"run_with_timeout", nanoseconds)
}

unsafe extern "C" fn run_n_tasklets(n: c_int) -> Obj {
    with_number(c"run_n_tasklets", n.into())
}

unsafe extern "C" fn set_channel_callback(callback: Obj) -> c_int {
    done(function(c"set_channel_callback", &[or_none(callback)]))
}

unsafe extern "C" fn get_channel_callback() -> Obj {
    function(c"get_channel_callback", &[])
}

unsafe extern "C" fn set_schedule_callback(callback: Obj) -> c_int {
    done(function(c"set_schedule_callback", &[or_none(callback)]))
}

unsafe extern "C" fn set_fast_callback(hook: Option<FastHook>) {
    FAST.store(hook.map_or(null_mut(), |hook| hook as *mut std::ffi::c_void), Relaxed);
    hooks::set_flags(hooks::FAST, hook.is_some());
}

unsafe extern "C" fn manager_count() -> c_int {
    int(function(c"get_number_of_active_schedule_managers", &[]))
}

unsafe extern "C" fn channel_count() -> c_int {
    int(function(c"get_number_of_active_channels", &[]))
}

unsafe extern "C" fn all_time_count() -> c_int {
    int(function(c"get_all_time_tasklet_count", &[]))
}

unsafe extern "C" fn active_count() -> c_int {
    int(function(c"get_active_tasklet_count", &[]))
}

unsafe extern "C" fn completed_count() -> c_int {
    int(function(c"get_tasklets_completed_last_run_with_timeout", &[]))
}

unsafe extern "C" fn switched_count() -> c_int {
    int(function(c"get_tasklets_switched_last_run_with_timeout", &[]))
}

// `_c_api(scheduler)`: the capsule for that module; its classes `tasklet` and `channel` are the
// types in the table. Called once.
function!(c_api, |args| args::one_argument("_c_api", args).and_then(make));

fn make(scheduler: Obj) -> Res<Obj> {
    let types = [check(attribute(scheduler, c"tasklet"))?, check(attribute(scheduler, c"channel"))?];
    SCHEDULER.store(new_ref(scheduler), Relaxed);
    EXIT.store(classes::tasklet_exit(), Relaxed);
    macro_rules! table {
        ($($entry:expr),* $(,)?) => { vec![$($entry as *const () as usize),*] };
    }
    let mut table = table![
        tasklet_new,
        tasklet_setup,
        tasklet_insert,
        tasklet_get_block_trap,
        tasklet_set_block_trap,
        tasklet_is_main,
        tasklet_check,
        tasklet_alive,
        tasklet_kill,
        channel_new,
        channel_send,
        channel_receive,
        channel_send_exception,
        channel_queue,
        channel_get_preference,
        channel_set_preference,
        channel_balance,
        channel_check,
        channel_send_throw,
        get_scheduler,
        schedule,
        run_count,
        get_current,
        run_with_timeout,
        run_n_tasklets,
        set_channel_callback,
        get_channel_callback,
        set_schedule_callback,
        set_fast_callback,
        manager_count,
        channel_count,
        all_time_count,
        active_count,
        completed_count,
        switched_count,
    ];
    table.extend(types.map(|kind| kind as usize));
    table.push(EXIT.as_ptr() as usize);
    table.extend(table![tasklet_times_switched_to, tasklet_context]);
    let table = table.leak().as_mut_ptr();
    // SAFETY: the table and the name are never freed.
    check(unsafe { PyCapsule_New(table.cast(), c"scheduler._C_API".as_ptr(), None) })
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![types::method("_c_api", "The capsule with the table of C functions.", c_api)]
}
