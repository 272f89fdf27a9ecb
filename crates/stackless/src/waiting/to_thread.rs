//! `to_thread()`: calls that would block the thread, made by worker threads.
//!
//! A worker takes the GIL, and with it a thread state, for a job only; idle workers have neither, so that
//! they do not count as threads that could wake a tasklet. When the call has returned, the worker makes
//! the waiting tasklet runnable, as any other thread would. If the tasklet does not wait any more (its
//! time was over, it was killed), the call cannot be stopped: its result is dropped, an exception goes to
//! `sys.unraisablehook`. A call that has not begun by then is not made.

use crate::engine::departure::{depart, plan_departure};
use crate::engine::{departure, throw};
use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::model::thread::Sched;
use crate::model::wait::WaitKind;
use crate::model::{bomb, world};
use crate::python::objects::*;
use crate::python::{args, memory, types};
use crate::scheduler::ring::{make_runnable, unlink_running};
use crate::scheduler::{entry, ring, waits};
use pyo3_ffi::*;
use stackless_core::TaskletId;
use stackless_cpython::Pending;
use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{c_ulong, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A call. Its fields are accessed with the GIL held only; the references are owned.
pub struct Job {
    func: Obj,
    args: Obj,
    /// Null for no keyword arguments.
    kwargs: Obj,
    context: Obj,
    /// The tasklet that waits, whose wait names this job; null if it does not wait any more.
    waiter: Cell<*const Tasklet>,
}

/// The tasklet does not wait for its job any more.
fn abandon(_: TaskletId, kind: WaitKind) {
    if let WaitKind::Job { job, .. } = kind {
        // SAFETY: a job lives until the worker thread has reported to its wait.
        unsafe { (*job.cast::<Job>()).waiter.set(null()) };
    }
}

impl Job {
    fn free(self) {
        [self.func, self.args, self.kwargs, self.context].into_iter().for_each(drop_ref);
    }
}

#[derive(Default)]
struct Pool {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<JobPointer>,
    /// The number of workers that wait for a job, and of all workers.
    idle: usize,
    workers: usize,
    /// The number of workers that have taken a job, but not the GIL yet.
    beginning: usize,
    /// True once the interpreter exits: no job is begun any more.
    closed: bool,
}

struct JobPointer(*mut Job);

// SAFETY: worker threads access a job with the GIL held only.
unsafe impl Send for JobPointer {}

/// Never freed: workers may access it at any time.
static POOL: AtomicPtr<Pool> = AtomicPtr::new(null_mut());

/// The time after which an idle worker ends.
const IDLE: Duration = Duration::from_secs(10);

fn most_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).saturating_add(4).min(32)
}

/// The pool of this process. The GIL is held.
fn pool() -> &'static Pool {
    if POOL.load(Relaxed).is_null() {
        POOL.store(Box::into_raw(Box::default()), Relaxed);
    }
    // SAFETY: it is never freed.
    unsafe { &*POOL.load(Relaxed) }
}

impl Pool {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a job to the workers. If all are busy, one more is started.
    fn submit(&'static self, job: *mut Job) -> Res<()> {
        let mut queue = self.queue();
        if queue.closed {
            return Err(runtime_error("cannot call on a worker thread: the interpreter exits"));
        }
        if queue.jobs.len() >= queue.idle && queue.workers < most_workers() {
            // SAFETY: the pool outlives the thread.
            let ident =
                unsafe { PyThread_start_new_thread(work, std::ptr::from_ref(self).cast_mut().cast()) };
            if ident != c_ulong::MAX {
                queue.workers += 1;
            } else if queue.workers == 0 {
                return Err(runtime_error("cannot start a worker thread"));
            }
        }
        if memory::strictly(|| queue.jobs.try_reserve(1)).is_err() {
            return Err(memory::no_memory());
        }
        queue.jobs.push_back(JobPointer(job));
        self.more.notify_one();
        Ok(())
    }

    /// Called by a worker that has the GIL.
    fn begun(&self) {
        let mut queue = self.queue();
        queue.beginning -= 1;
        if queue.closed {
            self.more.notify_all();
        }
    }

    /// From now on no job is begun. Waits, without the GIL, for workers that are about to take the GIL: once the
    /// interpreter is being taken apart, they could not get it.
    fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        self.more.notify_all();
        while queue.beginning > 0 {
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Called by a worker: the next job; None if there was none for a long time.
    fn next(&self) -> Option<*mut Job> {
        let mut queue = self.queue();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(JobPointer(job)) = queue.jobs.pop_front() {
                queue.beginning += 1;
                return Some(job);
            }
            queue.idle += 1;
            let (guard, waited) = self.more.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
            queue = guard;
            queue.idle -= 1;
            if waited.timed_out() && queue.jobs.is_empty() {
                queue.workers -= 1;
                return None;
            }
        }
    }
}

unsafe extern "C" {
    // Exported by CPython, declared in its pythread.h: a thread without a thread state.
    fn PyThread_start_new_thread(work: unsafe extern "C" fn(*mut c_void), argument: *mut c_void) -> c_ulong;
}

/// What a worker runs. At exit, the interpreter ends it where it requests the GIL; no Rust value that
/// needs dropping is alive there.
unsafe extern "C" fn work(pool: *mut c_void) {
    // SAFETY: what `submit` gave.
    let pool: &'static Pool = unsafe { &*pool.cast() };
    while let Some(job) = pool.next() {
        // SAFETY: a thread without a thread state, which has one from here to the release.
        unsafe {
            let state = PyGILState_Ensure();
            pool.begun();
            perform(job);
            PyGILState_Release(state);
        }
    }
}

