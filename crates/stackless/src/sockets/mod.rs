//! The socket type, its calls, the patched standard ones, and the byte queue. Only `api/` uses it.

pub mod blocking;
pub mod byte_queue;
pub mod calls;
pub mod methods;
pub mod socket;
pub mod standard;
