//! Parking: a suspended tasklet that needs no C stack, kept as its frames alone.
//!
//! `crates/cpython/src/park.c` has the picture. A parked tasklet keeps a [`Seat`] of exactly its size,
//! on the heap instead of in a slot; whoever wants to continue it [`wake`]s it first, which is part of
//! [`crate::kernel::prepare`]. Whether a tasklet is parked cannot be told from outside: it is done when
//! it is pickled or moves to another thread, when too many stacks are in use ([`make_room`]), when it has
//! waited long and its thread has time ([`park_idle`]), and when it ends without running any more
//! ([`take_frames`]).

use crate::describe::text_of;
use crate::kernel::{Seat, world};
use crate::memory;
use crate::py::*;
use crate::tasklet::T;
use crate::thread::{self, Sched};
use crate::{args, module, types, waits};
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, CallLayout, Does, Evaluator, RefusalKind, Unparked};
use stackless_reactor::coarse;
use stackless_stack::Slot;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What a pending call of a primitive returns when its tasklet goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum After {
    /// The tempval.
    Value,
    /// None, whatever the tempval is.
    Nothing,
}

/// Why a tasklet cannot be parked.
pub enum Obstacle {
    Because(&'static str),
    /// In this code.
    At(cpython::Refusal),
    /// No memory.
    Memory,
}

impl Obstacle {
    /// The reason in words. May run Python code.
    pub fn text(&self) -> String {
        match self {
            Self::Because(text) => (*text).into(),
            Self::At(obstacle) => words(obstacle),
            Self::Memory => "no memory to park a tasklet".into(),
        }
    }

    /// What can be done about it.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Because(text) if *text == NO_PYTHON => "give it a Python function that calls this one",
            Self::Because(_) => "let it wait where only Python functions are being called, and not by C code",
            Self::At(obstacle) => remedy(obstacle),
            Self::Memory => "free memory",
        }
    }

    /// The exception for whoever needs it parked.
    pub fn raise(self) -> Raised {
        match self {
            Self::Memory => raise(Exc::Memory, &self.text()),
            _ => runtime_error(&format!("tasklet has C state on its stack: {}", self.text())),
        }
    }
}

const NO_PYTHON: &str = "its function is not a Python function but C code";

/// It was given a stack, and nothing has run on it.
pub fn has_not_begun(t: T) -> bool {
    t.started() && t.seat().slot.is_some() && !t.seat().woken.get() && !t.seat().begun.get()
}

/// For the collector: visits what the frames of a suspended tasklet hold.
///
/// # Safety
/// A garbage collection is under way.
pub unsafe fn traverse(t: T, visit: visitproc, arg: *mut c_void) -> c_int {
    let seat = t.seat();
    let result = types::visit_all(seat.call.each_ref().map(std::cell::Cell::get), visit, arg);
    if result != 0 {
        return result;
    }
    // SAFETY: a suspended tasklet; one that can be parked waits in the call that its seat knows.
    unsafe {
        let top = if seat.parked() || (seat.woken.get() && !seat.begun.get()) {
            cpython::parked_values(seat.state())
        } else {
            look(t).ok().flatten().map_or(-1, |found| found.values)
        };
        cpython::traverse(seat.state(), top, visit, arg)
    }
}

fn because<R>(text: &'static str) -> Result<R, Obstacle> {
    Err(Obstacle::Because(text))
}

/// Is it parked?
pub fn is_parked(t: T) -> bool {
    t.started() && t.seat().parked()
}

/// Does it need a C stack when it goes on? If so, why.
pub fn can_park(t: T) -> Result<(), Obstacle> {
    look(t).map(drop)
}

