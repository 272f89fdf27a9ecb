//! The methods of tasklets that make them run or stop: insert, remove, run, switch, throw, kill, bind_thread.

use crate::engine::switch::{resumed, switch_and_resume};
use crate::engine::throw;
use crate::model::settings::NESTED;
use crate::model::tasklet::{Tasklet, TaskletRef, is_being_traced};
use crate::model::world::world;
use crate::model::{bomb, world};
use crate::parking::park::{self, unseat};
use crate::parking::stacks::prepare;
use crate::python::args::arguments;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::hooks;
use crate::scheduler::ring::{link, unlink_running};
use crate::scheduler::{entry, scopes, waits};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;

/// Checks that the tasklet may be made runnable. `no_thread` is the error's text if its thread has ended.
#[inline(always)]
fn can_run(t: TaskletRef, no_thread: &str) -> Res<()> {
    if t.blocked() {
        return Err(runtime_error("You cannot run a blocked tasklet"));
    }
    if t.scheduler().is_none() {
        return Err(runtime_error(no_thread));
    }
    if !t.alive() {
        return Err(runtime_error("You cannot run an unbound(dead) tasklet"));
    }
    Ok(())
}

fn do_insert(t: TaskletRef) -> Res<()> {
    can_run(t, "Target thread isn't initialized")?;
    if !t.linked() {
        link(t);
    }
    Ok(())
}

fn do_remove(t: TaskletRef) -> Res<()> {
    if t.blocked() {
        return Err(runtime_error("You cannot remove a blocked tasklet."));
    }
    if t.scheduler().is_none() || !t.linked() {
        return Ok(());
    }
    if t.is_current() {
        return Err(runtime_error("The current tasklet cannot be removed."));
    }
    world(|w| w.unlink(t.id()));
    if let Some(recorder) = hooks::recorder() {
        recorder.unlinked(t);
    }
    drop_ref(t.obj());
    Ok(())
}

/// `t.bind_thread(id)`: a tasklet without a C stack moves to another thread.
fn do_bind_thread(t: TaskletRef, args: &[Obj]) -> Res<()> {
    args::at_most("bind_thread", 1, args.len())?;
    let mut id = -1;
    if let Some(given) = args.first() {
        // SAFETY: a living object; thread identities are unsigned, -1 means the calling thread.
        id = unsafe { PyLong_AsLongLong(*given) };
        if id == -1 && raised() {
            return Err(Raised);
        }
        if id < -1 {
            return Err(raise(Exc::Overflow, "a thread id cannot be negative"));
        }
    }
    let s = if id == -1 {
        entry::current()?
    } else {
        world::find_ident(id as u64).ok_or_else(|| raise(Exc::Value, "bad thread"))?
    };
    let owner = t.scheduler();
    if owner.is_some_and(|owner| std::ptr::eq(owner, s)) {
        return Ok(());
    }
    if world(|w| w.in_ring(t.id())) || owner.is_some_and(|owner| owner.goes_to(t)) {
        return Err(runtime_error("can't (re)bind a runnable tasklet"));
    }
    if is_being_traced(t) {
        return Err(runtime_error("can't (re)bind a tasklet whose trace function is being set"));
    }
    if waits::is_tied(t) {
        return Err(runtime_error(
            "can't (re)bind a tasklet that sleeps, waits for something outside or in alt(), or is inside `with timeout()` or another scope",
        ));
    }
    if let Some(owner) = owner {
        unseat(owner, t);
    }
    if t.started() {
        if !park::is_soft(t) {
            return Err(runtime_error("tasklet has C state on its stack"));
        }
        if let Err(obstacle) = park::park(t) {
            return Err(obstacle.raise());
        }
    }
    world(|w| w.set_thread(t.id(), s.id()));
    if let Some(owner) = owner.filter(|owner| owner.is_here()) {
        owner.drop_deferred();
    }
    Ok(())
}

