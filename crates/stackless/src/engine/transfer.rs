//! Channels: send and receive, close, and what is built on them.
//!
//! An operation finds a partner in the channel's queue and *meets* it, or *waits* in the queue itself. The functions
//! on this path are inlined into the caller; those for observers ([`act_observed`], [`act_recorded`]) are not.

use crate::engine::departure::{Departure, depart, plan_departure};
use crate::engine::switch::{hand_over, switch_and_resume};
use crate::engine::throw;
use crate::model::bomb;
use crate::model::channel::ChannelRef;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::wait::WaitKind;
use crate::model::world::{object, world};
use crate::parking::stacks::prepare;
use crate::python::args;
use crate::python::objects::*;
use crate::scheduler::entry::Entered;
use crate::scheduler::ring::{adopt_link, leave_value};
use crate::scheduler::waits::{arm, disarm, raise_timed_out};
use crate::scheduler::{callbacks, entry, hooks, waits};
use pyo3_ffi::*;
use stackless_core::{Direction, Successor, TaskletId, WaitsTo};
use stackless_cpython::Pending;
use stackless_reactor::now;
use std::ptr::null_mut;

/// Sends `value`, which is taken over; null is None. Returns None. `time` is the maximum wait in nanoseconds,
/// None for no limit. `call` is the primitive that was called.
#[inline(always)]
pub fn send(ch: ChannelRef, value: Obj, time: Option<u64>, call: Pending) -> Res<Obj> {
    act(ch, Direction::Send, WaitsTo::Send, value, time, call)
}

#[inline(always)]
pub fn receive(ch: ChannelRef, time: Option<u64>, call: Pending) -> Res<Obj> {
    act(ch, Direction::Receive, WaitsTo::Receive, null_mut(), time, call)
}

/// Waits for the end of a tasklet in its channel, which only that tasklet owns: no code of the program runs before the
/// caller is in the queue, since it could end the tasklet. So the channel callback is not called.
pub fn await_end(ch: ChannelRef, time: Option<u64>, call: Pending) -> Res<Obj> {
    let entered = entry::enter()?;
    throw::raise_pending(entered.s.current())?;
    act_on::<true>(entered, ch, Direction::Receive, WaitsTo::Receive, null_mut(), time, call)
}

/// The next value of an iteration. The end of the iteration is `Err` without an exception set.
#[inline(always)]
pub fn iterate(ch: ChannelRef, call: Pending) -> Res<Obj> {
    if world(|w| w.closing(ch.id()) && w.balance(ch.id()) <= 0) {
        return Err(Raised);
    }
    act(ch, Direction::Receive, WaitsTo::Iterate, null_mut(), None, call)
}

#[inline(always)]
fn act(
    ch: ChannelRef,
    direction: Direction,
    waits: WaitsTo,
    value: Obj,
    time: Option<u64>,
    call: Pending,
) -> Res<Obj> {
    let entered = match entry::enter_anywhere() {
        Ok(entered) => entered,
        Err(raised) => {
            drop_ref(value);
            return Err(raised);
        }
    };
    if let Err(raised) = throw::raise_pending(entered.s.current()) {
        drop_ref(value);
        return Err(raised);
    }
    if hooks::channels_watched() {
        return act_observed(entered, ch, direction, waits, value, time, call);
    }
    act_on::<false>(entered, ch, direction, waits, value, time, call)
}

#[inline(always)]
fn act_on<const OBSERVED: bool>(
    entered: Entered,
    ch: ChannelRef,
    direction: Direction,
    waits: WaitsTo,
    value: Obj,
    time: Option<u64>,
    call: Pending,
) -> Res<Obj> {
    let done = match world(|w| w.partner(ch.id(), direction)) {
        Some(partner) => meet::<OBSERVED>(entered, ch, object(partner), direction, value, call),
        None => wait(entered, ch, waits, value, time, call),
    };
    match done {
        Ok(result) => result,
        Err(Raised) => {
            drop_ref(value);
            Err(Raised)
        }
    }
}

/// As [`act_on`], during a recording: what is sent is described first, which may run Python code.
#[inline(never)]
fn act_recorded(
    entered: Entered,
    ch: ChannelRef,
    direction: Direction,
    waits: WaitsTo,
    value: Obj,
    time: Option<u64>,
    call: Pending,
) -> Res<Obj> {
    if direction == Direction::Send {
        if let Some(recorder) = hooks::recorder() {
            recorder.describe_sent(entered.s, value);
        }
        if let Err(raised) = throw::raise_pending(entered.s.current()) {
            drop_ref(value);
            return Err(raised);
        }
    }
    act_on::<true>(entered, ch, direction, waits, value, time, call)
}