/// The same. What it waits in, if it has a C stack that it can do without.
fn look(t: T) -> Result<Option<CallLayout>, Obstacle> {
    if !t.started() {
        return Ok(None);
    }
    if t.is_main() {
        return because("the main tasklet of a thread stays on the thread's own stack");
    }
    if t.is_current() {
        return because("it is running");
    }
    if world(|w| w.in_ring(t.tid())) && crate::thread::enter_begun().is_some_and(|here| here.refused()) {
        return because("a callback is running, and a switch to it may be under way");
    }
    if crate::attributes::is_being_traced(t) {
        return because("its trace function is being set");
    }
    if world(|w| w.is_watchdog(t.tid())) {
        return because("it waits in stackless.run() for the tasklets that it runs");
    }
    let seat = t.seat();
    if seat.parked() || !seat.begun.get() {
        return Ok(None);
    }
    let Some(s) = t.scheduler() else {
        return because("its thread has ended, and it had C state");
    };
    if thread::is_stranded(t) {
        return because("the interpreter exits, and its thread may not run any more");
    }
    // SAFETY: a living thread's, of this interpreter.
    if let Some(text) = unsafe { why_never(s.ts) } {
        return because(text);
    }
    if seat.calls_back() {
        return because("a destructor or a callback runs in it that stackless has called");
    }
    if !seat.evaluating() {
        return because(if seat.python.get() {
            "C code runs in it below its Python functions"
        } else {
            NO_PYTHON
        });
    }
    // SAFETY: a suspended tasklet on its stack, whose seat knows the pending call.
    unsafe { cpython::can_park(seat.state(), &seat.pending.get()) }.map(Some).map_err(Obstacle::At)
}

/// Why no tasklet can be parked at the moment.
///
/// # Safety
/// A living thread's state.
unsafe fn why_never(ts: *mut PyThreadState) -> Option<&'static str> {
    // SAFETY: the caller's.
    match unsafe { cpython::evaluator(ts) } {
        Evaluator::Interpreter => crate::self_test::why_not(),
        Evaluator::Compiler => Some("the interpreter compiles code (its JIT is on)"),
        Evaluator::Other => Some("somebody else evaluates frames (PEP 523)"),
    }
}

/// The qualified name of a code object.
fn code_name(code: Obj) -> String {
    // SAFETY: a code object.
    let (name, _) = unsafe { cpython::code_names(code) };
    text_of(name).unwrap_or_default()
}

fn words(o: &cpython::Refusal) -> String {
    let place = || {
        if o.code.is_null() {
            return String::new();
        }
        // SAFETY: a code object.
        let (_, file) = unsafe { cpython::code_names(o.code) };
        let file = text_of(file).unwrap_or_default();
        // SAFETY: a code object.
        let line = unsafe { cpython::line_of(o.code, o.at) };
        format!("{}() ({file}:{line})", code_name(o.code))
    };
    let place = place();
    let callee = (!o.callee.is_null()).then(|| callable_name(o.callee));
    match o.kind {
        RefusalKind::None | RefusalKind::InC => {
            "C code runs in it that is not a call of a Python function".into()
        }
        RefusalKind::Tracing => format!("{place} was left by a trace or profile function that waits"),
        RefusalKind::Interrupted => {
            format!("{place} was interrupted by a limit of run(), between two instructions")
        }
        RefusalKind::Clearing => {
            format!("{place} runs while the variables of a call that has ended are dropped")
        }
        RefusalKind::NotACall => match callee {
            Some(callee) if o.what == Does::CallStarred => {
                format!("{place} waits in {callee}, which it called with * or **")
            }
            Some(callee) => format!("{place} waits inside {callee}, which is C code that cannot be left"),
            None => format!("{place} does not wait in a plain call of a function of stackless"),
        },
        RefusalKind::CBetween => between(&place, o, callee),
    }
}

