//! Switching: send and receive, schedule, departure, the body of a tasklet and its end, sleep, throw, limits of
//! `run()`, the end of a thread. This is the only folder that changes C stacks.

pub mod body;
pub mod buffer;
pub mod deadlock;
pub mod departure;
pub mod ending;
pub mod fork;
pub mod interrupts;
pub mod nesting;
pub mod outcome;
pub mod run_limits;
pub mod schedule;
pub mod sleep;
pub mod steering;
pub mod switch;
pub mod thread_end;
pub mod throw;
pub mod transfer;
