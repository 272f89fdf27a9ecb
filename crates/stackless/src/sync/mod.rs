//! The primitives of `stackless.sync`: locks, semaphores, events, and queues of those that wait. Only `api/` uses them.

pub mod bounded_queue;
pub mod count;
pub mod event;
pub mod items;
pub mod local;
pub mod lock;
pub mod object;
pub mod pickle;
pub mod queue;
pub mod queue_type;
pub mod rlock;
pub mod semaphore;
pub mod simple_queue;
pub mod times;
