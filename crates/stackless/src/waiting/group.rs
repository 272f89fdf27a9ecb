//! The end of the block of a cancel scope or task group.
//!
//! The end of a group waits until its members have ended, whatever happens meanwhile: what the waiting tasklet gets
//! (it is killed, a signal handler raises, none of the members can continue) cancels the members, and is raised when
//! they have ended. Members that do not end by that are killed.
//!
//! This is one C function, so that no signal handler runs between the end of the block and the wait: its exception
//! would leave the members behind. What the wait has to keep is in the scope.

use crate::engine::{throw, transfer};
use crate::model::channel::Channel;
use crate::model::scope::ScopeRef;
use crate::model::tasklet::TaskletRef;
use crate::observe::origins;
use crate::python::objects::*;
use crate::scheduler::hooks;
use crate::scheduler::{entry, scopes, waits};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use std::ptr::null_mut;

unsafe extern "C" {
    // Exported by CPython, declared in its pyerrors.h.
    static PyExc_BaseExceptionGroup: Obj;
}

/// The number of exceptions in the wait from which on the members are killed, and after which the wait is given up.
const KILL_AFTER: u32 = 3;
const GIVE_UP_AFTER: u32 = 30;

/// The running tasklet enters the block.
pub fn enter(scope: ScopeRef) -> Res<()> {
    let s = entry::current()?;
    throw::raise_pending(s.current())?;
    if scope.flags.get().entered {
        return Err(runtime_error("a cancel scope can be entered only once"));
    }
    if scope.flags.get().group {
        // SAFETY: a type and no arguments; a new list. The references go into the cells.
        unsafe {
            let end = check(PyObject_CallNoArgs(crate::model::classes::CHANNEL.get().cast()))?;
            drop_ref(scope.end.replace(end));
            drop_ref(scope.errors.replace(check(PyList_New(0))?));
        }
    }
    crate::python::memory::enough()?;
    // Making these may have run Python code.
    if scope.flags.get().entered {
        return Err(runtime_error("a cancel scope can be entered only once"));
    }
    scopes::enter(s.current(), scope);
    Ok(())
}

/// The block ends, with this exception or null for none. Returns true if the exception goes no further.
pub fn leave(scope: ScopeRef, error: Obj) -> Res<bool> {
    let s = entry::current()?;
    if !scope.flags.get().entered {
        return Err(runtime_error("a cancel scope was left that was not entered"));
    }
    let me = s.current();
    if scope.owner().is_some_and(|owner| !std::ptr::eq(owner, me)) {
        scopes::leave(scope);
        scopes::cancel(scope);
        return Err(runtime_error(if scope.flags.get().group {
            "a task group must be left by the tasklet that entered it (its members were cancelled)"
        } else {
            "a cancel scope must be left by the tasklet that entered it"
        }));
    }
    let ours = !error.is_null()
        && scopes::scope_of_cancelled(type_of(error).cast(), error).is_some_and(|of| std::ptr::eq(of, scope));
    if !scope.flags.get().group {
        scopes::leave(scope);
        return leave_scope(scope, error, ours);
    }
    if !error.is_null() && !ours {
        note(scope, new_ref(error));
    }
    let waited = scope.owner().is_some() && wait_for_members(scope, me);
    scopes::leave(scope);
    leave_group(scope, error, ours, waited)
}

fn leave_scope(scope: ScopeRef, error: Obj, ours: bool) -> Res<bool> {
    let late = scope.flags.get().expired && ours;
    scope.set_flags(|f| f.expired = late);
    if late && scope.flags.get().fails {
        let seconds = scope.time.get() as f64 / 1e9;
        waits::raise_timeout(&format!("timed out after {seconds} s"), error);
        return Err(Raised);
    }
    Ok(ours)
}

/// Notes an exception of the owner, which is taken over, and cancels the members.
fn note(scope: ScopeRef, error: Obj) {
    let kind = type_of(error).cast();
    // SAFETY: exception classes.
    let (wrapped, fatal) = unsafe {
        let exit = is_subclass(kind, crate::model::classes::tasklet_exit());
        let fatal = is_subclass(kind, PyExc_KeyboardInterrupt) || is_subclass(kind, PyExc_SystemExit);
        (is_subclass(kind, PyExc_Exception), fatal && !exit)
    };
    if wrapped && scopes::has_failed_with(scope, error) {
        drop_ref(error); // `join()` has raised it in the block
    } else if wrapped || fatal {
        scopes::fail(scope, error);
    } else if scope.interruption.get().is_null() {
        scope.interruption.set(error);
    } else {
        drop_ref(error);
    }
    scopes::cancel(scope);
}

