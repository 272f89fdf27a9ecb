//! The attributes of `tasklet`, and the methods that only set one of them.

use crate::engine::interrupts;
use crate::engine::nesting::{nesting, set_trace_of};
use crate::model::tasklet::{self, SETTING, Tasklet, TaskletRef};
use crate::model::world::{fields, object, world};
use crate::observe::inspect;
use crate::parking::{park, stacks};
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::{entry, scopes};
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, Of};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

/// A read-only attribute: its name, its docstring, and the function that returns it.
type Getter = (&'static str, &'static str, fn(TaskletRef) -> Obj);

const READ_ONLY: [Getter; 19] = [
    ("alive", "bool: has something to run or to resume.", |t| bool_obj(t.alive())),
    ("paused", "bool: alive, but in no run queue and no channel.", |t| bool_obj(t.paused())),
    ("scheduled", "bool: in a run queue, or waiting in a channel.", |t| bool_obj(t.linked())),
    ("blocked", "bool: waiting in a channel.", |t| bool_obj(t.blocked())),
    ("is_main", "bool: the main tasklet of its thread.", |t| bool_obj(t.is_main())),
    ("is_current", "bool: the running tasklet of its thread.", |t| bool_obj(t.is_current())),
    ("atomic", "bool: not to be interrupted; see set_atomic().", |t| bool_obj(t.flags.get().atomic)),
    ("ignore_nesting", "bool: see set_ignore_nesting().", |t| bool_obj(t.flags.get().ignore_nesting)),
    (
        "restorable",
        "bool: could be resumed from a pickle: no C code is in between its Python calls.",
        restorable,
    ),
    ("thread_id", "int: the identity of its thread, -1 once that has ended.", thread_id),
    ("next", "The next tasklet in its run queue or channel queue, or None.", |t| {
        neighbour(world(|w| w.next(t.id())))
    }),
    ("prev", "The previous tasklet in its run queue or channel queue, or None.", |t| {
        neighbour(world(|w| w.prev(t.id())))
    }),
    ("frame", "The innermost Python frame, or None.", frame),
    ("nesting_level", "int: the number of calls from C code back into Python on its stack.", nesting_level),
    ("recursion_depth", "int: Python calls in progress.", recursion_depth),
    ("context_id", "int: the id() of its contextvars.Context.", context_id),
    ("number", "int: a number that no other tasklet of the process ever has.", |t| {
        int_obj(t.serial.get() as i64)
    }),
    (
        "origin",
        "tuple: file, line and function where it got its arguments, if enable_origin_tracking() was on; else None.",
        |t| some(t.origin()).map_or_else(none, new_ref),
    ),
    ("_channel", "The channel it waits in, or None.", channel),
];

fn neighbour(t: Option<stackless_core::TaskletId>) -> Obj {
    t.map_or_else(none, |t| new_ref(object(t).obj()))
}

fn thread_id(t: TaskletRef) -> Obj {
    match t.scheduler() {
        // SAFETY: no precondition.
        Some(s) => unsafe { PyLong_FromUnsignedLongLong(s.ident()) },
        None => int_obj(-1),
    }
}

fn frame(t: TaskletRef) -> Obj {
    let Some((ts, of)) = fields(t) else { return none() };
    // SAFETY: the fields are those of a started tasklet, and the GIL is held.
    let frame = unsafe { cpython::frame_object(ts, of) };
    if frame.is_null() && !raised() { none() } else { frame }
}

fn recursion_depth(t: TaskletRef) -> Obj {
    // SAFETY: as above.
    int_obj(fields(t).map_or(0, |(ts, of)| unsafe { cpython::depth(ts, of) }))
}

/// True if it could be parked. What the running tasklet will wait in is not known: for it the nesting level counts.
fn restorable(t: TaskletRef) -> Obj {
    bool_obj(if t.is_current() { nesting(t) == 0 } else { park::is_soft(t) })
}

fn nesting_level(t: TaskletRef) -> Obj {
    int_obj(nesting(t))
}

fn channel(t: TaskletRef) -> Obj {
    let channel = t.channel().map(|c| world(|w| w.channel_payload(c)).obj());
    // SAFETY: a channel's memory is there until the world has forgotten it.
    let living = channel.filter(|&o| unsafe { Py_REFCNT(o) } > 0);
    living.map_or_else(none, new_ref)
}

// ---------------------------------------------------------------------- contexts

/// The context of a tasklet, made if it has none: borrowed.
pub fn context(t: TaskletRef) -> Res<Obj> {
    let found = match fields(t) {
        // SAFETY: the fields are those of a started tasklet.
        Some((ts, of)) => unsafe { cpython::context(ts, of) },
        None => t.context.get(),
    };
    if !found.is_null() {
        return Ok(found);
    }
    // SAFETY: no precondition; the reference is handed over.
    let made = check(unsafe { PyContext_New() })?;
    put_context(t, made);
    Ok(made)
}

