//! The switch: how one tasklet stops and another goes on.
//!
//! Every started tasklet has a *seat*, at the place where its C stack and its data stack meet:
//!
//! ```text
//!   one slot of stackless-stack
//!   ┌───────┬────────────────────────────┬──────────┬───────────────────────────────────┐
//!   │ guard │              <── C stack   │ Seat     │ data stack (Python frames) ──>    │
//!   └───────┴────────────────────────────┴──────────┴───────────────────────────────────┘
//!                                        ^top        State ends in the root chunk
//!
//!   Tasklet object ──seat──> Seat { resume: where its C stack was left
//!                                   slot:   what to give back at the end
//!                                   state:  its share of the thread state }
//! ```
//!
//! A main tasklet runs on the thread's own stack; its seat lies on the heap and has no slot.
//!
//! There is no scheduler loop. A call that must wait decides who goes on ([`crate::thread::Sched`]
//! and the world's lists), swaps the thread state, and jumps:
//!
//! ```text
//!   tasklet A                        tasklet B
//!   ch.receive()                     (suspended inside a call of its own)
//!     plan: who goes on? B
//!     commit: A into the queue
//!     swap + switch ───────────────> returns from *its* switch
//!        ...                           resumed(): takes its tempval, drops what A left
//!                                      returns to its Python code
//! ```
//!
//! The order is always *plan, then commit*: everything that can fail (no stack for a fresh tasklet,
//! a switch that is not allowed here) is found out before anything has moved, so a failed call
//! leaves ring, queue and counters as they were.
//!
//! # References
//!
//! A tasklet that stands in a list (ring, queue, or the stack of watchdogs) is owned by it: one
//! reference for each list it is in. Moving from ring to queue hands the reference on. The
//! reference of a tasklet that leaves the ring for nowhere (paused or ended) is dropped by whoever
//! runs next, since it may be the last one: [`Sched::drop_later`].
//!
//! No Rust destructor, owned reference or borrow may be alive in a C frame across [`switch`]: it is
//! not unwound when a tasklet ends elsewhere.

use crate::bomb;
use crate::deadlock::{Wish, deadlock};
use crate::hooks;
use crate::memory;
use crate::park;
use crate::py::*;
use crate::recording;
use crate::tasklet::{T, Tasklet};
use crate::thread::{Entered, Sched};
use crate::waits::{self, Rest};
use pyo3_ffi::*;
use stackless_core::{TaskletId, Turn};
use stackless_cpython::{self as cpython, Pending, State};
use stackless_stack::{self as stack, Slot, StackError};
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;

pub type World = stackless_core::World<T, crate::channel::C>;

struct TheWorld(UnsafeCell<World>);

// SAFETY: only reached through `world`, with the GIL held.
unsafe impl Sync for TheWorld {}

static WORLD: TheWorld = TheWorld(UnsafeCell::new(World::new()));

/// The one access to everybody's lists. `f` must not run Python code and not come back here.
#[inline(always)]
pub fn world<R>(f: impl FnOnce(&mut World) -> R) -> R {
    // SAFETY: the GIL keeps other threads out, and the rule above this very one.
    f(unsafe { &mut *WORLD.0.get() })
}

