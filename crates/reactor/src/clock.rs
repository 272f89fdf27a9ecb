//! The monotonic clock, and a virtual one in its place: see [`set_virtual`].

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::cell::Cell;

thread_local! {
    /// The virtual time of this thread, 0 for none.
    static VIRTUAL: Cell<u64> = const { Cell::new(0) };
}

/// The time of the monotonic clock, in nanoseconds; the virtual time, if the calling thread has one.
pub fn now() -> u64 {
    virtual_now().unwrap_or_else(|| nanoseconds(clock_gettime(ClockId::Monotonic)))
}

/// The same at the last tick of the kernel, at most 1 to 10 ms ago, in a quarter of the time.
pub fn coarse() -> u64 {
    virtual_now().unwrap_or_else(|| nanoseconds(clock_gettime(ClockId::MonotonicCoarse)))
}

/// The virtual time of the calling thread, if it has one.
pub fn virtual_now() -> Option<u64> {
    let at = VIRTUAL.get();
    (at != 0).then_some(at)
}

/// Stops the clock of the calling thread at this time; None starts it again, as the real one.
pub fn set_virtual(at: Option<u64>) {
    VIRTUAL.set(at.map_or(0, |at| at.max(1)));
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on() {
        let (coarse, first) = (coarse(), now());
        assert!(coarse <= first && first <= now());
    }

    #[test]
    fn stands_still_and_starts_again() {
        set_virtual(Some(5));
        assert_eq!((now(), coarse(), virtual_now()), (5, 5, Some(5)));
        std::thread::spawn(|| assert_eq!(virtual_now(), None)).join().expect("it has no virtual time");
        set_virtual(None);
        assert!(now() > 5 && virtual_now().is_none());
    }
}
