//! C stacks and the switch between them. This crate knows nothing of Python.
//!
//! [`Pool`] hands out [`Slot`]s: pieces of address space that hold one C stack, with a guard below
//! it and room for the client's own data above it. [`switch`] leaves one stack and continues on
//! another; [`prepare`] makes a fresh stack ready to be switched to.
//!
//! ```
//! use stackless_stack::{Pool, prepare, switch};
//! use std::ptr::null_mut;
//!
//! /// Where to continue at the end, and whether the other stack has run.
//! struct Errand {
//!     home: *mut u8,
//!     done: bool,
//! }
//!
//! unsafe extern "C" fn run(errand: *mut u8) -> ! {
//!     // SAFETY: `prepare` was given an errand below, and its owner waits until we switch back.
//!     unsafe {
//!         let errand = errand.cast::<Errand>();
//!         (*errand).done = true;
//!         switch(&mut null_mut(), (*errand).home);
//!     }
//!     unreachable!("this stack is never continued");
//! }
//!
//! let mut pool = Pool::new();
//! let slot = pool.get()?;
//! let mut errand = Errand { home: null_mut(), done: false };
//! let errand = &raw mut errand;
//! // SAFETY: the slot is ours; `run` switches back to this point, and is never continued.
//! unsafe {
//!     let start = prepare(slot.top(), run, errand.cast());
//!     switch(&raw mut (*errand).home, start);
//!     assert!((*errand).done);
//!     pool.put(slot);
//! }
//! # Ok::<(), stackless_stack::StackError>(())
//! ```

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
compile_error!(
    "stackless is made for Linux with the C library glibc; musl and other systems are not supported"
);

mod arch;
mod pool;
mod slab;

pub use arch::{prefetch, prepare, switch};
pub use pool::Pool;
pub use slab::{
    Limits, Slot, StackError, guards_are_free, known_to_valgrind, limits, page_size_fits, set_limits,
};

/// The processor this build switches stacks on.
pub const ARCH: &str = std::env::consts::ARCH;
