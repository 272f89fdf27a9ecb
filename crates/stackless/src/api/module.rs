//! The extension module: its functions that belong to no other file, and its contents.

use crate::api::{c_table, parking, pickle, pickle_flags, reducers, self_test};
use crate::engine::schedule::{schedule, schedule_remove};
use crate::engine::thread_end::kill_all;
use crate::engine::{fork, interrupts, steering, thread_end};
use crate::model::classes::TASKLET_EXIT;
use crate::model::settings::{EXITED, NESTED, SOFT};
use crate::model::world::{each_tasklet, object, world};
use crate::model::{bomb, primitive, settings};
use crate::observe::{counts, crash, leaks, origins, record_functions, snapshot, warnings};
use crate::parking::{park, room};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::{callbacks, entry, idle, readiness, waits};
use crate::sockets::{blocking, byte_queue, methods, standard};
use crate::sync::{bounded_queue, count, event, local, lock, queue_type, rlock, semaphore, simple_queue};
use crate::sync::{object as objects, pickle as sync_pickle};
use crate::types::{case, channel, scope, tasklet, tasklet_gc};
use crate::waiting::{alt, descriptors, run, sleep, timeout, to_thread};
use pyo3_ffi::*;
use stackless_cpython as cpython;
use stackless_stack::{self as stack, Limits};
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

// ---------------------------------------------------------------------- tasklets and threads

function!(getcurrent, |args| args::no_arguments("getcurrent", args)
    .and_then(|()| entry::current())
    .map(|s| new_ref(s.current().obj())));

function!(getmain, |args| args::no_arguments("getmain", args)
    .and_then(|()| entry::current())
    .map(|s| new_ref(s.main().obj())));

function!(getruncount, |args| args::no_arguments("getruncount", args)
    .and_then(|()| entry::current())
    .map(|s| int_obj(world(|w| w.run_count(s.id())).into())));

function!(getcurrentid, |args| {
    let s = args::no_arguments("getcurrentid", args).and_then(|()| entry::current());
    s.map(|s| {
        let t = s.current();
        let id = if t.is_main() { s.ident() } else { t.serial.get() };
        // SAFETY: no precondition.
        unsafe { PyLong_FromUnsignedLongLong(id) }
    })
});

unsafe extern "C" fn getdebug(_: Obj, _: Obj) -> Obj {
    bool_obj(cfg!(debug_assertions))
}

unsafe extern "C" fn getuncollectables(_: Obj, _: Obj) -> Obj {
    give(entry::current().and_then(|_| {
        let all = world(|w| w.tasklets()).into_iter().map(object);
        let held = all.filter(|t| t.started() && !t.is_main() && t.is_owned() && !park::is_soft(t));
        list_of(held.map(|t| new_ref(t.obj())).collect())
    }))
}

function!(get_thread_info, |args| do_get_thread_info(args));

const SERIALS: u64 = 1 << 30;
const WATCHDOGS: u64 = 1 << 31;

fn do_get_thread_info(args: &[Obj]) -> Res<Obj> {
    args::at_most("get_thread_info", 2, args.len())?;
    let mut s = entry::current()?;
    if let Some(id) = args.first() {
        // SAFETY: a living object; thread identities are unsigned, -1 means the calling thread.
        let id = unsafe { PyLong_AsLongLong(*id) };
        if id == -1 && raised() {
            return Err(Raised);
        }
        if id != -1 {
            s = entry::of_ident(id as u64)?.ok_or_else(|| runtime_error("Thread id not found"))?;
        }
    }
    let mut flags = 0;
    if let Some(given) = args.get(1) {
        // SAFETY: a living object.
        flags = unsafe { PyLong_AsUnsignedLongLongMask(*given) };
        if flags == u64::MAX && raised() {
            return Err(Raised);
        }
    }
    let mut all = vec![new_ref(s.main().obj()), new_ref(s.current().obj())];
    all.push(int_obj(world(|w| w.run_count(s.id())).into()));
    if flags & SERIALS != 0 {
        let slot = s.current().seat().slot;
        let (last, current) = {
            let stacks = s.stacks.borrow();
            (stacks.last_serial(), slot.map_or(0, |slot| stacks.serial(slot)))
        };
        all.extend([last, current].map(|n| int_obj(n as i64)));
        all.push(give(namespace(c"serial", int_obj(0))));
    }
    if flags & WATCHDOGS != 0 {
        all.push(give(run::shown_watchdogs(s)));
    }
    tuple(all)
}

