//! `alt()`, `sleep()`, `timeout()`, the end of cancel scopes and task groups, `run()`, worker threads, waits for
//! descriptors. The layers below do not use it.

pub mod alt;
pub mod descriptors;
pub mod group;
pub mod run;
pub mod sleep;
pub mod timeout;
pub mod to_thread;
