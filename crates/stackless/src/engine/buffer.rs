//! The buffer of a channel with a capacity: sends that have room in it, and receives that find a value in it.
//!
//! The rules are in `crates/core/src/channel.rs`. No tasklet meets another one here, so no operation of this file
//! switches, whatever the channel's `preference` and `schedule_all` say.

use crate::model::channel::{Buffer, ChannelRef};
use crate::model::thread::Sched;
use crate::model::world::world;
use crate::python::memory;
use crate::python::objects::*;
use crate::scheduler::ring::adopt_link;
use crate::scheduler::{alts, hooks};
use stackless_core::{Direction, TaskletId};
use std::ptr::null_mut;

/// Gives a channel in which nothing waits a buffer for this many values; none with 0.
pub fn set_capacity(ch: ChannelRef, capacity: u32) -> Res<()> {
    if capacity > 0 {
        ch.make_buffer()?;
    }
    world(|w| w.set_capacity(ch.id(), capacity));
    Ok(())
}

/// Appends a value, which is taken over, to the buffer of an open channel that has room. The error means that there is
/// no memory, and the value is the caller's.
pub fn put(ch: ChannelRef, value: Obj) -> Res<()> {
    let buffer = of(ch);
    if memory::strictly(|| buffer.borrow_mut().try_reserve(1)).is_err() {
        return Err(memory::no_memory());
    }
    append(ch, value);
    Ok(())
}

/// The buffer has memory for the value.
fn append(ch: ChannelRef, value: Obj) {
    of(ch).borrow_mut().push_back(value);
    world(|w| w.put(ch.id()));
}

fn of(ch: ChannelRef) -> &'static Buffer {
    ch.buffer().expect("a channel with a capacity has a buffer")
}

/// A send or receive of the running tasklet that has found no partner: done with the buffer, if that is possible. Returns
/// what is received, owned, or null. The error means that nothing happened.
pub fn act(s: &'static Sched, ch: ChannelRef, direction: Direction, value: Obj) -> Res<Option<Obj>> {
    if direction == Direction::Send {
        if !world(|w| w.takes_more(ch.id())) {
            return Ok(None);
        }
        put(ch, value)?;
        if let Some(recorder) = hooks::recorder() {
            recorder.buffered(s, ch, None, value);
        }
        return Ok(Some(null_mut()));
    }
    if world(|w| w.buffered(ch.id())) == 0 {
        return Ok(None);
    }
    let oldest = of(ch).borrow_mut().pop_front().expect("as many values as the world counts");
    let freed = world(|w| w.take(ch.id()));
    if let Some(recorder) = hooks::recorder() {
        recorder.unbuffered(s, ch, oldest);
    }
    if let Some(sender) = freed {
        admit(s, ch, sender);
    }
    Ok(Some(oldest))
}

/// The value of a waiting sender has room in the buffer now: it is put there, and the sender continues when its turn
/// comes.
fn admit(s: &'static Sched, ch: ChannelRef, found: TaskletId) {
    let (sender, value) = alts::claim(s, found, Direction::Receive, null_mut());
    append(ch, value); // where the value was that has just been taken
    if let Some(recorder) = hooks::recorder() {
        recorder.buffered(s, ch, Some(sender), value);
    }
    if sender.scheduler().is_some() {
        adopt_link(sender);
    } else {
        s.drop_later(sender.obj()); // its thread has ended: it cannot go on, and is paused now
    }
}