/// A new tuple of these references, which are taken over; a null among them means that an exception is set.
fn tuple(all: Vec<Obj>) -> Res<Obj> {
    if all.iter().any(|o| o.is_null()) {
        all.into_iter().for_each(drop_ref);
        return Err(Raised);
    }
    let list = list_of(all)?;
    // SAFETY: a list.
    let tuple = unsafe { PyList_AsTuple(list) };
    drop_ref(list);
    check(tuple)
}

/// An object with one attribute, whose value is taken over.
fn namespace(name: &CStr, value: Obj) -> Res<Obj> {
    // SAFETY: NUL-terminated names; owned references are dropped.
    unsafe {
        let types = PyImport_ImportModule(c"types".as_ptr());
        let made = if types.is_null() {
            null_mut()
        } else {
            PyObject_CallMethod(types, c"SimpleNamespace".as_ptr(), null_mut())
        };
        drop_ref(types);
        let set = if made.is_null() { -1 } else { PyObject_SetAttrString(made, name.as_ptr(), value) };
        drop_ref(value);
        if set < 0 {
            drop_ref(made);
            return Err(Raised);
        }
        Ok(made)
    }
}

function!(enable_softswitch, |args| args::one_argument("enable_softswitch", args)
    .and_then(|flag| types::setting(&SOFT, flag, "enable_softswitch")));

unsafe extern "C" fn set_error_handler(_: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call.
    let given = unsafe { args::named("set_error_handler", ["handler"], args, count, names) };
    let Ok([handler]) = given else { return null_mut() };
    if some(handler).is_some_and(|handler| !is_callable(handler)) {
        return give(Err(type_error("error handler must be callable")));
    }
    callbacks::ON_ERROR.set(handler)
}

function!(set_schedule_callback, |args| callback_argument("schedule", args)
    .map(callbacks::set_schedule_callback));

function!(set_channel_callback, |args| callback_argument("channel", args)
    .map(callbacks::set_channel_callback));

fn callback_argument(which: &str, args: &[Obj]) -> Res<Obj> {
    let callback = args::one_argument(&format!("set_{which}_callback"), args)?;
    if !is_none(callback) && !is_callable(callback) {
        return Err(type_error(&format!("{which} callback must be callable")));
    }
    Ok(callback)
}

function!(get_schedule_callback, |args| args::no_arguments("get_schedule_callback", args)
    .map(|()| callbacks::ON_SCHEDULE.get()));

function!(get_channel_callback, |args| args::no_arguments("get_channel_callback", args)
    .map(|()| callbacks::ON_CHANNEL.get()));

unsafe extern "C" fn switch_trap(_: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call.
    let given = unsafe { args::named("switch_trap", ["change"], args, count, names) };
    give(given.and_then(|[change]| {
        let s = entry::current()?;
        if change.is_null() {
            return Ok(int_obj(s.trap.get()));
        }
        // SAFETY: a living object.
        let change = unsafe { PyLong_AsLong(change) };
        if change == -1 && raised() {
            return Err(Raised);
        }
        let old = callbacks::change_trap(s, change);
        interrupts::retry()?;
        Ok(int_obj(old))
    }))
}

// ---------------------------------------------------------------------- stacks

/// (size, count, park_above, park_after): the package makes a named tuple of it.
unsafe extern "C" fn stack_limits(_: Obj, _: Obj) -> Obj {
    let Limits { size, count } = stack::limits();
    let after = match room::idle_time() {
        u64::MAX => f64::INFINITY,
        nanoseconds => nanoseconds as f64 / 1e9,
    };
    // SAFETY: three integers and a number.
    unsafe {
        Py_BuildValue(
            c"(nnnd)".as_ptr(),
            size as Py_ssize_t,
            count as Py_ssize_t,
            room::most_stacks() as Py_ssize_t,
            after,
        )
    }
}

unsafe extern "C" fn guards_are_free(_: Obj, _: Obj) -> Obj {
    bool_obj(stack::guards_are_free())
}

function!(change_stack_limits, |args| do_change_stack_limits(args).map(|()| none()));

