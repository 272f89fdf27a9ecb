//! Timers, the clock, and which descriptors are ready. This crate knows nothing of Python or of scheduling.
//!
//! Times are nanoseconds of the system's monotonic clock ([`now`]), which never goes back.

#![forbid(unsafe_code)]

mod clock;
mod poller;
mod timers;

pub use clock::{coarse, now, set_virtual, virtual_now};
pub use poller::{Bell, Poller, Ready};
pub use timers::{TimerId, Timers};