#[repr(C, align(16))]
pub struct Seat {
    /// Null while the tasklet is parked.
    resume: Cell<*mut u8>,
    /// None on the heap.
    pub slot: Option<Slot>,
    /// The primitive in which it waits, if it was called from Python.
    pub pending: Cell<Pending>,
    /// So much code of the program is under way that a primitive of ours has called.
    called_back: Cell<u16>,
    /// What that returns: see [`park::After`].
    pub after: Cell<u8>,
    /// Is its function a Python function?
    pub python: Cell<bool>,
    /// Does nothing of ours but the call of its function lie below its frames?
    pub evaluating: Cell<u8>,
    /// Did it get this stack when it was woken?
    pub woken: Cell<bool>,
    /// Has any code run on this stack for it? Destructors of what others left come before its own.
    pub begun: Cell<bool>,
    /// How often it was found waiting: see [`park::make_room`].
    pub looks: Cell<u8>,
    /// The nesting level of one that stays when its thread ends.
    pub last_level: Cell<u16>,
    /// The seat without a stack that it was woken from, while frames lie there that have not gone on, or
    /// null.
    pub rest: Cell<*mut Seat>,
    /// Whose seat it is; null if nobody's.
    pub owner: Cell<*const Tasklet>,
    /// The callable and its arguments, while the call is under way.
    pub call: [Cell<Obj>; 3],
    /// Last: the data stack begins at its end.
    pub state: UnsafeCell<State>,
}

impl Seat {
    /// The seat of a main tasklet.
    pub fn of_main() -> Box<Self> {
        // SAFETY: null, None, false and zero are what the fields of a new seat are.
        unsafe { Box::new(std::mem::zeroed()) }
    }

    /// A new seat at the top of a slot.
    ///
    /// # Safety
    /// The slot is the caller's alone.
    pub unsafe fn in_slot(slot: Slot) -> &'static Self {
        // SAFETY: the caller's: the slot's top is aligned, and its room is larger than a seat.
        unsafe {
            let seat = slot.top().cast::<Self>();
            seat.cast::<u8>().write_bytes(0, std::mem::offset_of!(Self, state));
            (&raw mut (*seat).slot).write(Some(slot));
            (*seat).resume.set(stack::prepare(slot.top(), begin, seat.cast()));
            &*seat
        }
    }

    /// A new seat on the heap, whose state takes so many bytes; null without memory.
    pub fn allocate(size: usize) -> *mut Self {
        let before = std::mem::offset_of!(Self, state);
        // SAFETY: as above; only what is there is used of a parked tasklet's seat.
        unsafe {
            let seat = PyMem_RawMalloc(before + size).cast::<Self>();
            if !seat.is_null() {
                seat.cast::<u8>().write_bytes(0, before);
            }
            seat
        }
    }

    /// Frees what [`Self::allocate`] made, or does nothing for null.
    ///
    /// # Safety
    /// Nobody uses it any more.
    pub unsafe fn free(seat: *mut Self) {
        // SAFETY: the caller's.
        unsafe { PyMem_RawFree(seat.cast()) }
    }

    /// Has its tasklet no C stack?
    #[inline(always)]
    pub fn parked(&self) -> bool {
        self.resume.get().is_null() && self.slot.is_none() && !self.owner.get().is_null()
    }

    /// Runs code of the program from inside a primitive: a destructor, or a callback. Whatever primitive that
    /// code waits in, there is C code of ours below.
    pub fn call_back<R>(&self, f: impl FnOnce() -> R) -> R {
        self.called_back.set(self.called_back.get() + 1);
        let result = f();
        self.called_back.set(self.called_back.get() - 1);
        result
    }

    pub fn calls_back(&self) -> bool {
        self.called_back.get() != 0
    }

    pub fn evaluating(&self) -> bool {
        self.evaluating.get() != 0
    }

    /// Whose seat it is.
    pub fn sitter(&self) -> Option<T> {
        // SAFETY: a tasklet leaves its seat before it is destroyed.
        unsafe { self.owner.get().as_ref() }
    }

    /// Its tasklet's heir goes on with it.
    pub fn take_over(&self, t: T) {
        self.owner.set(t);
        t.seat.set(std::ptr::from_ref(self).cast_mut());
    }

    /// A tasklet sits down.
    pub fn take(&self, t: T) {
        self.looks.set(0);
        self.begun.set(false);
        self.pending.set(Pending::NONE);
        self.take_over(t);
    }

    #[inline(always)]
    pub fn state(&self) -> *mut State {
        self.state.get()
    }
}

