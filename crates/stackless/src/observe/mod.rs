//! Inspection, snapshots, which tasklet waits for which, crash dumps, counters, leak reports, recording.
//! Nothing here changes anything but its own records. `engine/` and below do not name it: `lib.rs` registers it.

pub mod counts;
pub mod crash;
pub mod describe;
pub mod event_log;
pub mod inspect;
pub mod leaks;
pub mod origins;
pub mod primitives;
pub mod reasons;
pub mod record_functions;
pub mod recording;
pub mod snapshot;
pub mod warnings;
pub mod who_waits;
