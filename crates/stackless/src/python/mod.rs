//! The C API of Python: references, errors, arguments, types, memory, cells that the GIL protects.
//! Nothing here knows tasklets.

pub mod args;
pub mod gil;
pub mod memory;
pub mod objects;
pub mod types;