fn put_context(t: TaskletRef, context: Obj) {
    match fields(t) {
        // SAFETY: the fields are those of a started tasklet; the reference is handed over.
        Some((ts, of)) => unsafe { cpython::set_context(ts, of, context) },
        None => drop_ref(t.context.replace(context)),
    }
}

fn context_id(t: TaskletRef) -> Obj {
    // SAFETY: no precondition.
    give(context(t).map(|c| unsafe { PyLong_FromVoidPtr(c.cast()) }))
}

unsafe extern "C" fn set_context(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a tasklet's method.
    let (t, args) = unsafe { (Tasklet::from(o), args::positional(args, count)) };
    give(args::one_argument("set_context", args).and_then(|c| do_set_context(t, c)).map(|()| new_ref(o)))
}

fn do_set_context(t: TaskletRef, new: Obj) -> Res<()> {
    // SAFETY: a living object.
    if unsafe { PyContext_CheckExact(new) } == 0 {
        return Err(type_error("a contextvars.Context is required"));
    }
    let s = entry::current()?;
    let elsewhere = t.scheduler().is_some_and(|owner| !std::ptr::eq(owner, s));
    if elsewhere && (t.is_current() || t.linked()) {
        return Err(runtime_error("tasklet belongs to a different thread"));
    }
    if let Some((ts, of)) = fields(t) {
        // SAFETY: a context or null.
        if unsafe { cpython::context_entered(cpython::context(ts, of)) } {
            return Err(runtime_error("the current context of the tasklet has been entered"));
        }
    }
    put_context(t, new_ref(new));
    Ok(())
}

/// Calls in the tasklet's context, from the calling tasklet. (`Context.run` would mark it as
/// entered; here it is the calling tasklet's context during the call.)
unsafe extern "C" fn context_run(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a tasklet's method.
    unsafe {
        if args::at_least("context_run", 1, count as usize).is_err() {
            return null_mut();
        }
        let t = Tasklet::from(o);
        let Ok(s) = entry::current() else { return null_mut() };
        if t.scheduler().is_some_and(|owner| !std::ptr::eq(owner, s)) && t.is_current() {
            return give(Err(runtime_error("tasklet belongs to a different thread")));
        }
        let Ok(theirs) = context(t) else { return null_mut() };
        let mine = cpython::context(s.ts, Of::Running);
        if !mine.is_null() {
            new_ref(mine);
        }
        cpython::set_context(s.ts, Of::Running, new_ref(theirs));
        let result = PyObject_Vectorcall(*args, args.add(1), count as usize - 1, names);
        cpython::set_context(s.ts, Of::Running, mine);
        result
    }
}

// ---------------------------------------------------------------------- attributes that can be set

const TEMPVAL: usize = 0;
const BLOCK_TRAP: usize = 1;
const TRACE: usize = 2;
const PROFILE: usize = 3;
const DAEMON: usize = 4;
const NAME: usize = 5;

unsafe extern "C" fn get_writable(o: Obj, which: *mut c_void) -> Obj {
    // SAFETY: a getter of a tasklet.
    let t = unsafe { Tasklet::from(o) };
    match which as usize {
        TEMPVAL => some(t.tempval.get()).map_or_else(none, new_ref),
        BLOCK_TRAP => bool_obj(t.flags.get().block_trap),
        DAEMON => bool_obj(t.flags.get().daemon),
        NAME => give(name(t)),
        which => {
            let Some((ts, of)) = fields(t) else { return none() };
            // SAFETY: the fields are those of a started tasklet.
            let f = unsafe { cpython::trace_object(ts, of, which == PROFILE) };
            some(f).map_or_else(none, new_ref)
        }
    }
}

unsafe extern "C" fn set_writable(o: Obj, value: Obj, which: *mut c_void) -> c_int {
    // SAFETY: a setter of a tasklet.
    let t = unsafe { Tasklet::from(o) };
    if value.is_null() {
        let Raised = raise(Exc::Attribute, "the attribute cannot be deleted");
        return -1;
    }
    let done = match which as usize {
        TEMPVAL => {
            t.put(new_ref(value));
            Ok(())
        }
        BLOCK_TRAP => bool_arg(value, "block_trap must be set to a bool or integer")
            .map(|on| t.set_flags(|f| f.block_trap = on)),
        DAEMON => {
            bool_arg(value, "daemon must be set to a bool or integer").map(|on| scopes::set_daemon(t, on))
        }
        NAME => set_name(t, value),
        which => set_trace(t, value, which == PROFILE),
    };
    if done.is_ok() { 0 } else { -1 }
}

fn name(t: TaskletRef) -> Res<Obj> {
    let given = t.given_name();
    if given.is_null() { str_obj(&inspect::display_name(t)) } else { Ok(new_ref(given)) }
}

