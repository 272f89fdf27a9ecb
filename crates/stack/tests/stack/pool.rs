//! A thread's free stacks: what comes back, and in which order it goes out.

use crate::fiber::Fiber;
use crate::{alone, get_many, peek, poke, put, stacks, together};
use stackless_stack::{Limits, Pool, Slot, StackError, set_limits};
use std::collections::HashSet;
use std::sync::mpsc::channel;

/// The minimum number of stacks that a pool keeps, and the number that it takes and returns at a time.
const WARM: usize = 4096;
const BATCH: usize = 64;
const SMALL: usize = 64 << 10;

fn tops(slots: &[Slot]) -> HashSet<*mut u8> {
    slots.iter().map(|slot| slot.top()).collect()
}

fn put_all(pool: &mut Pool, slots: Vec<Slot>) {
    slots.into_iter().for_each(|slot| put(pool, slot));
}

/// The stack that came back last is the warmest, and goes out first.
#[test]
fn last_in_first_out() {
    let _together = together();
    let mut pool = Pool::new();
    let slots = get_many(&mut pool, 3);
    slots.iter().for_each(|&slot| put(&mut pool, slot));
    let again = get_many(&mut pool, 3);
    assert!(again.iter().eq(slots.iter().rev()));
    put_all(&mut pool, again);
}

/// No stack is handed out twice.
#[test]
fn all_are_different() {
    let _together = together();
    let mut pool = Pool::new();
    let slots = get_many(&mut pool, 1_500);
    assert_eq!(tops(&slots).len(), 1_500);
    put_all(&mut pool, slots);
}

/// A stack that comes back keeps what is in it: its memory is still there for the next user.
#[test]
fn returned_stacks_stay_warm() {
    let _together = together();
    let mut pool = Pool::new();
    let slot = pool.get().unwrap();
    poke(slot, -5_000, 7);
    put(&mut pool, slot);
    assert_eq!(pool.get(), Ok(slot));
    assert_eq!(peek(slot, -5_000), 7);
    put(&mut pool, slot);
}

/// Of a deeply used stack, what lies far down goes back to the system at some return; the upper end
/// stays.
#[test]
fn deep_memory_is_trimmed() {
    let _together = together();
    let mut pool = Pool::new();
    let slot = pool.get().unwrap();
    let (deep, shallow) = (-(1 << 20), -(32 << 10));
    poke(slot, deep, 7);
    poke(slot, shallow, 7);
    for _ in 0..64 {
        put(&mut pool, slot);
        assert_eq!(pool.get(), Ok(slot));
    }
    assert_eq!((peek(slot, deep), peek(slot, shallow)), (0, 7));
    put(&mut pool, slot);
}

/// A pool keeps about 4,096 free stacks; of more, those that came back first go to everybody.
#[test]
fn the_coldest_are_given_back() {
    let _alone = alone();
    let count = WARM + BATCH + 40;
    set_limits(Limits { size: SMALL, count }).unwrap();
    let (mut pool, mut other) = (Pool::new(), Pool::new());
    let slots = get_many(&mut pool, count);
    assert_eq!(other.get(), Err(StackError::Limit(count)));
    for &slot in &slots[..WARM + BATCH] {
        put(&mut pool, slot);
    }
    assert_eq!(other.get(), Err(StackError::Limit(count)), "the pool keeps that many");
    for &slot in &slots[WARM + BATCH..] {
        put(&mut pool, slot);
    }
    let given = get_many(&mut other, BATCH);
    assert_eq!(tops(&given), tops(&slots[..BATCH]));
    assert_eq!(other.get(), Err(StackError::Limit(count)));
    put_all(&mut other, given);
}

/// A pool that is told to shrinks as far as that, the coldest first, and never more than it may at a time.
#[test]
fn a_pool_shrinks() {
    let _alone = alone();
    set_limits(Limits { size: SMALL, count: 100 }).unwrap();
    let (mut pool, mut other) = (Pool::new(), Pool::new());
    let slots = get_many(&mut pool, 100);
    put_all(&mut pool, slots[..90].to_vec());
    assert_eq!((pool.kept(), pool.used()), (100, 10));
    assert_eq!((pool.shrink(95, 50), pool.shrink(60, 20), pool.kept()), (0, 20, 80));
    let given = get_many(&mut other, 20);
    assert_eq!(tops(&given), tops(&slots[..20]));
    assert_eq!((pool.shrink(60, 20), pool.shrink(60, 20), pool.kept(), pool.used()), (10, 0, 70, 10));
    assert_eq!(pool.get(), Ok(slots[89]));
    put_all(&mut pool, slots[89..].to_vec());
    put_all(&mut other, given);
}