fn do_change_stack_limits(args: &[Obj]) -> Res<()> {
    let [size, count, park_above, park_after] = args else {
        return Err(type_error("three integers and a number are required"));
    };
    let number = |o: &Obj, name: &str| {
        // SAFETY: a living object.
        if unsafe { PyIndex_Check(*o) } == 0 {
            return Err(type_error(&format!("{name} must be an integer, not {}", type_name(*o))));
        }
        // SAFETY: a living object.
        let n = unsafe { PyLong_AsSsize_t(*o) };
        if n == -1 && raised() { Err(Raised) } else { Ok(n.max(0) as usize) }
    };
    let limits = Limits { size: number(size, "size")?, count: number(count, "count")? };
    let most = number(park_above, "park_above")?;
    if most == 0 {
        return Err(raise(Exc::Value, "park_above must be at least 1"));
    }
    let idle_time = args::time(*park_after, "park_after")?.unwrap_or(u64::MAX);
    stack::set_limits(limits).map_err(|text| raise(Exc::Value, text))?;
    room::set_most_stacks(most);
    room::set_idle_time(idle_time);
    Ok(())
}

// ---------------------------------------------------------------------- for the package

/// Called when the interpreter exits, before it takes anything apart: ends the main thread's tasklets,
/// with or without C state, and drops what those of ended threads refer to.
unsafe extern "C" fn at_exit(_: Obj, _: Obj) -> Obj {
    give(entry::current().map(|s| {
        if std::ptr::eq(s.current(), s.main()) {
            kill_all(s, |_| false);
        }
        each_tasklet(|t| t.started() && t.scheduler().is_none(), tasklet_gc::release_frames);
        EXITED.store(true, Relaxed);
        to_thread::close();
        none()
    }))
}

function!(set_nested, |args| {
    let flag = args::one_argument("set_use_nested_tasklets", args).and_then(is_true);
    flag.map(|flag| {
        NESTED.store(flag, Relaxed);
        none()
    })
});

unsafe extern "C" fn get_nested(_: Obj, _: Obj) -> Obj {
    bool_obj(NESTED.load(Relaxed))
}

/// `_after_fork()`, called in the child: it has one thread, no worker threads, and shares its poller with the parent.
unsafe extern "C" fn after_fork(_: Obj, _: Obj) -> Obj {
    to_thread::after_fork();
    blocking::after_fork();
    primitive::after_fork();
    idle::after_fork();
    give(entry::current().and_then(|s| {
        fork::after_fork(s);
        readiness::after_fork(s)?;
        to_thread::fail_waiting(s);
        Ok(none())
    }))
}

/// Does nothing, as cheaply as a C function can be called: benchmarks compare with it.
unsafe extern "C" fn noop(_: Obj, _: *mut Obj, _: Py_ssize_t) -> Obj {
    none()
}