impl Tasklet {
    #[inline(always)]
    pub fn seat(&self) -> &'static Seat {
        debug_assert!(self.started());
        // SAFETY: a started tasklet's seat lives until its end.
        unsafe { &*self.seat.get() }
    }
}

/// The object of a tasklet that the world names.
#[inline(always)]
pub fn object(t: TaskletId) -> T {
    world(|w| w.payload(t))
}

/// Sees to it that a tasklet can be switched to: gives a fresh or a parked one its stack.
#[inline(always)]
pub fn prepare(s: &'static Sched, t: T) -> Res<()> {
    if !t.started() {
        seat(s, t)
    } else if t.seat().resume.get().is_null() && t.seat().parked() {
        park::wake(s, t)
    } else {
        Ok(())
    }
}

fn seat(s: &'static Sched, t: T) -> Res<()> {
    let slot = new_stack(s)?;
    // SAFETY: the slot is ours alone now.
    take_seat(s, t, unsafe { Seat::in_slot(slot) });
    Ok(())
}

/// A stack from the pool. Where too many are in use, or there are no more, others are parked first.
pub fn new_stack(s: &'static Sched) -> Res<Slot> {
    let used = s.stacks.borrow().used();
    if used >= park::most_stacks() {
        park::make_room(s, used);
    }
    let at_hand = s.stacks.borrow_mut().at_hand();
    at_hand.map_or_else(|| far_stack(s), Ok)
}

#[cold]
fn far_stack(s: &'static Sched) -> Res<Slot> {
    let refill = || memory::strictly(|| s.stacks.borrow_mut().refill());
    refill().or_else(|error| {
        if park::park_waiting(s, 64) == 0 {
            return Err(no_stack(error));
        }
        let at_hand = s.stacks.borrow_mut().at_hand();
        at_hand.map_or_else(|| refill().map_err(no_stack), Ok)
    })
}

/// A tasklet that was given a stack, but has not begun, gives it back; not one that was given a trace
/// function, which is kept on the stack.
pub fn unseat(s: &'static Sched, t: T) {
    // SAFETY: a suspended tasklet's.
    if park::has_not_begun(t) && unsafe { !cpython::is_traced(t.seat().state()) } {
        unseat_traced(s, t);
    }
}

/// The same for any that has not begun. Its trace function is discarded; the next tasklet to run drops the reference.
pub fn unseat_traced(s: &'static Sched, t: T) {
    let seat = t.seat();
    // SAFETY: the seat is the tasklet's, and nothing has run on it.
    unsafe {
        let [context, functions @ ..] = cpython::unload(seat.state());
        t.context.set(context);
        t.seat.set(null_mut());
        seat.owner.set(null_mut());
        t.set_flags(|f| f.hard = false);
        s.stacks.borrow_mut().put(seat.slot.expect("main tasklets keep their seats"));
        functions.into_iter().filter(|o| !o.is_null()).for_each(|o| s.drop_later(o));
    }
}

/// A fresh tasklet takes a seat that nobody sits on.
fn take_seat(s: &'static Sched, t: T, seat: &'static Seat) {
    let slot = seat.slot.expect("main tasklets keep their seats");
    let end = slot.top().wrapping_add(slot.room());
    // SAFETY: the slot's room reaches from its top to `end`.
    unsafe { cpython::init(s.ts, seat.state(), end, slot.size(), t.context.replace(null_mut())) };
    seat.take(t);
    if !crate::module::soft_switching() {
        t.set_flags(|f| f.hard = true);
    }
}

#[cold]
fn no_stack(error: StackError) -> Raised {
    raise(Exc::Memory, &format!("no C stack for another tasklet: {error}"))
}

/// From how many tasklets in a ring on it pays to [`foresee`].
pub const MANY: u32 = 64;

