//! Which tasklets to park: when stacks run out, and when a thread has time.

use crate::model::seat::Seat;
use crate::model::thread::Sched;
use crate::model::world::owner;
use crate::model::world::world;
use crate::parking::park::park;
use crate::python::memory;
use stackless_reactor::coarse;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

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
        let Some(t) = owner(seat) else { continue };
        if t.is_current() || world(|w| w.in_ring(t.id())) {
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
    let parked = waiting.iter().filter(|(_, seat)| owner(seat).is_some_and(|t| park(t).is_ok()));
    parked.take(wanted).count()
}

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