fn functions() -> Vec<PyMethodDef> {
    let mut all = vec![
        types::method_keywords(
            "schedule",
            "schedule($module, /, retval=<current>)\n--\n\nLet the next tasklet of the run queue run; continue when the queue comes round.\n\n\
             Returns retval, by default the calling tasklet. Alone in the queue: returns at once.",
            schedule,
        ),
        types::method_keywords(
            "schedule_remove",
            "schedule_remove($module, /, retval=<current>)\n--\n\nLet the next tasklet run, and leave the run queue: the caller is paused.\n\n\
             Returns retval, by default the calling tasklet, when it is inserted or run; its\n\
             tempval decides. Raises RuntimeError where no tasklet is left to run (deadlock).",
            schedule_remove,
        ),
        types::method(
            "getcurrent",
            "getcurrent($module, /)\n--\n\nThe running tasklet of the calling thread.",
            getcurrent,
        ),
        types::method(
            "getmain",
            "getmain($module, /)\n--\n\nThe main tasklet of the calling thread.",
            getmain,
        ),
        types::method(
            "getruncount",
            "getruncount($module, /)\n--\n\nHow many tasklets the calling thread's run queue holds, the running one included.",
            getruncount,
        ),
        types::method(
            "getcurrentid",
            "getcurrentid($module, /)\n--\n\nA number for the running tasklet: its thread's identity for a main tasklet, else one of its own.",
            getcurrentid,
        ),
        types::method(
            "get_thread_info",
            "get_thread_info($module, thread_id=-1, flags=0, /)\n--\n\nThe tuple (main tasklet, current tasklet, run count) of a thread; -1 is the calling one.\n\n\
             Bit 30 of flags appends the serial numbers of the last C stack that the thread has made and of\n\
             the one it runs on (0: its own), and an object whose attribute serial is 0; bit 31 the live list of watchdogs, None before the\n\
             thread's first run(). Raises RuntimeError if there is no such thread.",
            get_thread_info,
        ),
        types::method(
            "enable_softswitch",
            "enable_softswitch($module, flag, /)\n--\n\nAllow or forbid soft switching, in the whole process; None only asks. Returns the old value.\n\n\
             Tasklets that start while it is forbidden have a nesting level above 0 for ever, and so has\n\
             main meanwhile: they are interrupted only with ignore_nesting. Raises TypeError for what is\n\
             not None, a bool or an int. (Reference, section 10.)",
            enable_softswitch,
        ),
        types::method_noargs(
            "getdebug",
            "getdebug($module, /)\n--\n\nTrue in a debug build of this module.",
            getdebug,
        ),
        types::method_noargs(
            "getuncollectables",
            "getuncollectables($module, /)\n--\n\nThe tasklets with C code on their stack, which the collector cannot look through.",
            getuncollectables,
        ),
        types::method_keywords(
            "set_error_handler",
            "set_error_handler($module, /, handler=None)\n--\n\nLet handler(type, value, traceback) deal with exceptions that tasklets do not catch.\n\n\
             It is called in the tasklet that ends. What it raises goes to the caller of run(). Not called\n\
             for TaskletExit and SystemExit. Returns the previous handler, or None.",
            set_error_handler,
        ),
        types::method(
            "set_schedule_callback",
            "set_schedule_callback($module, callback, /)\n--\n\nCall callback(previous, next) before every switch, on any thread; None: do not.\n\n\
             It must not switch. Its exceptions go to sys.unraisablehook. previous is None when a thread\n\
             begins. Returns the previous callback, or None. Raises TypeError for what is not callable.",
            set_schedule_callback,
        ),
        types::method(
            "get_schedule_callback",
            "get_schedule_callback($module, /)\n--\n\nThe schedule callback, or None.",
            get_schedule_callback,
        ),
        types::method(
            "set_channel_callback",
            "set_channel_callback($module, callback, /)\n--\n\nCall callback(channel, tasklet, sending, willblock) at every channel operation; None: do not.\n\n\
             The value under way is the tasklet's tempval. An exception refuses the operation. Using a\n\
             channel inside is a RuntimeError. Returns the previous callback, or None.",
            set_channel_callback,
        ),
        types::method(
            "get_channel_callback",
            "get_channel_callback($module, /)\n--\n\nThe channel callback, or None.",
            get_channel_callback,
        ),
        types::method_keywords(
            "switch_trap",
            "switch_trap($module, /, change=0)\n--\n\nAdd to the calling thread's switch trap; return the old value.\n\n\
             While it is not 0, what would switch tasklets raises RuntimeError and changes nothing.",
            switch_trap,
        ),
        types::method_noargs(
            "_stack_limits",
            "The limits (size, count, park_above, park_after).",
            stack_limits,
        ),
        types::method_noargs("_guards_are_free", "True if guards cost no mapping each.", guards_are_free),
        types::method(
            "_set_stack_limits",
            "Sets the limits (size, count, park_above, park_after).",
            change_stack_limits,
        ),
        types::method_noargs("_at_exit", "Ends the main thread's tasklets.", at_exit),
        types::method(
            "_set_use_nested_tasklets",
            "_set_use_nested_tasklets($module, flag, /)\n--\n\nSets whether t.run() lets the right neighbours of t run before it returns.",
            set_nested,
        ),
        types::method_noargs("_get_use_nested_tasklets", "The flag.", get_nested),
        types::method_noargs("_after_fork", "In the child: there are no worker threads.", after_fork),
        types::method("_noop_fastcall", "Does nothing.", noop),
    ];
    all.extend(run::functions());
    all.extend(alt::functions());
    all.extend(case::functions());
    all.extend(sleep::functions());
    all.extend(timeout::functions());
    all.extend(steering::functions());
    all.extend(warnings::functions());
    all.extend(origins::functions());
    all.extend(scope::functions());
    all.extend(to_thread::functions());
    all.extend(methods::functions());
    all.extend(standard::functions());
    all.extend(bounded_queue::functions());
    all.extend(objects::functions());
    all.extend(sync_pickle::functions());
    all.extend(descriptors::functions());
    all.extend(blocking::functions());
    all.extend(c_table::functions());
    all.extend(counts::functions());
    all.extend(snapshot::functions());
    all.extend(crash::functions());
    all.extend(pickle::functions());
    all.extend(reducers::functions());
    all.extend(parking::functions());
    all.extend(leaks::functions());
    all.extend(pickle_flags::functions());
    all.extend(record_functions::functions());
    all
}