/// With many tasklets in the ring, what the next ones need has left the processor's nearest cache:
/// asks for the object of the one after the next two, and for the seat and the stack of the one
/// after the next, on the guess that it was left at the same depth as the next. As many lines as one
/// that calls `schedule` in a loop touches: others would be in the way of these.
pub fn foresee(next: T) {
    let (second, third) = world(|w| {
        let second = w.right_neighbour(next.tid());
        (w.payload(second), w.right_neighbour_payload(second))
    });
    let object = std::ptr::from_ref(third).cast::<u8>();
    stack::prefetch::<1>(object);
    let (near, far) = (next.seat.get().cast::<u8>(), second.seat.get().cast::<u8>());
    if far.is_null() || near.is_null() {
        return;
    }
    let depth = near.addr().wrapping_sub(next.seat().resume.get().addr());
    stack::prefetch::<8>(far);
    stack::prefetch::<5>(far.wrapping_sub(depth));
}

/// Stops the running tasklet and continues `next`, which is prepared. The world's lists agree
/// already. Comes back when somebody continues the caller. A limit of `run()` may continue somebody
/// else than `next`.
///
/// # Safety
/// Nothing that needs dropping is alive in the callers' Rust frames.
#[inline(always)]
pub unsafe fn switch(s: &'static Sched, mut next: T, turn: Turn) {
    if hooks::watched() {
        next = prepared(s, hooks::before_switch(s, next, turn));
        if std::ptr::eq(next, s.current()) {
            return;
        }
    }
    debug_assert!(!raised(), "an exception of the tasklet that stops would be raised in the next one");
    let (from, to) = (s.current().seat(), next.seat());
    from.looks.set(0);
    s.set_current(next);
    // SAFETY: both seats are in use by living tasklets of this thread, `to` is suspended; no Python
    // code runs between the two steps.
    unsafe {
        cpython::swap(from.state(), to.state());
        stack::switch(from.resume.as_ptr(), to.resume.get());
    }
}

/// The one to switch to, where it is too late to give up: without a stack for it the running tasklet goes on
/// with the error.
#[cold]
fn prepared(s: &'static Sched, next: T) -> T {
    if prepare(s, next).is_ok() {
        return next;
    }
    let bomb = bomb::of_raised();
    crate::ending::deliver(s, s.current(), bomb);
    s.current()
}

/// After a switch came back: what the pending call returns. Bombs explode here.
#[inline(always)]
pub fn resumed(s: &'static Sched) -> Res<Obj> {
    let me = s.current();
    // From here on it is not the primitive that it waits in, if it is suspended again (in a destructor).
    me.seat().pending.set(Pending::NONE);
    let value = me.tempval.replace(null_mut());
    s.settle();
    bomb::unpack(value)
}

/// Switches and returns what the pending call returns.
///
/// # Safety
/// As [`switch`].
#[inline(always)]
pub unsafe fn switch_and_resume(s: &'static Sched, next: T) -> Res<Obj> {
    // SAFETY: the caller's. The scheduler is the same when we come back: tasklets do not change
    // threads while they have a stack.
    unsafe { switch(s, next, Turn::Over) };
    resumed(s)
}

/// The same for a transfer within a channel, whose partner goes on.
///
/// # Safety
/// As [`switch`].
#[inline(always)]
pub unsafe fn hand_over(s: &'static Sched, partner: T) -> Res<Obj> {
    // SAFETY: as above.
    unsafe { switch(s, partner, Turn::HandOver) };
    resumed(s)
}

/// The first code on every fresh C stack. It runs tasklets one after the other: when one ends and
/// the next has not begun yet, that one takes over the stack.
unsafe extern "C" fn begin(_seat: *mut u8) -> ! {
    let s = crate::thread::of_running_tasklet();
    loop {
        s.current().seat().begun.set(true);
        let value = s.current().tempval.replace(null_mut());
        s.settle(); // an heir may have taken over the stack
        let woken = s.current().seat().woken.replace(false);
        let returned = if woken { park::go_on(s, value) } else { run_body(s.current(), value) };
        s.current().seat().call.iter().for_each(clear);
        let next = crate::ending::end(s, returned);
        pass_on(s, next);
    }
}

