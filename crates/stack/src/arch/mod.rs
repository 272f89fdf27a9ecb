//! The switch, one file per processor.
//!
//! A stack that is not running is identified by its *resume point*: the stack pointer at the moment it
//! was left. There lie the few registers that the compiler cannot be told to give up, and the
//! address at which to continue:
//!
//! ```text
//!                    ^ higher addresses
//!   the frames of    │ ...                         │
//!   the caller       │ caller's frame              │
//!                    ├─────────────────────────────┤
//!                    │ frame pointer               │
//!                    │ base pointer                │
//!   resume point ──> │ address to continue at      │
//!                    └─────────────────────────────┘
//!                      red zone: none, the compiler is told that we push
//! ```
//!
//! [`switch`] pushes these three words, stores the stack pointer where the caller wants it, loads the
//! other stack's resume point, pops the same three words there, and jumps. Every other register is
//! declared clobbered, so the compiler itself saves those it needs, and no more. The jump, instead
//! of a return, keeps the processor's return predictor in step with the calls it has seen: a `ret`
//! to an address that no `call` pushed costs some forty nanoseconds.
//!
//! The floating-point control words (mxcsr, x87, fpcr) are not switched: code that changes the
//! rounding mode and then blocks changes it for the whole thread, as it does when it calls a
//! function that returns.
//!
//! [`prepare`] writes the same three words on a fresh stack: the code at the address to continue at is a few
//! instructions long, moves the argument into its register and calls the entry function, which never
//! returns. The call chain ends there, and the unwinding tables say so.

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

/// What runs on a fresh stack. It must end with a switch to another stack, and is never continued.
pub type Entry = unsafe extern "C" fn(argument: *mut u8) -> !;
