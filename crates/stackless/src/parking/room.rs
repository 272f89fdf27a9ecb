//! Which tasklets to park: when too many stacks are in use, and when a thread has time.

use crate::model::seat::Seat;
use crate::model::thread::Sched;
use crate::model::world::owner;
use crate::model::world::world;
use crate::parking::park::park;
use crate::python::memory;
use stackless_reactor::coarse;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The number of stacks in use in a thread from which on the tasklets that have waited longest are parked.
static MOST: AtomicUsize = AtomicUsize::new(4096);

pub fn most_stacks() -> usize {
    MOST.load(Relaxed)
}

pub fn set_most_stacks(most: usize) {
    MOST.store(most, Relaxed);
}

/// Parks some of the tasklets that have waited longest, where a thread needs another stack and has reached the limit:
/// a quarter of the limit, or as many as can be parked.
#[cold]
pub fn make_room(s: &'static Sched, used: usize) {
    // Nothing to do unless most of those that could not be parked have ended since then.
    let again = s.park_at.get();
    if used < again && used * 2 > again {
        return;
    }
    let wanted = (most_stacks() / 4).max(1);
    let parked = park_waiting(s, wanted);
    // If nearly all cannot be parked, looking again soon is of no use.
    s.park_at.set(if parked < wanted / 2 { used + used / 4 } else { 0 });
}

/// Parks the tasklets of a thread that have waited longest. Returns the number of parked ones.
#[cold]
pub fn park_waiting(s: &'static Sched, wanted: usize) -> usize {
    let mut waiting = find_waiting(s);
    waiting.sort_unstable_by_key(|(looks, _)| std::cmp::Reverse(*looks));
    park_some(waiting, wanted)
}

/// The seats with stacks whose tasklets wait, each with the number of looks that found the tasklet waiting since it
/// ran; if memory is short, some of them.
fn find_waiting(s: &'static Sched) -> Vec<(u8, &'static Seat)> {
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

/// Nanoseconds of waiting after which a thread that has nothing to do parks a tasklet; u64::MAX
/// for never.
static AFTER: AtomicU64 = AtomicU64::new(1_000_000_000);

/// The number of stacks up to which parking is not worth the time.
const FEW: usize = 64;

/// The minimum number of free stacks that are kept.
const WARM: usize = 8;

/// The maximum number of tasklets parked, or stacks given back, before other tasklets get a turn: this takes a
/// millisecond.
const SOME: usize = 1024;

/// The number of looks after which a thread that still sleeps has looked at all tasklets.
pub const LOOKS: u32 = 2;

pub fn idle_time() -> u64 {
    AFTER.load(Relaxed)
}

pub fn set_idle_time(nanoseconds: u64) {
    AFTER.store(nanoseconds, Relaxed);
}

/// Called when a thread is about to sleep. If it is time for it, parks the tasklets that have waited since the
/// last look, and gives back stacks that are not needed. Returns true if there was anything to do; if not, one of the
/// `looks` is used up.
pub fn park_idle(s: &'static Sched, looks: &mut u32) -> bool {
    if s.stacks.borrow().kept() <= FEW {
        return false;
    }
    let (now, after) = (coarse(), idle_time());
    if after == u64::MAX || now < s.park_next.get() {
        return false;
    }
    s.park_next.set(now.saturating_add(after));
    let mut waiting = find_waiting(s);
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