/// Calls the tasklet's function, unless `value`, its tempval, is a bomb. Did it return? Else an
/// exception is set. Its seat owns the function and the arguments meanwhile, not this frame, which may
/// be given up.
fn run_body(t: T, value: Obj) -> bool {
    let seat = t.seat();
    seat.python.set(false);
    for (place, cell) in seat.call.iter().zip([&t.func, &t.args, &t.kwargs]) {
        place.set(cell.replace(null_mut()));
    }
    let [func, args, kwargs] = seat.call.each_ref().map(Cell::get);
    if cpython::traced_lately() && crate::attributes::trace_as_threads_are().is_err() {
        drop_ref(value);
        return false;
    }
    // A bomb that was thrown into it before it began goes off instead of the call.
    match bomb::unpack(value) {
        Err(Raised) => false,
        Ok(value) if func.is_null() || args.is_null() => {
            drop_ref(value); // a schedule callback killed it, or bound it anew, on its way here
            true
        }
        Ok(value) => {
            drop_ref(value);
            let result = call_body(seat, func, args, kwargs);
            crate::join::returned(result);
            !result.is_null()
        }
    }
}

/// Calls a callable with a tuple, and a dict or null.
fn call_body(seat: &Seat, func: Obj, args: Obj, kwargs: Obj) -> Obj {
    // SAFETY: living objects of these types.
    unsafe {
        if !kwargs.is_null() || PyFunction_Check(func) == 0 {
            return call_slowly(seat, func, args, kwargs);
        }
        seat.python.set(true);
        let items = &raw const (*args.cast::<PyTupleObject>()).ob_item;
        seat.evaluating.set(1);
        let result = PyObject_Vectorcall(func, items.cast(), PyTuple_GET_SIZE(args) as usize, null_mut());
        seat.evaluating.set(0);
        result
    }
}

unsafe extern "C" {
    // Exported by CPython, declared in its classobject.h. Both functions return borrowed references.
    pub static PyMethod_Type: PyTypeObject;
    pub fn PyMethod_Self(method: Obj) -> Obj;
    fn PyMethod_Function(method: Obj) -> Obj;
}

/// The same for methods, keyword arguments and C code. A Python function is called in such a way that
/// nothing is owned in between, with an argument vector that `seat.call` owns.
#[cold]
unsafe fn call_slowly(seat: &Seat, mut func: Obj, args: Obj, kwargs: Obj) -> Obj {
    // SAFETY: the caller's.
    unsafe {
        let mut me = null_mut();
        if std::ptr::eq(type_of(func), &raw const PyMethod_Type) {
            (me, func) = (PyMethod_Self(func), PyMethod_Function(func));
        }
        if PyFunction_Check(func) == 0 {
            let func = seat.call[0].get();
            let result = PyObject_Call(func, args, kwargs);
            if result.is_null() && !raised() {
                // Not every way through PyObject_Call checks that.
                let text = format!("{} returned NULL without setting an exception", type_name(func));
                let Raised = raise(Exc::System, &text);
            }
            return result;
        }
        // All values in one tuple, which the seat owns from here on: self, positional, by keyword.
        let given = PyTuple_GET_SIZE(args);
        let named = if kwargs.is_null() { 0 } else { PyDict_Size(kwargs) };
        let first = Py_ssize_t::from(!me.is_null());
        let all = PyTuple_New(first + given + named);
        let names = if named == 0 { null_mut() } else { PyTuple_New(named) };
        if all.is_null() || (names.is_null() && named != 0) {
            drop_ref(all);
            drop_ref(names);
            return null_mut();
        }
        if !me.is_null() {
            PyTuple_SET_ITEM(all, 0, new_ref(me));
        }
        for i in 0..given {
            PyTuple_SET_ITEM(all, first + i, new_ref(PyTuple_GET_ITEM(args, i)));
        }
        let mut texts = true;
        let (mut at, mut i, mut name, mut value) = (0, 0, null_mut(), null_mut());
        while named > 0 && PyDict_Next(kwargs, &mut at, &mut name, &mut value) != 0 {
            PyTuple_SET_ITEM(names, i, new_ref(name));
            texts &= PyUnicode_Check(name) != 0;
            PyTuple_SET_ITEM(all, first + given + i, new_ref(value));
            i += 1;
        }
        if !texts {
            drop_ref(all);
            drop_ref(names);
            let Raised = type_error("keywords must be strings");
            return null_mut();
        }
        seat.call[1].set(all);
        seat.call[2].set(names);
        drop_ref(args);
        drop_ref(kwargs);
        seat.python.set(true);
        let items = &raw const (*all.cast::<PyTupleObject>()).ob_item;
        seat.evaluating.set(1);
        let result = PyObject_Vectorcall(func, items.cast(), (first + given) as usize, names);
        seat.evaluating.set(0);
        result
    }
}