/// Some Python function was called by C code that ran for this instruction.
fn between(place: &str, o: &cpython::Refusal, callee: Option<String>) -> String {
    let called = code_name(o.called);
    match (o.what, callee) {
        (Does::Call, Some(callee)) => format!("{place} called {callee}, C code that called back into Python"),
        (Does::CallStarred, Some(callee)) => {
            format!("{place} called {callee} with * or **, which C code does, and that called {called}()")
        }
        (Does::Call | Does::CallStarred, None) => format!("{place} called {called}() through C code"),
        (what, _) => {
            let for_what = match what {
                Does::Attribute => "for an attribute",
                Does::Item => "for [...]",
                Does::Operator => "for an operator",
                Does::Loop => "for a loop",
                Does::Enter => "on entering a with block",
                Does::Exit => "on leaving a with block with an exception",
                _ => return format!("{place} ran {called}() through C code that called back into Python"),
            };
            format!("{place} ran {called}() {for_what}, through C code that called back into Python")
        }
    }
}

/// What can be done about it.
fn remedy(o: &cpython::Refusal) -> &'static str {
    match (o.kind, o.what) {
        (RefusalKind::Interrupted, _) => {
            "let it go on until it waits in a call: insert it, and run() without a limit"
        }
        (RefusalKind::Tracing, _) => "do not wait in a trace or profile function",
        (RefusalKind::Clearing, _) => "do not wait in a destructor or a callback of a weak reference",
        (RefusalKind::NotACall | RefusalKind::CBetween, Does::CallStarred) => {
            "call it with its arguments one by one, without * and **; of a bound method \
             call the function (Class.method(object, ...)), which since Python 3.12 may have them"
        }
        (RefusalKind::CBetween, Does::Attribute) => "make a method of it, and call that",
        (RefusalKind::CBetween, Does::Item | Does::Operator) => "call a method instead",
        (RefusalKind::CBetween, Does::Loop) => {
            "iterate over a channel, or since Python 3.12 over a generator; or call a function in the loop"
        }
        (RefusalKind::CBetween, Does::Enter) => "wait before the with block, or inside it",
        (RefusalKind::CBetween, Does::Exit) => {
            "catch the exception inside the with block, or wait behind it, in a finally block"
        }
        (RefusalKind::CBetween, Does::Call)
            if o.callee.is_null() && code_name(o.called).ends_with("__exit__") =>
        {
            "wait inside the with block, or in a finally block in its place; Python 3.14 can leave __exit__"
        }
        (RefusalKind::CBetween, Does::Call) if code_name(o.called).ends_with("__init__") => {
            "wait in a method that is called when the object was made"
        }
        (RefusalKind::CBetween, Does::Call) if o.callee.is_null() => "call a method or function instead",
        _ => "let it wait where only Python functions are being called, and not by C code",
    }
}

/// `module.qualname` of a callable, or what its type is called.
fn callable_name(o: Obj) -> String {
    aside(|| {
        let attribute = |name: &std::ffi::CStr| {
            // SAFETY: a living object and a NUL-terminated name.
            let value = unsafe { PyObject_GetAttrString(o, name.as_ptr()) };
            if value.is_null() {
                // SAFETY: the GIL is held.
                unsafe { PyErr_Clear() };
                return None;
            }
            let text = text_of(value);
            drop_ref(value);
            text
        };
        match (attribute(c"__module__"), attribute(c"__qualname__")) {
            (Some(module), Some(name)) if module != "builtins" => format!("{module}.{name}"),
            (_, Some(name)) => name,
            _ => format!("a {}", type_name(o)),
        }
    })
}

