//! C stacks and the switch between them. This crate knows nothing of Python.
//!
//! [`Pool`] hands out [`Slot`]s: pieces of address space that hold one C stack, with a guard below
//! it and room for the client's own data above it. [`switch`] leaves one stack and continues on
//! another; [`prepare`] makes a fresh stack ready to be switched to.

mod arch;
mod pool;
mod slab;

pub use arch::{prefetch, prepare, switch};
pub use pool::Pool;
pub use slab::{Limits, Slot, StackError, limits, set_limits};

/// The processor this build switches stacks on.
pub const ARCH: &str = std::env::consts::ARCH;