/// `t.run()` and, if `leave` is true, `t.switch()`, in which the caller leaves the ring.
fn do_run(t: TaskletRef, leave: bool, call: Pending) -> Res<Obj> {
    // Before anything is checked: a thread's first use of tasklets may run the schedule callback.
    let entered = entry::enter_anywhere()?;
    can_run(t, "tasklet has no thread")?;
    entered.at_rest()?;
    let s = entered.s;
    let owner = t.scheduler().expect("checked by can_run");
    if !std::ptr::eq(s, owner) {
        if leave {
            return Err(runtime_error("can't switch to a different thread."));
        }
        if !t.linked() {
            new_ref(t.obj());
        } else if !t.is_current() {
            world(|w| w.unlink(t.id()));
        } else {
            return Ok(none());
        }
        waits::ends(t);
        let first = world(|w| {
            if !owner.is_asleep() {
                return w.link_next(t.id());
            }
            // The head of a sleeping thread's ring does not run yet.
            let first = w.link(t.id());
            w.run_now(t.id());
            first
        });
        if first {
            owner.wake();
        }
        if let Some(recorder) = hooks::recorder() {
            recorder.moved(t);
        }
        return Ok(none());
    }
    if t.is_current() {
        return resumed(s);
    }
    if leave {
        scopes::refuse(s.current())?;
    }
    entered.may_switch()?;
    prepare(s, t)?;
    if !t.linked() {
        link(t);
    } else if !leave && !NESTED.load(Relaxed) {
        // It gets the place directly before the caller, as if it had been paused: then the caller continues after it.
        world(|w| {
            w.unlink(t.id());
            w.link(t.id());
        });
        if let Some(recorder) = hooks::recorder() {
            recorder.moved(t);
        }
    }
    world(|w| w.run_now(t.id()));
    if leave {
        unlink_running(s);
    }
    s.current().seat().pending.set(call);
    // SAFETY: nothing is owned in this frame.
    unsafe { switch_and_resume(s, t) }
}

unsafe extern "C" fn insert(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a tasklet's method.
    let (t, args) = unsafe { (Tasklet::from(o), args::positional(args, count)) };
    give(args::no_arguments("insert", args).and_then(|()| do_insert(t)).map(|()| new_ref(o)))
}

unsafe extern "C" fn remove(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a tasklet's method.
    let (t, args) = unsafe { (Tasklet::from(o), args::positional(args, count)) };
    give(args::no_arguments("remove", args).and_then(|()| do_remove(t)).map(|()| new_ref(o)))
}

unsafe extern "C" fn bind_thread(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a tasklet's method.
    let (t, args) = unsafe { (Tasklet::from(o), args::positional(args, count)) };
    give(do_bind_thread(t, args).map(|()| none()))
}

unsafe extern "C" fn run(o: Obj, at: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a tasklet's method.
    let (t, args) = unsafe { (Tasklet::from(o), args::positional(at, count)) };
    if args::no_arguments("run", args).is_err() {
        return null_mut();
    }
    give(do_run(t, false, Pending::call(run as _, at, count)))
}

unsafe extern "C" fn switch(o: Obj, at: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a tasklet's method.
    let (t, args) = unsafe { (Tasklet::from(o), args::positional(at, count)) };
    if args::no_arguments("switch", args).is_err() {
        return null_mut();
    }
    give(do_run(t, true, Pending::call(switch as _, at, count)))
}

unsafe extern "C" fn throw(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a tasklet's method.
    let (t, given) = unsafe {
        (Tasklet::from(o), args::named("throw", ["exc", "val", "tb", "pending"], args, count, names))
    };
    let call = Pending::effect(throw as _, args, arguments(count, names));
    let thrown = given.and_then(|[exc, val, tb, pending]| {
        if exc.is_null() {
            return Err(type_error("throw() missing required argument 'exc' (pos 1)"));
        }
        let pending = is_true(pending)?;
        throw::throw(t, bomb::of_parts(exc, val, tb)?, pending, call)
    });
    give(thrown.map(|()| none()))
}