/// Parks a suspended tasklet. What its C stack held is dropped by whoever runs next.
pub fn park(t: T) -> Result<(), Obstacle> {
    let found = look(t)?;
    if has_not_begun(t) {
        if let Some(s) = t.scheduler() {
            crate::kernel::unseat(s, t);
        }
        return if t.started() { because("it was given a trace function before it began") } else { Ok(()) };
    }
    if !t.started() || t.seat().parked() {
        return Ok(());
    }
    let seat = t.seat();
    let slot = seat.slot.expect("main tasklets are not parked");
    // SAFETY: it can be parked, as was just found out; nothing has run since. The new seat is of the
    // size that its state needs, or the one that it was woken from, if that is not much too large.
    unsafe {
        let size = cpython::parked_size(seat.state());
        let rest = seat.rest.replace(null_mut());
        let fits = |room: usize| (size..=2 * size).contains(&room);
        let mut new = rest;
        if rest.is_null() || !fits(cpython::parked_room((*rest).state())) {
            new = Seat::allocate(size);
        }
        if new.is_null() {
            seat.rest.set(rest);
            return Err(Obstacle::Memory);
        }
        cpython::park(seat.state(), found.as_ref(), (*new).state(), size);
        if !std::ptr::eq(new, rest) {
            Seat::free(rest);
        }
        // One that was woken, and has not gone on, knows already what its call returns.
        (*new).after.set(match found {
            Some(_) if seat.pending.get().gives_none() => After::Nothing as u8,
            Some(_) => After::Value as u8,
            None => seat.after.get(),
        });
        (*new).take(t);
        let s = t.scheduler().expect("as was just found out");
        for o in seat.call.iter().map(|cell| cell.replace(null_mut())).filter(|o| !o.is_null()) {
            s.drop_later(o);
        }
        seat.owner.set(std::ptr::null());
        s.stacks.borrow_mut().put(slot);
    }
    Ok(())
}

/// A parked tasklet gets a stack again.
#[cold]
pub fn wake(s: &'static Sched, t: T) -> Res<()> {
    let slot = crate::kernel::new_stack(s)?;
    // SAFETY: the slot is ours alone.
    let seat = unsafe { Seat::in_slot(slot) };
    wake_on(s, t, seat).inspect_err(|_| {
        // SAFETY: nothing has run on it.
        unsafe { s.stacks.borrow_mut().put(slot) }
    })
}

/// The same, on a seat that nobody sits on.
pub fn wake_on(s: &'static Sched, t: T, seat: &'static Seat) -> Res<()> {
    let old = t.seat.get();
    let slot: Slot = seat.slot.expect("main tasklets are not parked");
    let end = slot.top().wrapping_add(slot.room());
    // SAFETY: the slot's room reaches from its top to `end`; the old seat is a parked one.
    unsafe {
        match cpython::wake(s.ts, seat.state(), end, slot.size(), (*old).state()) {
            Unparked::NoMemory => {
                return Err(raise(Exc::Memory, "no memory for the frames of a parked tasklet"));
            }
            Unparked::Kept => seat.rest.set(old),
            Unparked::Moved => {}
        }
        seat.woken.set(true);
        seat.after.set((*old).after.get());
        seat.take(t);
        if seat.rest.get().is_null() {
            Seat::free(old);
        }
    }
    Ok(())
}

/// The running tasklet was woken: goes on with its frames. Did its function return? Else an exception
/// is set.
pub fn go_on(s: &'static Sched, value: Obj) -> bool {
    let seat = s.current().seat();
    let after = seat.after.get();
    let value = match crate::bomb::unpack(value) {
        Ok(value) if after == After::Nothing as u8 => {
            drop_ref(value);
            none()
        }
        Ok(value) => value,
        Err(Raised) => null_mut(),
    };
    seat.python.set(true);
    // SAFETY: the running tasklet's state, which was woken on this very stack.
    let result = unsafe { cpython::resume(s.ts, seat.state(), value, seat.evaluating.as_ptr()) };
    // SAFETY: no frame is left in it.
    unsafe { Seat::free(seat.rest.replace(null_mut())) };
    crate::join::returned(result);
    !result.is_null()
}

// ---------------------------------------------------------------------- without its finally blocks

/// May a tasklet that is not running disappear without running any more code of its own? As contract
/// 10 has it: it was not started with soft switching off, and no C code is in between.
pub fn is_soft(t: T) -> bool {
    !t.flags.get().hard && can_park(t).is_ok()
}

