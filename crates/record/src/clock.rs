//! A clock that is cheap to read.
//!
//! On x86-64 this is the processor's time stamp counter, if it runs at one constant speed. Its frequency
//! is determined at the end, by comparing it with the system's clock. Elsewhere it is the system's clock.

use std::time::Instant;

/// Measures the time since it was made.
pub struct Clock {
    start: Instant,
    /// The counter at the start, None if it is not used.
    counter: Option<u64>,
}

impl Clock {
    pub fn new() -> Self {
        Self { counter: counter_is_steady().then(counter), start: Instant::now() }
    }

    /// The time since the start, in a unit of its own: see [`Clock::nanoseconds`].
    #[inline(always)]
    pub fn now(&self) -> u64 {
        match self.counter {
            Some(start) => counter().wrapping_sub(start),
            None => self.start.elapsed().as_nanos() as u64,
        }
    }

    /// A function that converts such times to nanoseconds.
    pub fn nanoseconds(&self) -> impl Fn(u64) -> u64 {
        let elapsed = self.start.elapsed().as_nanos() as f64;
        let unit = match self.counter {
            Some(_) => elapsed / (self.now().max(1) as f64),
            None => 1.0,
        };
        move |time| (time as f64 * unit) as u64
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    #![allow(unsafe_code, reason = "two instructions that touch no memory")]
    use core::arch::x86_64::{__cpuid, _rdtsc};

    #[inline(always)]
    pub fn counter() -> u64 {
        // SAFETY: every x86-64 processor has it, and Linux does not forbid it.
        unsafe { _rdtsc() }
    }

    /// True if the counter runs at one speed on all cores, independent of power management.
    pub fn counter_is_steady() -> bool {
        const POWER_MANAGEMENT: u32 = 0x8000_0007;
        #[allow(unused_unsafe, reason = "newer compilers know that it is safe")]
        // SAFETY: every x86-64 processor has the instruction; the highest leaf is asked for first.
        unsafe {
            __cpuid(0x8000_0000).eax >= POWER_MANAGEMENT && __cpuid(POWER_MANAGEMENT).edx & (1 << 8) != 0
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod arch {
    pub fn counter() -> u64 {
        0
    }

    pub fn counter_is_steady() -> bool {
        false
    }
}

use arch::{counter, counter_is_steady};
