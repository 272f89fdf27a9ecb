//! What stacks cost, in memory that is really there.

use crate::{alone, get_many, poke, put};
use stackless_stack::{Pool, Slot};

const MIB: usize = 1 << 20;

/// A field of /proc/self/statm, in bytes: 0 is address space, 1 is memory.
pub fn statm(field: usize) -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("a /proc file system");
    text.split(' ').nth(field).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages")
        * 4096
}

fn memory() -> usize {
    statm(1)
}

/// Writes to each page of the upper `bytes` of a stack.
fn touch(slot: Slot, bytes: usize) {
    for page in 0..bytes / 4096 {
        poke(slot, -1 - (page * 4096) as isize, 1);
    }
}

/// A stack of which the first page is in use costs about that page, room included: no huge pages, no
/// bookkeeping in the stack. (Address space is another matter: 8 MiB each.)
#[test]
fn a_touched_stack_costs_a_page() {
    let _alone = alone();
    let mut pool = Pool::new();
    let slots = get_many(&mut pool, 1_000);
    let before = memory();
    for &slot in &slots {
        poke(slot, -1, 1);
        poke(slot, -1_500, 1);
        poke(slot, 0, 1);
        poke(slot, 1_000, 1);
    }
    let each = memory().saturating_sub(before) / slots.len();
    assert!((4096..16 << 10).contains(&each), "{each} bytes per stack");
    slots.into_iter().for_each(|slot| put(&mut pool, slot));
}

/// The kernel knows what slabs are: it reserves nothing for them, makes no huge pages of them whatever
/// the system's setting, and leaves them out of core dumps.
#[test]
fn slabs_are_advised() {
    let _together = crate::together();
    let mut pool = Pool::new();
    let slot = pool.get().unwrap();
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("a /proc file system");
    let range = |line: &str| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        Some(usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?)
    };
    let ours = |line: &&str| range(line).is_some_and(|range| range.contains(&slot.top().addr()));
    let mut from_ours = maps.lines().skip_while(|line| !ours(line));
    let flags = from_ours.find(|line| line.starts_with("VmFlags:")).expect("flags of our mapping");
    for flag in [" nr", " nh", " dd"] {
        assert!(flags.contains(flag), "{flag} is not among {flags}");
    }
    put(&mut pool, slot);
}

/// Stacks that were never touched cost next to nothing.
#[test]
fn untouched_stacks_are_free() {
    let _alone = alone();
    let mut pool = Pool::new();
    let before = memory();
    let slots = get_many(&mut pool, 5_000);
    let each = memory().saturating_sub(before) / slots.len();
    assert!(each < 512, "{each} bytes per stack");
    slots.into_iter().for_each(|slot| put(&mut pool, slot));
}

/// A pool that is dropped gives the memory of its stacks back to the system.
#[test]
fn a_dropped_pool_gives_memory_back() {
    let _alone = alone();
    let before = memory();
    let mut pool = Pool::new();
    let slots = get_many(&mut pool, 150);
    slots.iter().for_each(|&slot| touch(slot, MIB));
    let touched = memory() - before;
    assert!(touched >= 150 * MIB, "{touched} bytes for 150 stacks of 1 MiB");
    slots.into_iter().for_each(|slot| put(&mut pool, slot));
    drop(pool);
    let after = memory().saturating_sub(before);
    assert!(after < 10 * MIB, "{after} bytes are still in use");
}

/// A thousand turns of deep recursion on one pool's stacks do not keep the memory for ever.
#[test]
fn deep_use_does_not_pile_up() {
    let _alone = alone();
    let before = memory();
    let mut pool = Pool::new();
    for _ in 0..64 {
        let slot = pool.get().unwrap();
        touch(slot, 4 * MIB);
        put(&mut pool, slot);
    }
    let after = memory().saturating_sub(before);
    assert!(after < 3 * MIB, "{after} bytes are still in use");
}