unsafe extern "C" fn raise_exception(o: Obj, at: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a tasklet's method.
    let (t, args) = unsafe { (Tasklet::from(o), args::positional(at, count)) };
    let thrown = args::at_least("raise_exception", 1, args.len()).and_then(|()| {
        if !is_exception_class(args[0]) {
            let text = "tasklet.raise_exception needs Exception or string subclass as first parameter";
            return Err(type_error(text));
        }
        throw::throw(
            t,
            bomb::of_class(args[0], &args[1..])?,
            false,
            Pending::effect(raise_exception as _, at, count),
        )
    });
    give(thrown.map(|()| none()))
}

unsafe extern "C" fn kill(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a tasklet's method.
    let (t, given) = unsafe { (Tasklet::from(o), args::named("kill", ["pending"], args, count, names)) };
    let call = Pending::effect(kill as _, args, arguments(count, names));
    let killed =
        given.and_then(|[pending]| is_true(pending)).and_then(|pending| throw::kill(t, pending, call));
    give(killed.map(|()| none()))
}

pub fn methods() -> Vec<PyMethodDef> {
    vec![
        types::method(
            "insert",
            "insert($self, /)\n--\n\nAppend to the run queue of the tasklet's thread, if it is not in it; return self.\n\n\
             Raises RuntimeError if the tasklet is blocked or has nothing to run. May be called from\n\
             any thread; wakes the tasklet's thread if it sleeps.",
            insert,
        ),
        types::method(
            "remove",
            "remove($self, /)\n--\n\nTake out of the run queue: the tasklet is paused then. Returns self.\n\n\
             Raises RuntimeError if the tasklet is blocked or current.",
            remove,
        ),
        types::method(
            "bind_thread",
            "bind_thread($self, thread_id=-1, /)\n--\n\nMove this tasklet to another thread; -1 is the calling one.\n\n\
             Raises RuntimeError if it is runnable or has C state on its stack, ValueError for a\n\
             thread that does not exist or has not used tasklets, OverflowError for other negative ids.",
            bind_thread,
        ),
        types::method(
            "run",
            "run($self, /)\n--\n\nRun this tasklet now; the others of the queue keep their order.\n\n\
             The caller continues when the queue comes round to it, after those to the right of this\n\
             tasklet. Returns the caller's tempval. Errors as for insert(). For a tasklet of another\n\
             thread: it is next in line there, and the call returns at once.",
            run,
        ),
        types::method(
            "switch",
            "switch($self, /)\n--\n\nRun this tasklet now and take the caller out of the run queue: it is paused.\n\n\
             Returns the caller's tempval when it is resumed. Raises RuntimeError as run(), and\n\
             for a tasklet of another thread.",
            switch,
        ),
        types::method_keywords(
            "throw",
            "throw($self, /, exc, val=None, tb=None, pending=False)\n--\n\nRaise an exception in this tasklet, at once or, if pending, when its turn comes.\n\n\
             exc is a class (val: an instance, arguments or None) or an instance (val: None). A blocked\n\
             tasklet leaves its channel. Raises TypeError for what cannot be raised, RuntimeError if\n\
             the tasklet is not alive, unless the exception is TaskletExit.",
            throw,
        ),
        types::method(
            "raise_exception",
            "raise_exception($self, exc_class, /, *args)\n--\n\nRaise exc_class(*args) in this tasklet, at once. Errors as for throw().",
            raise_exception,
        ),
        types::method_keywords(
            "kill",
            "kill($self, /, pending=False)\n--\n\nRaise TaskletExit in this tasklet, at once or, if pending, when its turn comes.\n\n\
             Nothing happens if it is not alive. One that was never started ends without running.",
            kill,
        ),
    ]
}
