//! `tasklet` and `channel` as Python sees them: slots, methods, attributes, garbage collection.
//! No rules are here: a method parses its arguments and calls `engine/` or `scheduler/`.

pub mod channel;
pub mod reduce;
pub mod tasklet;
pub mod tasklet_attributes;
pub mod tasklet_control;
pub mod tasklet_gc;
pub mod tasklet_join;