/// Takes the frames away from a soft tasklet that is in no list: it has ended then, and no code of it
/// runs. Null if it has none, or if there is no memory for that.
pub fn take_frames(t: T) -> *mut Seat {
    if has_not_begun(t)
        && let Some(s) = t.scheduler()
    {
        crate::kernel::unseat_traced(s, t);
    }
    if !t.started() || park(t).is_err() {
        return null_mut();
    }
    t.set_flags(|f| (f.hard, f.interrupt_pending, f.must_raise) = (false, 0, false));
    waits::abandon(t);
    t.seat.replace(null_mut())
}

/// Drops what these frames hold. May run any code.
pub fn drop_frames(frames: *mut Seat) {
    if !frames.is_null() {
        // SAFETY: a parked seat that nobody refers to any more; the calling thread's state.
        unsafe {
            cpython::drop_parked(cpython::thread_state(), (*frames).state());
            Seat::free(frames);
        }
    }
    if let Some(entered) = crate::thread::enter_begun() {
        entered.s.settle();
    }
}

// ---------------------------------------------------------------------- when stacks run out

/// From how many stacks in use in a thread on the longest waiting tasklets are parked.
static MOST: AtomicUsize = AtomicUsize::new(4096);

pub fn most_stacks() -> usize {
    MOST.load(Relaxed)
}

pub fn set_most_stacks(most: usize) {
    MOST.store(most, Relaxed);
}

/// A thread uses so many stacks, which are enough, and needs another: some of the tasklets that have
/// waited longest are parked, a quarter of the number or as many as can be.
#[cold]
pub fn make_room(s: &'static Sched, used: usize) {
    // Unless most of those that could not be parked have gone since then.
    let again = s.park_at.get();
    if used < again && used * 2 > again {
        return;
    }
    let wanted = (most_stacks() / 4).max(1);
    let parked = park_waiting(s, wanted);
    // Where nearly all are unparkable, looking again soon is of no use.
    s.park_at.set(if parked < wanted / 2 { used + used / 4 } else { 0 });
}

/// Parks the tasklets of a thread that have waited longest. How many were parked?
#[cold]
pub fn park_waiting(s: &'static Sched, wanted: usize) -> usize {
    let mut waiting = look_who_waits(s);
    waiting.sort_unstable_by_key(|(looks, _)| std::cmp::Reverse(*looks));
    park_some(waiting, wanted)
}