/// As [`act_on`], with a channel callback. It is called before a transfer within the thread, or a wait, so that it
/// sees the value in the tempval of the acting tasklet; and after a transfer to another thread.
#[cold]
fn act_observed(
    entered: Entered,
    ch: ChannelRef,
    direction: Direction,
    waits: WaitsTo,
    value: Obj,
    time: Option<u64>,
    call: Pending,
) -> Res<Obj> {
    let s = entered.s;
    if !callbacks::ON_CHANNEL.is_set() {
        return act_recorded(entered, ch, direction, waits, value, time, call);
    }
    if s.in_channel_callback.get() {
        drop_ref(value);
        return Err(runtime_error("Recursive channel call due to callbacks!"));
    }
    let partner = world(|w| w.partner(ch.id(), direction)).map(object);
    let elsewhere = partner.is_some_and(|t| !t.is_of(s));
    if !elsewhere {
        let seat = s.current().seat();
        seat.call_back(|| s.current().put(if value.is_null() { null_mut() } else { new_ref(value) }));
        let told = callbacks::announce_operation(s, ch, direction, partner.is_none());
        seat.call_back(|| s.current().put(null_mut())); // the current tasklet may be another object by now
        if told.is_err() {
            drop_ref(value);
            return Err(Raised);
        }
    }
    let result = act_recorded(entered, ch, direction, waits, value, time, call)?;
    if elsewhere && callbacks::announce_operation(s, ch, direction, false).is_err() {
        drop_ref(result);
        return Err(Raised);
    }
    Ok(result)
}

/// A partner waits in the queue. The outer error means that nothing happened.
#[inline(always)]
fn meet<const OBSERVED: bool>(
    entered: Entered,
    ch: ChannelRef,
    partner: TaskletRef,
    direction: Direction,
    value: Obj,
    call: Pending,
) -> Res<Res<Obj>> {
    let s = entered.s;
    let here = partner.is_of(s);
    let hand =
        if here && !s.is_asleep() { world(|w| w.successor(ch.id(), direction)) } else { Successor::Actor };
    let me = s.current();
    match hand {
        Successor::Actor => {
            let orphan = partner.scheduler().is_none();
            if orphan && direction == Direction::Send {
                return Err(runtime_error("tasklet has no thread"));
            }
            let mine = exchange::<OBSERVED>(s, ch, partner, direction, value);
            if orphan {
                s.drop_later(partner.obj()); // its value was sent, but it cannot go on: it is paused now
            } else {
                adopt_link(partner);
            }
            s.drop_deferred();
            Ok(bomb::unpack(mine))
        }
        Successor::Partner => {
            entered.may_switch()?;
            prepare(s, partner)?;
            let mine = exchange::<OBSERVED>(s, ch, partner, direction, value);
            leave_value(s, me, mine);
            me.seat().pending.set(call);
            world(|w| {
                w.link_next(partner.id());
                w.run_now(partner.id());
            });
            // SAFETY: nothing is owned in this frame any more.
            Ok(unsafe { hand_over(s, partner) })
        }
        Successor::Neighbour => {
            entered.may_switch()?;
            let neighbour: TaskletId = world(|w| w.right_neighbour(me.id()));
            let next = if neighbour == me.id() { partner } else { object(neighbour) };
            prepare(s, next)?;
            let mine = exchange::<OBSERVED>(s, ch, partner, direction, value);
            leave_value(s, me, mine);
            me.seat().pending.set(call);
            adopt_link(partner);
            world(|w| w.run_now(next.id()));
            // SAFETY: nothing is owned in this frame any more.
            Ok(unsafe { switch_and_resume(s, next) })
        }
    }
}

/// Takes the partner out of the queue and exchanges the values: it gets `value`, and the result is what it sent,
/// or null.
#[inline(always)]
fn exchange<const OBSERVED: bool>(
    s: &'static Sched,
    ch: ChannelRef,
    partner: TaskletRef,
    direction: Direction,
    value: Obj,
) -> Obj {
    world(|w| w.dequeue(partner.id()));
    waits::ends(partner);
    let theirs = partner.tempval.replace(value);
    if OBSERVED && let Some(recorder) = hooks::recorder() {
        recorder.transferred(s, ch, partner, direction, if theirs.is_null() { value } else { theirs });
    }
    if direction == Direction::Receive || theirs.is_null() {
        return theirs;
    }
    s.drop_later(theirs);
    null_mut()
}

