//! What a slot promises: the size of its stack and its room, and a guard that cannot be passed.

use crate::fiber::Fiber;
use crate::{alone, assert_died_of_sigsegv, get_many, is_child, peek, poke, put, stacks, together};
use stackless_stack::{Limits, Pool, Slot, set_limits};
use std::hint::black_box;

const PAGE: usize = 4096;
const GUARD: usize = 64 << 10;

/// The lowest address of a slot's stack.
fn floor(slot: Slot) -> usize {
    (slot.top().addr() & !(PAGE - 1)) - slot.size()
}

/// Can the byte at this address be read? Asks the kernel, which answers instead of dying.
fn is_readable(address: usize) -> bool {
    let mut ends = [0; 2];
    // SAFETY: a pipe of our own; of a bad address the kernel says EFAULT.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        let written = libc::write(ends[1], std::ptr::without_provenance(address), 1);
        for end in ends {
            libc::close(end);
        }
        written == 1
    }
}

/// Tops are aligned to cache lines, and not all of them at the same place in their page: there, a good
/// kilobyte of stack and of room share one page.
#[test]
fn tops_are_aligned() {
    let _together = together();
    let mut pool = Pool::new();
    let slots = get_many(&mut pool, 200);
    assert!(slots.iter().all(|slot| slot.top().addr().is_multiple_of(64)));
    assert!(slots.iter().all(|slot| (1024..=3072).contains(&(slot.top().addr() % PAGE))));
    let places = slots.iter().map(|slot| slot.top().addr() % PAGE).collect::<std::collections::HashSet<_>>();
    assert!(places.len() >= 4, "{places:?}");
    slots.into_iter().for_each(|slot| put(&mut pool, slot));
}

/// Stack and room are memory from the one end to the other, zero at first, of at least the size in
/// force, and there is enough room for a client's data.
#[test]
fn both_ends_are_writable() {
    let _together = together();
    let mut pool = Pool::new();
    for slot in get_many(&mut pool, 100) {
        assert!(slot.size() >= stackless_stack::limits().size);
        assert!(slot.room() >= 4 * PAGE);
        let ends = [-(slot.size() as isize), -1, 0, slot.room() as isize - 1];
        assert_eq!(ends.map(|end| peek(slot, end)), [0; 4]);
        for end in ends {
            poke(slot, end, 0xa5);
        }
        assert_eq!(ends.map(|end| peek(slot, end)), [0xa5; 4]);
        put(&mut pool, slot);
    }
}

fn assert_distance(mut slots: Vec<Slot>) {
    slots.sort_by_key(|slot| slot.top());
    for pair in slots.windows(2) {
        let end = pair[0].top().addr() + pair[0].room();
        assert!(floor(pair[1]) >= end + GUARD, "{pair:?}");
    }
}

/// No two slots overlap, and between two that are neighbours lies a guard.
#[test]
fn slots_keep_their_distance() {
    let _together = together();
    let mut pool = Pool::new();
    let slots = get_many(&mut pool, 2_000);
    assert_distance(slots.clone());
    slots.into_iter().for_each(|slot| put(&mut pool, slot));
}

/// The same where the size changes to and fro.
#[test]
fn slots_of_different_sizes_keep_their_distance() {
    let _alone = alone();
    let mut pool = Pool::new();
    let mut slots = Vec::new();
    for size in [64 << 10, 1 << 20, 128 << 10, 1 << 20, 64 << 10, 100 << 10] {
        set_limits(Limits { size, count: 1_000 }).unwrap();
        slots.extend(get_many(&mut pool, 100));
    }
    assert_distance(slots.clone());
    slots.into_iter().for_each(|slot| put(&mut pool, slot));
}

/// Every page of the guard is closed, from the first to the last, also of a slot that was used,
/// given back, and handed out again.
#[test]
fn the_guard_is_closed() {
    let _together = together();
    for _ in 0..2 {
        let mut pool = Pool::new();
        let slots = get_many(&mut pool, 70);
        for &slot in &slots {
            let floor = floor(slot);
            assert!(is_readable(floor));
            for page in 1..=GUARD / PAGE {
                let address = floor - page * PAGE;
                assert!(!is_readable(address) && !is_readable(address + PAGE - 1), "page {page} of {slot:?}");
            }
        }
        slots.into_iter().for_each(|slot| put(&mut pool, slot));
    }
}

/// Recurses until `bytes` of stack are in use, writing to all of them.
#[inline(never)]
fn dive(bytes: usize, base: usize) -> usize {
    let mut frame = [0_u8; 1024];
    black_box(&mut frame).fill(bytes as u8);
    let used = base - frame.as_ptr().addr();
    if used >= bytes { used } else { dive(bytes, base) + usize::from(black_box(&frame)[0] != bytes as u8) }
}

/// A stack of 8 MiB takes 7 MiB of frames.
#[test]
fn deep_recursion() {
    let _together = together();
    let fiber = Fiber::new(&stacks(), |here| {
        let used = dive(7 << 20, (&raw const here).addr());
        assert!((7 << 20..8 << 20).contains(&used), "{used}");
    })
    .unwrap();
    assert!(!fiber.resume());
}

/// Recursion without an end runs into the guard: the process dies of SIGSEGV.
#[test]
fn endless_recursion() {
    let _together = together();
    if !is_child() {
        return assert_died_of_sigsegv("slot::endless_recursion", "down we go");
    }
    let fiber = Fiber::new(&stacks(), |here| {
        println!("down we go");
        dive(usize::MAX, (&raw const here).addr());
    })
    .unwrap();
    fiber.resume();
}

/// The first byte below the stack is out of bounds: a write there is not a write into a neighbour.
#[test]
fn one_byte_too_deep() {
    let _together = together();
    if !is_child() {
        return assert_died_of_sigsegv("slot::one_byte_too_deep", "the last byte is ours");
    }
    let mut pool = Pool::new();
    for slot in get_many(&mut pool, 10).into_iter().skip(5) {
        let depth = (slot.top().addr() - floor(slot)) as isize;
        poke(slot, -depth, 1);
        println!("the last byte is ours");
        poke(slot, -depth - 1, 1);
    }
}
