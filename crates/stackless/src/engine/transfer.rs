//! Channels: send and receive, close, and what is built on them.
//!
//! An operation finds a partner in the channel's queue and *meets* it, or *waits* in the queue itself. The functions
//! on this path are inlined into the caller; those for observers ([`act_observed`], [`act_recorded`]) and for channels
//! that are closed or have a buffer ([`wait_unless`]) are not.

use crate::engine::buffer;
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
use crate::scheduler::{alts, callbacks, entry, hooks, waits};
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
        Some(found) => {
            let partner = object(found);
            if partner.id() == found {
                meet::<OBSERVED>(entered, ch, partner, direction, value, call)
            } else {
                meet_place(entered, ch, found, direction, value, call)
            }
        }
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
    let partner = partner(ch, direction).map(object);
    let elsewhere = partner.is_some_and(|t| !t.is_of(s));
    if !elsewhere {
        let seat = s.current().seat();
        seat.call_back(|| s.current().put(if value.is_null() { null_mut() } else { new_ref(value) }));
        let waits = world(|w| w.would_wait(ch.id(), direction));
        let told = callbacks::announce_operation(s, ch, direction, waits);
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

/// What waits in the channel for a partner that acts in this direction: a tasklet, or one of its places.
fn partner(ch: ChannelRef, direction: Direction) -> Option<TaskletId> {
    world(|w| w.partner(ch.id(), direction).or_else(|| w.either(ch.id())))
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
    meet_by(entered, ch, partner, direction, call, || exchange::<OBSERVED>(s, ch, partner, direction, value))
}

/// As [`meet`], with a partner that waits in several queues, and in this one by the place that was found.
#[inline(never)]
fn meet_place(
    entered: Entered,
    ch: ChannelRef,
    found: TaskletId,
    direction: Direction,
    value: Obj,
    call: Pending,
) -> Res<Res<Obj>> {
    let s = entered.s;
    let exchange = || exchange_with(s, ch, found, direction, value);
    meet_by(entered, ch, object(found), direction, call, exchange)
}

/// The running tasklet has chosen this case in `alt()`: its operation, with a value that is taken over. `wrap` makes the
/// tasklet's result from what it gets, or null, and is called once. The outer error means that nothing happened, and the
/// value is the caller's.
pub fn act_case(
    entered: Entered,
    ch: ChannelRef,
    direction: Direction,
    value: Obj,
    call: Pending,
    wrap: impl FnOnce(Obj) -> Obj,
) -> Res<Res<Obj>> {
    let s = entered.s;
    if let Some(found) = partner(ch, direction) {
        let exchange = || wrap(exchange_with(s, ch, found, direction, value));
        return meet_by(entered, ch, object(found), direction, call, exchange);
    }
    if let Some(done) = buffer::act(s, ch, direction, value)? {
        let result = wrap(done);
        s.drop_deferred();
        return Ok(bomb::unpack(result));
    }
    Err(closed()) // else the case would not have been chosen
}

/// As [`exchange`], with whatever was found in the queue.
fn exchange_with(
    s: &'static Sched,
    ch: ChannelRef,
    found: TaskletId,
    direction: Direction,
    value: Obj,
) -> Obj {
    let (partner, theirs) = alts::claim(s, found, direction, value);
    exchanged(s, ch, partner, direction, value, theirs)
}

/// As [`meet`]; `exchange` takes the partner out of the queue, exchanges the values, and returns that for the running
/// tasklet.
#[inline(always)]
fn meet_by(
    entered: Entered,
    ch: ChannelRef,
    partner: TaskletRef,
    direction: Direction,
    call: Pending,
    exchange: impl FnOnce() -> Obj,
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
            let mine = exchange();
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
            let mine = exchange();
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
            let mine = exchange();
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
    if OBSERVED {
        return exchanged(s, ch, partner, direction, value, theirs);
    }
    kept(s, direction, theirs)
}

/// The values were exchanged: tells a recording, and returns what the running tasklet gets, or null.
fn exchanged(
    s: &'static Sched,
    ch: ChannelRef,
    partner: TaskletRef,
    direction: Direction,
    value: Obj,
    theirs: Obj,
) -> Obj {
    if let Some(recorder) = hooks::recorder() {
        recorder.transferred(s, ch, partner, direction, if theirs.is_null() { value } else { theirs });
    }
    kept(s, direction, theirs)
}

/// What the running tasklet gets of what the partner had: nothing, unless it receives.
#[inline(always)]
fn kept(s: &'static Sched, direction: Direction, theirs: Obj) -> Obj {
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
    if world(|w| !w.is_plain(ch.id())) {
        return wait_unless(entered, ch, waits, value, time, call);
    }
    wait_in_queue(entered, ch, waits, value, time, call)
}

/// As [`wait`], in a channel that has a buffer, is closed, or has a tasklet that waits to do either.
#[inline(never)]
fn wait_unless(
    entered: Entered,
    ch: ChannelRef,
    waits: WaitsTo,
    value: Obj,
    time: Option<u64>,
    call: Pending,
) -> Res<Res<Obj>> {
    let direction = if waits == WaitsTo::Send { Direction::Send } else { Direction::Receive };
    if let Some(found) = world(|w| w.either(ch.id())) {
        return meet_place(entered, ch, found, direction, value, call);
    }
    if let Some(done) = buffer::act(entered.s, ch, direction, value)? {
        entered.s.drop_deferred();
        return Ok(bomb::unpack(done));
    }
    if world(|w| w.closing(ch.id())) {
        may_wait(entered)?;
        return Err(closed());
    }
    wait_in_queue(entered, ch, waits, value, time, call)
}

#[cold]
fn closed() -> Raised {
    raise(Exc::Value, "Send/receive operation on a closed channel")
}

/// Checks that the running tasklet may wait.
#[inline(always)]
pub fn may_wait(entered: Entered) -> Res<()> {
    entered.at_rest()?;
    if entered.s.current().flags.get().block_trap {
        return Err(runtime_error("this tasklet does not like to be blocked."));
    }
    Ok(())
}

#[inline(always)]
fn wait_in_queue(
    entered: Entered,
    ch: ChannelRef,
    waits: WaitsTo,
    value: Obj,
    time: Option<u64>,
    call: Pending,
) -> Res<Res<Obj>> {
    may_wait(entered)?;
    let s = entered.s;
    let me = s.current();
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

/// Of the tasklets whose wait `close()` ends, the one that has waited longest, and whether it is one in `alt()`, which is
/// not to wait for what cannot come; the others wait in an iteration.
fn first_ended_by_close(ch: ChannelRef) -> Option<(TaskletId, bool)> {
    let mut at = world(|w| w.first_waiting(ch.id()));
    while let Some(found) = at {
        let waits = world(|w| w.waits(found)).map(|(_, waits)| waits);
        let is_place = object(found).id() != found;
        if waits == Some(WaitsTo::Iterate) || (is_place && waits != Some(WaitsTo::Send)) {
            return Some((found, is_place));
        }
        at = world(|w| w.next(found));
    }
    None
}

/// `close()`: no more tasklets are added to the queue, and waiting iterations end, as do receives in `alt()`.
pub fn close(ch: ChannelRef) -> Res<()> {
    world(|w| w.close(ch.id()));
    if let Some(recorder) = hooks::recorder() {
        recorder.channel_changed(ch);
    }
    let mut dropped = Vec::new();
    while let Some((_, in_alt)) = first_ended_by_close(ch) {
        // Making the bomb may run Python code: look again which tasklet waits.
        let bomb = if in_alt {
            let Raised = closed();
            bomb::of_raised()
        } else {
            // SAFETY: the exception type exists.
            bomb::of_class(unsafe { PyExc_StopIteration }, &[])?
        };
        let Some((found, _)) = first_ended_by_close(ch).filter(|(_, same)| *same == in_alt) else {
            drop_ref(bomb);
            continue;
        };
        let t = object(found);
        world(|w| w.dequeue(t.id()));
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

/// Removes the waiting tasklets of a channel without references: their threads have ended. Drops what is in its buffer.
pub fn release_waiters(ch: ChannelRef) {
    world(|w| w.close(ch.id()));
    while let Some(t) = world(|w| w.first_waiting(ch.id())) {
        world(|w| w.dequeue(t));
        drop_ref(object(t).obj());
    }
    if let Some(recorder) = hooks::recorder() {
        recorder.channel_gone(ch);
    }
    world(|w| {
        w.discard(ch.id());
        w.forget_channel(ch.id());
    });
    ch.free_buffer();
}
