//! Data: tasklet, channel, thread, seat, wait, bomb, what primitives have in common, the world that holds them, settings of the process.
//! Nothing here runs Python code, except by dropping references and making exceptions.

pub mod allocation;
pub mod alt;
pub mod alt_result;
pub mod bomb;
pub mod channel;
pub mod classes;
pub mod primitive;
pub mod readiness;
pub mod scope;
pub mod seat;
pub mod settings;
pub mod tasklet;
pub mod thread;
pub mod wait;
pub mod world;