/// A parked tasklet goes on where another has ended. Without memory for that, the watcher goes on with a
/// MemoryError, and the parked one stays in the ring.
fn wake_here(s: &'static Sched, next: T, seat: &'static Seat) -> T {
    if park::wake_on(s, next, seat).is_ok() {
        return next;
    }
    let watcher = object(world(|w| w.watcher(s.hid())));
    let bomb = bomb::of_raised();
    crate::ending::deliver(s, watcher, bomb);
    watcher
}

/// The running tasklet has ended. If `next` has not begun, it takes over the stack and this
/// returns; else `next` continues where it was, and this never returns.
fn pass_on(s: &'static Sched, mut next: T) {
    let ended = s.current();
    let seat = ended.seat();
    if hooks::watched() {
        next = hooks::before_switch(s, next, Turn::Over);
        // What the callback may have left behind: a context, or a trace function.
        // SAFETY: the running tasklet's own state.
        s.amid_switch(next, || unsafe { cpython::finish(s.ts, seat.state()) });
    }
    ended.seat.set(null_mut());
    seat.owner.set(null_mut());
    ended.set_flags(|f| (f.ended, f.hard, f.interrupt_pending) = (false, false, 0));
    if !next.started() {
        take_seat(s, next, seat);
    } else if next.seat().parked() {
        next = wake_here(s, next, seat);
    }
    s.set_current(next);
    if std::ptr::eq(next.seat(), seat) {
        // SAFETY: the running code stays on its stack, and the state is new.
        unsafe { cpython::load(seat.state()) };
        return;
    }
    let slot = seat.slot.expect("main tasklets do not end here");
    let to = next.seat();
    let mut nowhere = null_mut();
    // SAFETY: `next` is suspended. We go on running on the slot that we give back until the switch,
    // which is the next thing that happens; nobody comes back to it.
    unsafe {
        s.stacks.borrow_mut().put(slot);
        cpython::load(to.state());
        stack::switch(&mut nowhere, to.resume.get());
    }
    unreachable!("nobody continues an ended tasklet");
}

/// The running tasklet is about to leave the ring. Who goes on?
#[derive(Clone, Copy)]
pub enum Next {
    /// This one. (It may not be in the ring yet: the `run()` caller that goes on when all is done.)
    Switch(T),
    /// Nobody of this thread; somebody in another thread may change that.
    Sleep,
}

/// Plans the departure of the running tasklet from the ring, for a queue or for good. The error is
/// the deadlock, which says that this `wish` cannot be granted.
#[inline(always)]
pub fn plan_departure(entered: Entered, wish: Wish) -> Res<Next> {
    let s = entered.s;
    let me = s.current();
    let neighbour = world(|w| w.right_neighbour_payload(me.tid()));
    if !std::ptr::eq(neighbour, me) {
        entered.may_switch()?;
        prepare(s, neighbour)?;
        return Ok(Next::Switch(neighbour));
    }
    let next = when_alone(s, me, wish)?;
    entered.may_switch()?;
    Ok(next)
}