/// The seats with stacks whose tasklets wait; where memory is short, some of them. A seat counts the looks
/// that found its tasklet waiting since it ran last.
fn look_who_waits(s: &'static Sched) -> Vec<(u8, &'static Seat)> {
    let mut waiting: Vec<(u8, &'static Seat)> = Vec::new();
    for slot in s.stacks.borrow().slots() {
        // SAFETY: a slot begins with a seat, which has no owner if the slot is free, or was never used and
        // is all zero.
        let seat: &'static Seat = unsafe { &*slot.top().cast::<Seat>() };
        let Some(t) = seat.sitter() else { continue };
        if t.is_current() || world(|w| w.in_ring(t.tid())) {
            continue;
        }
        seat.looks.set(seat.looks.get().saturating_add(1));
        if memory::strictly(|| waiting.try_reserve(1)).is_err() {
            break;
        }
        waiting.push((seat.looks.get(), seat));
    }
    waiting
}

fn park_some(waiting: Vec<(u8, &'static Seat)>, wanted: usize) -> usize {
    let parked = waiting.iter().filter(|(_, seat)| seat.sitter().is_some_and(|t| park(t).is_ok()));
    parked.take(wanted).count()
}

// ---------------------------------------------------------------------- when there is time

/// After how many nanoseconds of waiting a thread that has nothing to do parks a tasklet; with the
/// largest number, never.
static AFTER: AtomicU64 = AtomicU64::new(1_000_000_000);

/// So many stacks are not worth it.
const FEW: usize = 64;
/// So many free ones are kept at least.
const WARM: usize = 8;
/// How many are parked, or given back, before somebody else may have a turn: a millisecond's work.
const SOME: usize = 1024;
/// Of a thread that sleeps on, after so many looks nobody is left who was not looked at before.
pub const LOOKS: u32 = 2;

pub fn idle_time() -> u64 {
    AFTER.load(Relaxed)
}

pub fn set_idle_time(nanoseconds: u64) {
    AFTER.store(nanoseconds, Relaxed);
}

/// A thread is about to sleep. Now and then it uses the time to park those who have waited since the
/// last look, and to give back the stacks that nobody needs. Was there anything to do? If not, that was
/// one of the `looks`.
pub fn park_idle(s: &'static Sched, looks: &mut u32) -> bool {
    if s.stacks.borrow().kept() <= FEW {
        return false;
    }
    let (now, after) = (coarse(), idle_time());
    if after == u64::MAX || now < s.park_next.get() {
        return false;
    }
    s.park_next.set(now.saturating_add(after));
    let mut waiting = look_who_waits(s);
    if waiting.len() <= FEW {
        waiting.clear();
    }
    waiting.retain(|(looks, _)| *looks > 1);
    let parked = park_some(waiting, SOME);
    let used = s.stacks.borrow().used();
    let given = s.stacks.borrow_mut().shrink(used.max(WARM), SOME);
    if parked + given == 0 {
        *looks -= 1;
    }
    parked + given > 0
}

// ---------------------------------------------------------------------- for the package

unsafe extern "C" fn park_function(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    let args = unsafe { args::positional(args, count) };
    give(tasklet_argument("_park", args).and_then(|t| {
        park(t).map_err(Obstacle::raise)?;
        crate::thread::current()?.settle();
        Ok(none())
    }))
}

unsafe extern "C" fn is_parked_function(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: as above.
    let args = unsafe { args::positional(args, count) };
    give(tasklet_argument("_is_parked", args).map(|t| bool_obj(is_parked(t))))
}

unsafe extern "C" fn why_not(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: as above.
    let args = unsafe { args::positional(args, count) };
    give(tasklet_argument("_why_not_parked", args).and_then(|t| match can_park(t) {
        Ok(()) if t.flags.get().hard => text_object("it was started with soft switching off"),
        Ok(()) => Ok(none()),
        Err(obstacle) => text_object(&obstacle.text()),
    }))
}

unsafe extern "C" fn how_to_park(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: as above.
    let args = unsafe { args::positional(args, count) };
    give(tasklet_argument("_how_to_park", args).and_then(|t| match can_park(t) {
        Ok(()) => Ok(none()),
        Err(obstacle) => text_object(obstacle.remedy()),
    }))
}

unsafe extern "C" fn why_never_function(_: Obj, _: Obj) -> Obj {
    // SAFETY: the calling thread's.
    let why = unsafe { why_never(cpython::thread_state()) };
    give(why.map_or_else(|| Ok(none()), text_object))
}

fn text_object(text: &str) -> Res<Obj> {
    // SAFETY: UTF-8 of that length.
    check(unsafe { PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as Py_ssize_t) })
}

fn tasklet_argument(name: &str, args: &[Obj]) -> Res<T> {
    let o = args::one_argument(name, args)?;
    // SAFETY: a living object.
    if unsafe { PyObject_TypeCheck(o, module::tasklet_type()) } == 0 {
        return Err(type_error(&format!("{name}() needs a tasklet, not {}", type_name(o))));
    }
    // SAFETY: a tasklet, as was just found out.
    Ok(unsafe { crate::tasklet::Tasklet::from(o) })
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method("_park", "Gives up the C stack of a suspended tasklet.", park_function),
        types::method("_is_parked", "Has this tasklet no C stack at the moment?", is_parked_function),
        types::method_noargs(
            "_why_never_parked",
            "Why no tasklet can be parked, or None.",
            why_never_function,
        ),
        types::method("_why_not_parked", "Why a tasklet cannot be parked, or None.", why_not),
        types::method("_how_to_park", "What can be done about that, or None.", how_to_park),
    ]
}