/// A pool that is dropped returns all its stacks, and later pools get the same ones.
#[test]
fn a_dropped_pool_gives_all_back() {
    let _alone = alone();
    set_limits(Limits { size: SMALL, count: 100 }).unwrap();
    let mut first = None;
    for _ in 0..3 {
        let mut pool = Pool::new();
        let slots = get_many(&mut pool, 100);
        assert_eq!(pool.get(), Err(StackError::Limit(100)));
        let tops = tops(&slots);
        put_all(&mut pool, slots);
        assert_eq!(*first.get_or_insert(tops.clone()), tops);
    }
}

/// A stack that was returned and is handed out again is as new: its old content cannot be read.
#[test]
fn given_back_stacks_are_blank() {
    let _alone = alone();
    set_limits(Limits { size: SMALL, count: 10 }).unwrap();
    for _ in 0..2 {
        let mut pool = Pool::new();
        let slots = get_many(&mut pool, 10);
        for &slot in &slots {
            for offset in [-(SMALL as isize), -3_000, -1, 0, 5_000, slot.room() as isize - 1] {
                assert_eq!(peek(slot, offset), 0, "at {offset}");
                poke(slot, offset, 9);
            }
        }
        put_all(&mut pool, slots);
    }
}

/// A new size holds for stacks handed out from now on, in pools that have others ready, too. Those
/// of the old size stay usable, and are given back when they return.
#[test]
fn a_change_of_size() {
    let _alone = alone();
    set_limits(Limits { size: SMALL, count: 3 }).unwrap();
    let mut pool = Pool::new();
    let old = get_many(&mut pool, 2);
    set_limits(Limits { size: 2 * SMALL, count: 3 }).unwrap();
    let new = pool.get().unwrap();
    assert_eq!((old[0].size(), new.size()), (SMALL, 2 * SMALL));
    poke(old[0], -(SMALL as isize), 1);
    poke(new, -(2 * SMALL as isize), 1);
    assert_eq!(
        pool.get(),
        Err(StackError::Limit(3)),
        "the free one of the old size was given back for `new`"
    );
    put(&mut pool, old[0]);
    let newer = pool.get().unwrap();
    assert_eq!(newer.size(), 2 * SMALL);
    put_all(&mut pool, vec![old[1], new, newer]);
    let all = get_many(&mut pool, 3);
    assert!(all.iter().all(|slot| slot.size() == 2 * SMALL));
    put_all(&mut pool, all);
}

/// A return that comes between the change of size and the next request is of the old size, too.
#[test]
fn a_return_right_after_a_change_of_size() {
    let _alone = alone();
    set_limits(Limits { size: SMALL, count: 2 }).unwrap();
    let mut pool = Pool::new();
    let old = get_many(&mut pool, 2);
    set_limits(Limits { size: 2 * SMALL, count: 2 }).unwrap();
    put_all(&mut pool, old);
    let new = get_many(&mut pool, 2);
    assert!(new.iter().all(|slot| slot.size() == 2 * SMALL));
    set_limits(Limits { size: SMALL, count: 2 }).unwrap();
    put_all(&mut pool, new);
    let back = get_many(&mut pool, 2);
    assert!(back.iter().all(|slot| slot.size() == SMALL));
    put_all(&mut pool, back);
}

/// A pool that is dropped gives the stacks of an old size back, too.
#[test]
fn a_dropped_pool_gives_old_sizes_back() {
    let _alone = alone();
    set_limits(Limits { size: SMALL, count: 2 }).unwrap();
    let mut pool = Pool::new();
    let old = pool.get().unwrap();
    set_limits(Limits { size: 2 * SMALL, count: 2 }).unwrap();
    let new = pool.get().unwrap();
    put_all(&mut pool, vec![old, new]);
    drop(pool);
    let mut pool = Pool::new();
    let all = get_many(&mut pool, 2);
    put_all(&mut pool, all);
}

/// Threads with a pool each do not get in one another's way.
#[test]
fn a_pool_per_thread() {
    let _together = together();
    let work = |seed: usize| {
        let stacks = stacks();
        let fibers: Vec<_> = (0..300)
            .map(|i| {
                let body = move |here: crate::fiber::Here| {
                    let mine = std::hint::black_box([seed + i; 4]);
                    here.suspend();
                    assert_eq!(mine, [seed + i; 4]);
                };
                Fiber::new(&stacks, body).unwrap()
            })
            .collect();
        assert!(fibers.iter().all(Fiber::resume));
        assert!(!fibers.iter().any(Fiber::resume));
    };
    std::thread::scope(|scope| {
        for seed in [1_000, 2_000, 3_000, 4_000] {
            scope.spawn(move || (0..5).for_each(|_| work(seed)));
        }
    });
}

/// Stacks that threads hold at the same time are different ones, and a stack may come back to the
/// pool of another thread.
#[test]
fn stacks_travel_between_threads() {
    let _together = together();
    let (sender, receiver) = channel();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut pool = Pool::new();
                sender.send(get_many(&mut pool, 100)).unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(sender);
    let slots: Vec<_> = receiver.into_iter().flatten().collect();
    assert_eq!(tops(&slots).len(), 400);
    let mut pool = Pool::new();
    put_all(&mut pool, slots);
}