/// Sets the name of a tasklet; None takes it away.
fn set_name(t: TaskletRef, name: Obj) -> Res<()> {
    // SAFETY: a living object.
    if !is_none(name) && unsafe { PyUnicode_Check(name) } == 0 {
        return Err(type_error(&format!(
            "the name of a tasklet must be a str or None, not {}",
            type_name(name)
        )));
    }
    t.set_label(some(name).unwrap_or(null_mut()), t.origin()).map(drop_ref)
}

fn set_trace(t: TaskletRef, function: Obj, profile: bool) -> Res<()> {
    let s = entry::current()?;
    if !t.alive() {
        return if is_none(function) { Ok(()) } else { Err(runtime_error("tasklet is not alive")) };
    }
    if !t.started() {
        if is_none(function) {
            return Ok(());
        }
        stacks::prepare(t.scheduler().unwrap_or(s), t)?;
    }
    if t.is_current() && !std::ptr::eq(s.current(), t) {
        return Err(runtime_error("the tasklet is current in another thread"));
    }
    let Some((_, of)) = fields(t) else { return Err(runtime_error("tasklet is not alive")) };
    if !SETTING.get().is_null() {
        return Err(runtime_error("a trace function is being set"));
    }
    SETTING.set(t);
    let done = set_trace_of(s, of, function, profile);
    SETTING.set(std::ptr::null());
    done
}

fn set_flag(
    o: Obj,
    args: *const Obj,
    count: Py_ssize_t,
    name: &str,
    change: impl FnOnce(&mut tasklet::Flags, bool) -> bool,
) -> Obj {
    // SAFETY: a METH_FASTCALL call of a tasklet's method.
    let (t, args): (TaskletRef, &[Obj]) = unsafe { (Tasklet::from(o), args::positional(args, count)) };
    let on = args::one_argument(name, args)
        .and_then(|v| bool_arg(v, &format!("{name} needs exactly one bool or integer")));
    give(on.and_then(|on| {
        let mut old = false;
        t.set_flags(|f| old = change(f, on));
        interrupts::retry()?;
        Ok(bool_obj(old))
    }))
}

unsafe extern "C" fn set_atomic(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    set_flag(o, args, count, "set_atomic", |f, on| std::mem::replace(&mut f.atomic, on))
}

unsafe extern "C" fn set_ignore_nesting(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    set_flag(o, args, count, "set_ignore_nesting", |f, on| std::mem::replace(&mut f.ignore_nesting, on))
}

// ---------------------------------------------------------------------- tables

unsafe extern "C" fn get(o: Obj, which: *mut c_void) -> Obj {
    // SAFETY: a getter of a tasklet.
    READ_ONLY[which as usize].2(unsafe { Tasklet::from(o) })
}

pub fn getters() -> Vec<PyGetSetDef> {
    let mut all: Vec<_> =
        READ_ONLY.iter().enumerate().map(|(i, (name, doc, _))| types::getter(name, doc, get, i)).collect();
    let writable = [
        ("tempval", "What the pending switch call of this tasklet will return.", TEMPVAL),
        ("block_trap", "bool: waiting in a channel raises RuntimeError instead.", BLOCK_TRAP),
        ("daemon", "bool: does not keep run() waiting while it sleeps or waits for a worker thread.", DAEMON),
        ("name", "str: shown wherever the tasklet is; by default the name of its function.", NAME),
        ("trace_function", "The tasklet's own sys.settrace() function, or None.", TRACE),
        ("profile_function", "The tasklet's own sys.setprofile() function, or None.", PROFILE),
    ];
    all.extend(
        writable.map(|(name, doc, which)| types::property(name, doc, get_writable, set_writable, which)),
    );
    all
}

pub fn methods() -> Vec<PyMethodDef> {
    vec![
        types::method(
            "set_atomic",
            "set_atomic($self, flag, /)\n--\n\nForbid or allow that this tasklet is interrupted; return the old value.\n\n\
             Raises TypeError unless flag is a bool or int.",
            set_atomic,
        ),
        types::method(
            "set_ignore_nesting",
            "set_ignore_nesting($self, flag, /)\n--\n\nAllow interruption inside C calls; return the old value.\n\n\
             Raises TypeError unless flag is a bool or int.",
            set_ignore_nesting,
        ),
        types::method(
            "set_context",
            "set_context($self, context, /)\n--\n\nLet this tasklet run in a contextvars.Context; return self.\n\n\
             Raises TypeError for anything else, RuntimeError if the tasklet is inside Context.run() or\n\
             runnable in another thread.",
            set_context,
        ),
        types::method_keywords(
            "context_run",
            "context_run($self, func, /, *args, **kwargs)\n--\n\nCall func in this tasklet's context, from the calling tasklet; return its result.",
            context_run,
        ),
    ]
}
