//! Which tasklet runs when: entering, the ring, waits, limits, timers, readiness, idle threads, the flags word and
//! callbacks. Nothing here switches, and only callbacks run Python code.

pub mod alts;
pub mod callbacks;
pub mod entry;
pub mod hooks;
pub mod idle;
pub mod limits;
pub mod readiness;
pub mod ring;
pub mod scopes;
pub mod timers;
pub mod waits;
