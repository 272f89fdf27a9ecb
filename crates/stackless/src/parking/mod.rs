//! Stacks for tasklets, and tasklets without one: parking, its obstacles, the choice of tasklets to park.
//! Nothing here switches.

pub mod obstacle;
pub mod park;
pub mod room;
pub mod stacks;