#[cold]
fn when_alone(s: &'static Sched, me: T, wish: Wish) -> Res<Next> {
    match waits::rest(s, me) {
        Rest::Resume(watcher) => Ok(Next::Switch(watcher)),
        Rest::Sleep => Ok(Next::Sleep),
        // Making the error may collect garbage.
        Rest::Deadlock(_) => Err(me.seat().call_back(|| deadlock(s, wish))),
    }
}

/// Carries out a planned departure, after the running tasklet has left the ring, and returns what
/// its pending call returns.
///
/// # Safety
/// As [`switch`].
#[inline(always)]
pub unsafe fn depart(s: &'static Sched, next: Next) -> Res<Obj> {
    // SAFETY: the caller's.
    unsafe { leave(s, next) };
    resumed(s)
}

/// The same, but for [`resumed`].
///
/// # Safety
/// As [`switch`].
#[inline(always)]
pub unsafe fn leave(s: &'static Sched, next: Next) {
    match next {
        Next::Switch(t) => {
            if world(|w| !w.in_ring(t.tid())) {
                link(t);
            }
            // SAFETY: the caller's.
            unsafe { switch(s, t, Turn::Over) }
        }
        // SAFETY: the caller's.
        Next::Sleep => unsafe { leave_to_sleep(s) },
    }
}

/// The running tasklet waits, and nobody of this thread can run: the thread sleeps on its stack.
///
/// # Safety
/// As [`switch`].
#[cold]
unsafe fn leave_to_sleep(s: &'static Sched) {
    let me = s.current();
    // It may be in no list, and be dropped by a signal handler's doings.
    new_ref(me.obj());
    if s.sleep().is_err() {
        // Nobody can act any more (a deadlock), or a signal handler raised: the exception goes to
        // whoever watches, or stays here.
        let watcher = object(world(|w| w.watcher(s.hid())));
        let bomb = bomb::of_raised();
        crate::ending::deliver(s, watcher, bomb);
    }
    let next = s.runs_next().expect("the sleep has an end");
    s.drop_later(me.obj());
    // A fresh tasklet may have been put into the empty ring by another thread.
    let next = prepared(s, next);
    if !std::ptr::eq(next, me) {
        // SAFETY: the caller's.
        unsafe { switch(s, next, Turn::Over) }
    }
}

/// Appends a tasklet that stands in no list to its thread's ring, which then owns it, and wakes that
/// thread if it sleeps.
pub fn link(t: T) {
    new_ref(t.obj());
    adopt_link(t);
}

/// The same for one that was taken from a queue: the reference is handed on.
pub fn adopt_link(t: T) {
    waits::ends(t);
    if world(|w| w.link(t.tid())) {
        t.scheduler().expect("a linked tasklet has a scheduler").wake();
    }
    if hooks::watched() {
        recording::linked(t);
    }
}

/// Makes a tasklet runnable, wherever it waits: at the end of its thread's ring if it is not there.
pub fn make_runnable(t: T) {
    if t.blocked() {
        world(|w| w.dequeue(t.tid()));
        adopt_link(t);
    } else if !t.linked() {
        link(t);
    }
}

/// Puts a value, which is taken over, or null for None, where a tasklet will find it when it resumes.
/// What was there is dropped by whoever runs next, so that no Python code runs here.
#[inline(always)]
pub fn leave_value(s: &'static Sched, t: T, value: Obj) {
    let old = t.tempval.replace(value);
    if !old.is_null() {
        s.drop_later(old);
    }
}

/// The running tasklet leaves the ring for nowhere: whoever runs next drops the ring's reference.
pub fn unlink_running(s: &'static Sched) {
    let me = s.current();
    world(|w| w.unlink(me.tid()));
    s.drop_later(me.obj());
}
