//! The switch, one file per processor.
//!
//! A stack that is not running is known by its *resume point*: the stack pointer at the moment it
//! was left. On it lie the few registers that the compiler cannot be told to give up, and the
//! address at which to go on:
//!
//! ```text
//!                    ^ higher addresses
//!   the frames of    │ ...                         │
//!   whoever called   │ caller's frame              │
//!                    ├─────────────────────────────┤
//!                    │ frame pointer               │
//!                    │ base pointer                │
//!   resume point ──> │ address to continue at      │
//!                    └─────────────────────────────┘
//!                      red zone: none, the compiler is told that we push
//! ```
//!
//! [`switch`] pushes these three words, stores the stack pointer where it is told to, loads the
//! other stack's resume point, pops the same three words there, and jumps. Every other register is
//! declared clobbered, so the compiler itself saves those it needs, and no more. The jump, instead
//! of a return, keeps the processor's return predictor in step with the calls it has seen: a `ret`
//! to an address that no `call` pushed costs some forty nanoseconds.
//!
//! The floating-point control words (mxcsr, x87, fpcr) are not switched: code that changes the
//! rounding mode and then blocks changes it for the whole thread, as it does when it calls a
//! function that returns.
//!
//! A fresh stack gets the same three words by hand: its address to continue at is a few
//! instructions long, moves the argument into place and calls the entry function, which never
//! returns. There the call chain ends, and the unwinding tables say so.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
pub use aarch64::{prefetch, prepare, switch};

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64::{prefetch, prepare, switch};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("stackless switches C stacks on x86_64 and aarch64 only");

/// What runs on a fresh stack. It must end by switching away for good.
pub type Entry = unsafe extern "C" fn(argument: *mut u8) -> !;
