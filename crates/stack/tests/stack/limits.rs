//! The maximum number of stacks, and their size.

use crate::{alone, get_many, is_child, put, run_child, together};
use stackless_stack::{Limits, Pool, StackError, limits, set_limits};

const SMALL: usize = 64 << 10;
const MIB: usize = 1 << 20;

/// The default: as deep as a main thread's stack, and far more stacks than memory.
#[test]
fn defaults() {
    let _together = together();
    assert_eq!(limits(), Limits { size: 8 * MIB, count: 16 * MIB });
}

/// Exactly `count` stacks can be had; one more is an error that says so, and does no harm: as soon
/// as one came back, there is one again.
#[test]
fn the_limit_is_exact() {
    let _alone = alone();
    for count in [1, 2, 63, 64, 65, 200] {
        set_limits(Limits { size: SMALL, count }).unwrap();
        let mut pool = Pool::new();
        let mut slots = get_many(&mut pool, count);
        for _ in 0..3 {
            assert_eq!(pool.get(), Err(StackError::Limit(count)));
            let slot = slots.pop().unwrap();
            put(&mut pool, slot);
            slots.push(pool.get().unwrap());
        }
        slots.into_iter().for_each(|slot| put(&mut pool, slot));
    }
}

/// The limit is the process's: what one pool holds, no other can have.
#[test]
fn the_limit_is_for_all_pools() {
    let _alone = alone();
    set_limits(Limits { size: SMALL, count: 65 }).unwrap();
    let (mut one, mut two) = (Pool::new(), Pool::new());
    let slots = [get_many(&mut one, 64), get_many(&mut two, 1)];
    assert_eq!((one.get(), two.get()), (Err(StackError::Limit(65)), Err(StackError::Limit(65))));
    let from_one = slots[0][0];
    put(&mut two, from_one);
    assert_eq!(two.get(), Ok(from_one));
    slots.into_iter().flatten().for_each(|slot| put(&mut one, slot));
    drop(one);
    let all = get_many(&mut two, 65);
    all.into_iter().for_each(|slot| put(&mut two, slot));
}

/// A limit below what is in use takes nothing away; a higher one helps at once.
#[test]
fn limits_can_be_moved() {
    let _alone = alone();
    set_limits(Limits { size: SMALL, count: 4 }).unwrap();
    let mut pool = Pool::new();
    let mut slots = get_many(&mut pool, 4);
    set_limits(Limits { size: SMALL, count: 2 }).unwrap();
    assert_eq!(pool.get(), Err(StackError::Limit(2)));
    set_limits(Limits { size: SMALL, count: 5 }).unwrap();
    slots.push(pool.get().unwrap());
    assert_eq!(pool.get(), Err(StackError::Limit(5)));
    slots.into_iter().for_each(|slot| put(&mut pool, slot));
}

/// Sizes are rounded up to pages.
#[test]
fn sizes_are_whole_pages() {
    let _alone = alone();
    for (given, kept) in [(SMALL, SMALL), (SMALL + 1, SMALL + 4096), (SMALL + 4096, SMALL + 4096)] {
        set_limits(Limits { size: given, count: 7 }).unwrap();
        assert_eq!(limits(), Limits { size: kept, count: 7 });
        let mut pool = Pool::new();
        let slot = pool.get().unwrap();
        assert_eq!(slot.size(), kept);
        put(&mut pool, slot);
    }
}

/// Limits that make no sense are refused with a reason, and change nothing.
#[test]
fn senseless_limits() {
    let _alone = alone();
    let before = limits();
    for (size, count, reason) in [
        (0, 10, "at least 65536 bytes"),
        (SMALL - 1, 10, "at least 65536 bytes"),
        (1024 * MIB + 1, 10, "at most 1073741824 bytes"),
        (usize::MAX, 10, "at most 1073741824 bytes"),
        (SMALL, 0, "at least 1"),
    ] {
        let refused = set_limits(Limits { size, count }).unwrap_err();
        assert!(refused.contains(reason), "{refused}");
        assert_eq!(limits(), before);
    }
}

/// The largest stacks there may be can be had.
#[test]
fn the_largest_size() {
    let _alone = alone();
    set_limits(Limits { size: 1024 * MIB, count: 2 }).unwrap();
    let mut pool = Pool::new();
    let slot = pool.get().unwrap();
    crate::poke(slot, -(1024 * MIB as isize), 1);
    put(&mut pool, slot);
}

/// With less address space the slabs are smaller; when it is used up, the error says so, and what was
/// handed out is as good as before.
#[test]
fn address_space_runs_out() {
    if !is_child() {
        let (status, said) = run_child("limits::address_space_runs_out");
        return assert!(status.success() && said.contains("no address space is left"), "{status}: {said}");
    }
    let _alone = alone();
    let used = crate::memory::statm(0);
    let limit = libc::rlimit { rlim_cur: (used + 600 * MIB) as u64, rlim_max: (used + 600 * MIB) as u64 };
    // SAFETY: this process is the test's own.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    let mut pool = Pool::new();
    let mut slots = Vec::new();
    let error = loop {
        match pool.get() {
            Ok(slot) => slots.push(slot),
            Err(error) => break error,
        }
    };
    assert_eq!(error, StackError::AddressSpace);
    assert!((20..75).contains(&slots.len()), "{}", slots.len());
    slots.iter().for_each(|&slot| crate::poke(slot, -(slot.size() as isize), 1));
    put(&mut pool, slots.pop().unwrap());
    assert!(pool.get().is_ok());
    println!("{error}");
}

/// Each error says what has run out, and where there is something to be done about it, what.
#[test]
fn errors_in_words() {
    let says = |error: StackError, words: &[&str]| {
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    says(StackError::Limit(12), &["all 12 stacks exist", "set_stack_limits"]);
    says(StackError::AddressSpace, &["no address space is left"]);
    says(StackError::Mappings, &["Linux 6.13", "vm.max_map_count"]);
}