/// Makes the call and reports to the tasklet that waits for it.
///
/// # Safety
/// The GIL is held; the job came from the queue.
unsafe fn perform(job: *mut Job) {
    // SAFETY: the caller's; the job is freed at the end, after its wait has ended or was abandoned.
    unsafe {
        if !(*job).waiter.get().is_null() {
            let entered = PyContext_Enter((*job).context);
            let result =
                if entered < 0 { null_mut() } else { PyObject_Call((*job).func, (*job).args, (*job).kwargs) };
            saving_exception(|| {
                if entered == 0 && PyContext_Exit((*job).context) < 0 {
                    write_unraisable((*job).func);
                }
            });
            report(&*job, result);
        }
        Box::from_raw(job).free();
    }
}

fn report(job: &Job, result: Obj) {
    let waiter = job.waiter.get();
    if waiter.is_null() {
        if result.is_null() {
            write_unraisable(job.func);
        }
        return drop_ref(result);
    }
    // SAFETY: it waits, and its wait owns it.
    let t: TaskletRef = unsafe { &*waiter };
    let value = if result.is_null() { bomb::of_raised() } else { result };
    let old = t.tempval.replace(value);
    make_runnable(t);
    drop_ref(old);
}

unsafe extern "C" fn to_thread(_: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    if args::at_least("to_thread", 1, count as usize).is_err() {
        return null_mut();
    }
    let call = Pending::call(to_thread as _, args, args::arguments(count, names));
    // SAFETY: the arguments are those of a METH_FASTCALL | METH_KEYWORDS call.
    give(unsafe { new_job(args, count, names) }.and_then(|job| do_to_thread(job, call)))
}

/// # Safety
/// The arguments are those of a METH_FASTCALL | METH_KEYWORDS call, at least one of them positional.
unsafe fn new_job(args: *const Obj, count: Py_ssize_t, names: Obj) -> Res<*mut Job> {
    // SAFETY: the caller's.
    unsafe {
        memory::enough()?;
        let func = *args;
        if !is_callable(func) {
            return Err(type_error("to_thread() needs a callable"));
        }
        let (tuple, dict) = args::tuple_and_dict(args.add(1), count - 1, names)?;
        let context = PyContext_CopyCurrent();
        let job = Job { func: new_ref(func), args: tuple, kwargs: dict, context, waiter: Cell::new(null()) };
        let job = Box::new(job);
        if context.is_null() {
            saving_exception(|| job.free());
            return Err(Raised);
        }
        Ok(Box::into_raw(job))
    }
}

fn do_to_thread(job: *mut Job, call: Pending) -> Res<Obj> {
    match begin(job, call) {
        // SAFETY: nothing is owned in this frame: the job is the queue's.
        Ok((s, next)) => unsafe { depart(s, next) },
        Err(Raised) => {
            // SAFETY: it was not handed out.
            saving_exception(|| unsafe { Box::from_raw(job) }.free());
            Err(Raised)
        }
    }
}

fn begin(job: *mut Job, call: Pending) -> Res<(&'static Sched, departure::Departure)> {
    let entered = entry::enter()?;
    let s = entered.s;
    let me = s.current();
    throw::raise_pending(me)?;
    // SAFETY: the job lives; no worker knows it yet.
    let func = unsafe { (*job).func };
    waits::arm(s, me, WaitKind::Job { job: job.cast_const().cast(), func }, Some(abandon), None)?;
    // SAFETY: as above.
    unsafe { (*job).waiter.set(me) };
    match plan_departure(entered, None).and_then(|next| pool().submit(job).map(|()| next)) {
        Ok(next) => {
            me.seat().pending.set(call);
            unlink_running(s);
            Ok((s, next))
        }
        Err(Raised) => {
            waits::disarm(me);
            Err(Raised)
        }
    }
}

/// Called when the interpreter is about to exit.
pub fn close() {
    let pool = POOL.load(Relaxed);
    if pool.is_null() {
        return;
    }
    // SAFETY: it is never freed; the GIL is held before and after.
    unsafe {
        let ts = PyEval_SaveThread();
        (*pool).close();
        PyEval_RestoreThread(ts);
    }
}

/// In the child of a fork there are no worker threads.
pub fn after_fork() {
    POOL.store(null_mut(), Relaxed);
}

/// In the child of a fork the calls on worker threads have not returned, and never will: the tasklets of this
/// thread that wait for one get a RuntimeError.
pub fn fail_waiting(s: &'static Sched) {
    let wake = |t| {
        if waits::waits_for_job(t) {
            let Raised = runtime_error("the worker thread did not survive the fork");
            ring::wake(s, t, bomb::of_raised());
        }
    };
    world::each_tasklet_of(s, wake);
    wake(s.main());
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![types::method_keywords(
        "to_thread",
        "to_thread($module, func, /, *args, **kwargs)\n--\n\nReturn func(*args, **kwargs), called on a worker thread; only the calling tasklet waits.\n\n\
             What the call raises is raised here. It runs in a copy of the caller's context. A tasklet\n\
             that stops waiting (with stackless.timeout(), kill(), throw()) continues at once; a call that\n\
             has not begun is not made then, and of one that has, the result is dropped and an exception\n\
             goes to sys.unraisablehook. At most processors + 4, and at most 32, calls run at a time; the\n\
             others queue. At interpreter exit, calls are abandoned.\n\
             Raises TypeError if func is not callable, RuntimeError where nothing can switch, if no\n\
             thread can be started, or in the child if the process forks during the call.",
        to_thread,
    )]
}