/// The module's contents: a dict, owned; null before it was filled.
static FILLED: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

/// Fills the module. A module that is made again, since the package was removed from `sys.modules` and imported
/// again, gets the contents of the first one: there are tasklets and channels of these types, exceptions on their
/// way, and main tasklets.
pub fn fill_once(module: Obj) -> Res<()> {
    // SAFETY: a module, whose dict is borrowed.
    let dict = unsafe { PyModule_GetDict(module) };
    let filled = FILLED.load(Relaxed);
    if filled.is_null() {
        self_test::run()?;
        fill(module)?;
        // SAFETY: this is the main interpreter, and the first time.
        unsafe { cpython::watch_interpreters() };
        // SAFETY: a living dict.
        FILLED.store(check(unsafe { PyDict_Copy(dict) })?, Relaxed);
        return Ok(());
    }
    if settings::exited() {
        // SAFETY: the exception type exists.
        unsafe { PyErr_SetString(PyExc_ImportError, c"the interpreter that used stackless exits".as_ptr()) };
        return Err(Raised);
    }
    // The names that every module has are set already: they are not replaced.
    // SAFETY: living dicts.
    if unsafe { PyDict_Merge(dict, filled, 0) } < 0 { Err(Raised) } else { begin_here() }
}

fn fill(module: Obj) -> Res<()> {
    thread_end::ready(module)?;
    bomb::add(module)?;
    waits::ready(module)?;
    warnings::ready(module)?;
    byte_queue::ready(module)?;
    timeout::ready(module)?;
    channel::add(module)?;
    case::add(module)?;
    tasklet::add(module)?;
    lock::add(module)?;
    count::add(module)?;
    rlock::add(module)?;
    semaphore::add(module)?;
    event::add(module)?;
    simple_queue::add(module)?;
    local::add(module)?;
    queue_type::add(module)?;
    scope::ready(module)?;
    // SAFETY: a module and valid tables; owned references go where they are said to go.
    unsafe {
        if PyModule_AddFunctions(module, types::method_table(&functions())) < 0 {
            return Err(Raised);
        }
        let doc = forever("Ends a tasklet silently. A subclass of SystemExit, and a built-in name.");
        let exit = check(PyErr_NewExceptionWithDoc(
            c"stackless.TaskletExit".as_ptr(),
            doc,
            PyExc_SystemExit,
            null_mut(),
        ))?;
        TASKLET_EXIT.store(exit, Relaxed);
        if PyModule_AddObjectRef(module, c"TaskletExit".as_ptr(), exit) < 0
            || PyModule_AddStringConstant(module, c"_arch".as_ptr(), forever(stack::ARCH)) < 0
        {
            return Err(Raised);
        }
    }
    begin_here()
}

/// Makes the main tasklet of the importing thread. Later, inside a greenlet, it could not be
/// found out which stack is the thread's own.
fn begin_here() -> Res<()> {
    entry::current().map(|_| ())
}

/// Checks that the module can work in this interpreter.
pub fn check_interpreter() -> Res<()> {
    // SAFETY: the GIL is held.
    let main = unsafe { PyInterpreterState_Get() == PyInterpreterState_Main() };
    let ts = cpython::thread_state();
    let problem = if !main || ts.is_null() {
        c"stackless does not support subinterpreters"
    } else if !stack::page_size_fits() {
        c"stackless needs a kernel with memory pages of 4 KiB"
    } else {
        // SAFETY: the calling thread's state.
        match unsafe { cpython::check_interpreter(ts) } {
            Ok(()) => return Ok(()),
            Err(problem) => problem,
        }
    };
    // SAFETY: the exception type exists.
    unsafe { PyErr_SetString(PyExc_ImportError, problem.as_ptr()) };
    Err(Raised)
}
