//! The flags byte: which observers want to know of switches and channel operations.

use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

/// Who wants to know of switches: one bit each.
pub static WATCHERS: AtomicU8 = AtomicU8::new(0);

/// The schedule callback is set.
pub const CALLBACK: u8 = 1;

/// A `run()` has a limit.
pub const LIMIT: u8 = 2;

/// Switches are counted.
pub const COUNT: u8 = 4;

/// A recording is under way: it wants to know of everything.
pub const RECORDER: u8 = 8;

/// The channel callback is set: it wants to know of channel operations, not of switches.
pub const CHANNEL: u8 = 16;

/// Switches are counted, and their times kept.
pub const AGES: u8 = 32;

/// The C hook of [`capi`] is set.
pub const FAST: u8 = 64;

/// A timer runs, or somebody waits for a worker thread.
pub const TIMED: u8 = 128;

/// Does anybody want to know of switches?
#[inline(always)]
pub fn watched() -> bool {
    WATCHERS.load(Relaxed) & (CALLBACK | LIMIT | COUNT | RECORDER | AGES | FAST | TIMED) != 0
}

/// Does anybody want to know of channel operations?
#[inline(always)]
pub fn channels_watched() -> bool {
    WATCHERS.load(Relaxed) & (CHANNEL | RECORDER) != 0
}

pub fn watch(who: u8, on: bool) {
    if on {
        WATCHERS.fetch_or(who, Relaxed);
    } else {
        WATCHERS.fetch_and(!who, Relaxed);
    }
}
