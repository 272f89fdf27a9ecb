//! The outside world: when something is due. No Python, no scheduling.
//!
//! Times are nanoseconds of the system's monotonic clock ([`now`]), which never goes back.

#![forbid(unsafe_code)]

mod clock;
mod timers;

pub use clock::{coarse, now};
pub use timers::{TimerId, Timers};
