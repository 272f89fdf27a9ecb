//! The monotonic clock.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The time of the monotonic clock, in nanoseconds.
pub fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// The same at the last tick of the kernel, at most 1 to 10 ms ago, in a quarter of the time.
pub fn coarse() -> u64 {
    nanoseconds(clock_gettime(ClockId::MonotonicCoarse))
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
}
