//! The end of a thread: its tasklets are killed, and what is left of them belongs to no thread.

use crate::engine::{nesting, outcome, run_limits, schedule, throw};
use crate::model::allocation;
use crate::model::settings::exited;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::{each_tasklet_of, object, world};
use crate::parking::park;
use crate::python::objects::*;
use crate::python::types;
use crate::scheduler::entry::{GUARD, Guard};
use crate::scheduler::hooks;
use crate::scheduler::{alts, limits, readiness, scopes, waits};
use pyo3_ffi::*;
use stackless_core::ThreadId;
use stackless_cpython::{self as cpython, Pending};
use std::ffi::c_void;
use std::ptr::null_mut;

unsafe extern "C" fn guard_dealloc(o: Obj) {
    // SAFETY: the last reference to a guard is gone.
    unsafe {
        let sched = (*o.cast::<Guard>()).sched.get();
        if let Some(s) = world(|w| w.threads().find(|s| std::ptr::eq(*s, sched))) {
            saving_exception(|| end(s));
        }
        types::free(o);
    }
}

/// A thread has ended: kills its tasklets; the remaining ones belong to no thread afterwards.
pub fn end(s: &'static Sched) {
    // After a fork, the child destroys the states of threads that exist in the parent only.
    let mine = std::ptr::eq(s.ts, cpython::thread_state());
    let old_main = s.main();
    if mine && cpython::word().is_null() {
        s.enter_thread();
    }
    if mine && !exited() {
        if let Ok(main) = allocation::allocate_plain(s.id()) {
            new_ref(main.obj());
            world(|w| w.replace_main(s.id(), main.id()));
            main.seat.set(old_main.seat.replace(null_mut()));
            s.main.set(main);
            s.current.set(main);
            if let Some(recorder) = hooks::recorder() {
                recorder.gone(old_main);
            }
            drop_ref(old_main.obj()); // the ring's
            orphan(old_main);
            stop_soft_ones(s);
            kill_all(s, park::is_soft);
            drop_ref(old_main.obj());
        } else {
            write_unraisable(null_mut());
        }
    }
    run_limits::end_limit(s);
    drop_ref(s.run_limit.take_shown());
    let own: Vec<TaskletRef> = world(|w| w.tasklets_of(s.id())).into_iter().map(object).collect();
    let owned: Vec<Obj> = own.iter().filter(|t| t.is_owned()).map(|t| new_ref(t.obj())).collect();
    // Their waits and limits end. They still belong to the thread.
    for t in &own {
        alts::leave_call(t);
        waits::ends(t);
        limits::end_all(t);
        scopes::end_all(t);
    }
    let main = s.main();
    // The state of the tasklet that ran last is in the thread state, not in its seat.
    s.current().seat.set(null_mut());
    main.seat.set(null_mut());
    for t in world(|w| w.tasklets_of(s.id())).into_iter().map(object) {
        if t.started() && (!park::is_soft(t) || park::park(t).is_err()) {
            t.seat().last_level.set(nesting::nesting(t).min(u16::MAX.into()) as u16);
            t.set_flags(|f| f.zombie = true);
            // SAFETY: it is suspended; the thread state is being taken apart, and still there.
            unsafe { cpython::outlive(s.ts, t.seat().state()) };
        }
        outcome::ended(s, t);
        if !world(|w| w.in_ring(t.id())) {
            orphan(t); // those in the ring lose their thread when the ring goes
        }
    }
    let in_ring = world(|w| w.forget_thread(s.id()));
    if let Some(recorder) = hooks::recorder() {
        recorder.thread_ended(s);
    }
    if mine {
        // SAFETY: the thread's own state; it has no tasklets any more.
        unsafe { cpython::end_thread(s.ts) };
    }
    in_ring.into_iter().for_each(|t| drop_ref(object(t).obj()));
    owned.into_iter().for_each(drop_ref);
    s.drop_deferred();
    drop_ref(main.obj());
    if mine {
        readiness::end(s);
        // SAFETY: nothing refers to the scheduler any more: its tasklets were orphaned, and the world has
        // forgotten it. Of a thread that a fork left behind, the lock may be in any state: it is leaked.
        unsafe {
            drop(Box::from_raw(s.main_seat.get()));
            drop(Box::from_raw(std::ptr::from_ref(s).cast_mut()));
        }
    }
}

/// Takes a tasklet that is in no ring from its thread.
fn orphan(t: TaskletRef) {
    world(|w| w.set_thread(t.id(), ThreadId::NONE));
}

/// Ends this thread's tasklets with TaskletExit. Those that have not begun will not begin any more; those in no ring
/// for which `left` is true stay as they are. The caller is the thread's main tasklet. The tasklets may need several
/// turns for their cleaning up, and may wait: one that waits is killed again a few times, one that still runs after
/// a hundred turns too. After a thousand turns, the remaining ones stay.
pub fn kill_all(s: &'static Sched, left: fn(TaskletRef) -> bool) {
    for turn in 0..1000 {
        let mut started = 0;
        each_tasklet_of(s, |t| {
            let in_ring = world(|w| w.in_ring(t.id()));
            if t.started() && !in_ring && left(t) {
                return;
            }
            if t.started() {
                started += 1;
                if turn % 100 == 0 || (turn < 10 && !in_ring) {
                    throw::kill_later(t);
                }
            } else if in_ring {
                world(|w| w.unlink(t.id()));
                if let Some(recorder) = hooks::recorder() {
                    recorder.unlinked(t);
                }
                drop_ref(t.obj());
            }
        });
        if started == 0 {
            return;
        }
        match schedule::do_schedule(null_mut(), Pending::NONE) {
            Ok(me) => drop_ref(me),
            Err(Raised) => {
                write_unraisable(null_mut());
                if cpython::enter().1 {
                    return; // nothing can switch here
                }
            }
        }
    }
}

/// Takes those of this thread's tasklets that have no C state out of the ring: no code of them runs any more.
fn stop_soft_ones(s: &'static Sched) {
    each_tasklet_of(s, |t| {
        if t.started() && world(|w| w.in_ring(t.id())) && !t.has_bomb() && !t.is_current() && park::is_soft(t)
        {
            world(|w| w.unlink(t.id()));
            if let Some(recorder) = hooks::recorder() {
                recorder.unlinked(t);
            }
            drop_ref(t.obj());
        }
    });
}

/// Makes the guard's type, which the program does not see.
pub fn ready(module: Obj) -> Res<()> {
    let slots = types::Slots::new().slot(Py_tp_dealloc, guard_dealloc as destructor as *mut c_void);
    types::add(module, &GUARD, c"stackless._ThreadGuard", size_of::<Guard>(), 0, slots)
}
