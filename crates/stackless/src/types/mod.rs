//! `tasklet` and `channel` as Python sees them: slots, methods, attributes, garbage collection.
//! A method parses its arguments and calls `engine/` or `scheduler/`: the rules are there.

pub mod case;
pub mod channel;
pub mod reduce;
pub mod scope;
pub mod tasklet;
pub mod tasklet_attributes;
pub mod tasklet_control;
pub mod tasklet_gc;
pub mod tasklet_join;