/// Waits until no member is left. Returns true if the tasklet has waited.
fn wait_for_members(scope: ScopeRef, me: TaskletRef) -> bool {
    if scope.count.get() == 0 {
        return false;
    }
    scopes::set_joining(scope, true);
    let mut exceptions = 0;
    while scope.count.get() > 0 && scope.is_owned_by(me) && exceptions < GIVE_UP_AFTER {
        // SAFETY: the scope has a channel since it was entered.
        let end = unsafe { Channel::from(scope.end.get()) };
        match transfer::await_end(end, None, Pending::NONE) {
            Ok(nothing) => drop_ref(nothing),
            Err(Raised) => {
                exceptions += 1;
                let [kind, value, traceback] = take_exception();
                if !traceback.is_null() {
                    // SAFETY: an exception and its traceback.
                    unsafe { PyException_SetTraceback(value, traceback) };
                }
                note(scope, value);
                [kind, traceback].into_iter().for_each(drop_ref);
                if exceptions >= KILL_AFTER {
                    kill_members(scope);
                }
            }
        }
    }
    true
}

/// Ends the members with TaskletExit; those that have not begun will not begin.
fn kill_members(scope: ScopeRef) {
    let mut left = scope.count.get();
    while let Some(t) = scope.first_member().filter(|_| left > 0) {
        left -= 1;
        new_ref(t.obj());
        if t.started() {
            throw::kill_later(t);
        } else {
            throw::end_unstarted_later(t);
        }
        scopes::move_to_end(scope, t);
        drop_ref(t.obj());
    }
}

fn leave_group(scope: ScopeRef, error: Obj, ours: bool, waited: bool) -> Res<bool> {
    let late = scope.flags.get().expired && ours;
    scope.set_flags(|f| f.expired = late);
    let fatal = scope.fatal.replace(null_mut());
    let interruption = scope.interruption.replace(null_mut());
    let errors = scope.errors.replace(null_mut());
    // SAFETY: a list or null.
    let failed = !errors.is_null() && unsafe { PyList_GET_SIZE(errors) } > 0;
    let group = if failed { error_group(errors) } else { null_mut() };
    drop_ref(errors);
    if failed && group.is_null() {
        drop_ref(fatal);
        drop_ref(interruption);
        return Err(Raised);
    }
    if scope.count.get() > 0 {
        [fatal, interruption, group].into_iter().for_each(drop_ref);
        return Err(runtime_error(
            "tasklets of a task group do not end, although they were killed many times",
        ));
    }
    let raised = [fatal, group, interruption].into_iter().find(|o| !o.is_null());
    let Some(raised) = raised.map(new_ref) else {
        let me = entry::current()?.current();
        let unfinished = error.is_null() && (waited || scope.flags.get().starved);
        if unfinished {
            scopes::refuse(me)?;
        }
        return Ok(ours);
    };
    if std::ptr::eq(raised, fatal) && !group.is_null() {
        // SAFETY: two exceptions; the reference is handed over.
        unsafe {
            let context = PyException_GetContext(raised);
            if context.is_null() {
                PyException_SetContext(raised, new_ref(group));
            }
            drop_ref(context);
        }
    }
    [fatal, interruption, group].into_iter().for_each(drop_ref);
    if std::ptr::eq(raised, error) {
        drop_ref(raised);
        return Ok(false);
    }
    // SAFETY: an exception with its traceback, or null.
    let traceback = unsafe { PyException_GetTraceback(raised) };
    Err(set_exception([new_ref(type_of(raised).cast()), raised, traceback]))
}

/// A new ExceptionGroup, or BaseExceptionGroup, of a list of exceptions; null if making it fails.
fn error_group(errors: Obj) -> Obj {
    // SAFETY: a class and its two arguments.
    unsafe {
        let group = PyObject_CallFunction(
            PyExc_BaseExceptionGroup,
            c"sO".as_ptr(),
            c"errors in a task group".as_ptr(),
            errors,
        );
        if !group.is_null() {
            // They are in the group: no traceback shows them again as its context.
            PyException_SetCause(group, null_mut());
        }
        group
    }
}

/// Starts a tasklet that was made for it in the group: it is runnable. The tasklet is bound.
pub fn start(scope: ScopeRef, t: TaskletRef) {
    scopes::add_member(scope, t);
    crate::scheduler::ring::link(t);
    if hooks::bindings_watched() {
        origins::bound(t);
    }
}
