//! The outside world: when something is due, and which descriptors are ready. No Python, no scheduling.
//!
//! Times are nanoseconds of the system's monotonic clock ([`now`]), which never goes back.

#![forbid(unsafe_code)]

mod clock;
mod poller;
mod timers;

pub use clock::{coarse, now};
pub use poller::{Bell, Poller, Ready};
pub use timers::{TimerId, Timers};