/// No partner waits: the running tasklet does. The outer error means that nothing happened.
#[inline(always)]
fn wait(
    entered: Entered,
    ch: ChannelRef,
    waits: WaitsTo,
    value: Obj,
    time: Option<u64>,
    call: Pending,
) -> Res<Res<Obj>> {
    entered.at_rest()?;
    let s = entered.s;
    let me = s.current();
    if me.flags.get().block_trap {
        return Err(runtime_error("this tasklet does not like to be blocked."));
    }
    if world(|w| w.closing(ch.id())) {
        return Err(raise(Exc::Value, "Send/receive operation on a closed channel"));
    }
    let next = match time {
        None => plan_departure(entered, Some((ch, waits)))?,
        Some(time) => plan_departure_for(entered, time)?,
    };
    leave_value(s, me, value);
    me.seat().pending.set(call);
    world(|w| {
        w.unlink(me.id());
        w.enqueue(ch.id(), me.id(), waits);
    });
    // SAFETY: nothing is owned in this frame any more.
    Ok(unsafe { depart(s, next) })
}

/// Plans a wait that a timer ends.
#[cold]
fn plan_departure_for(entered: Entered, time: u64) -> Res<Departure> {
    if time == 0 {
        return Err(raise_timed_out());
    }
    let me = entered.s.current();
    arm(entered.s, me, WaitKind::Partner, None, Some(now().saturating_add(time)))?;
    let next = plan_departure(entered, None);
    if next.is_err() {
        disarm(me);
    }
    next
}

/// `close()`: no more tasklets are added to the queue, and waiting iterations end.
pub fn close(ch: ChannelRef) -> Res<()> {
    world(|w| w.close(ch.id()));
    if let Some(recorder) = hooks::recorder() {
        recorder.channel_changed(ch);
    }
    let mut dropped = Vec::new();
    while world(|w| w.first_iterating(ch.id())).is_some() {
        // Making the bomb may run Python code: look again which tasklet waits.
        // SAFETY: the exception type exists.
        let bomb = bomb::of_class(unsafe { PyExc_StopIteration }, &[])?;
        let Some(tid) = world(|w| w.first_iterating(ch.id())) else {
            drop_ref(bomb);
            break;
        };
        let t = object(tid);
        world(|w| w.dequeue(tid));
        if t.scheduler().is_some() {
            dropped.push(t.tempval.replace(bomb));
            adopt_link(t);
        } else {
            dropped.extend([bomb, t.obj()]);
        }
    }
    dropped.into_iter().for_each(drop_ref);
    Ok(())
}

/// `send_exception(exc, *args)`: a class with arguments, or an instance alone.
pub fn exception_bomb(args: &[Obj]) -> Res<Obj> {
    args::at_least("send_exception", 1, args.len())?;
    if is_exception_class(args[0]) {
        return bomb::of_class(args[0], &args[1..]);
    }
    if !is_exception(args[0]) {
        return Err(type_error(
            "channel.send_exception needs Exception or string subclass as first parameter",
        ));
    }
    if args.len() > 1 {
        return Err(type_error("instance exception may not have a separate value"));
    }
    bomb::of_parts(args[0], null_mut(), null_mut())
}

/// `send_sequence(iterable)`: the number of values sent.
pub fn send_sequence(ch: ChannelRef, iterable: Obj) -> Res<Obj> {
    // SAFETY: living objects, owned references.
    unsafe {
        let iterator = check(PyObject_GetIter(iterable))?;
        let mut sent = 0;
        let result = loop {
            let value = PyIter_Next(iterator);
            if value.is_null() {
                break if raised() { Err(Raised) } else { Ok(int_obj(sent)) };
            }
            match send(ch, value, None, Pending::NONE) {
                Ok(nothing) => drop_ref(nothing),
                Err(raised) => break Err(raised),
            }
            sent += 1;
        };
        drop_ref(iterator);
        result
    }
}

/// Removes the waiting tasklets of a channel without references: their threads have ended.
pub fn release_waiters(ch: ChannelRef) {
    world(|w| w.close(ch.id()));
    while let Some(t) = world(|w| w.first_waiting(ch.id())) {
        world(|w| w.dequeue(t));
        drop_ref(object(t).obj());
    }
    if let Some(recorder) = hooks::recorder() {
        recorder.channel_gone(ch);
    }
    world(|w| w.forget_channel(ch.id()));
}
