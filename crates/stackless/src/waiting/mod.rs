//! `alt()`, `sleep()`, `timeout()`, `run()`, worker threads, waits for descriptors. The layers below do not use it.

pub mod alt;
pub mod descriptors;
pub mod run;
pub mod sleep;
pub mod timeout;
pub mod to_thread;
