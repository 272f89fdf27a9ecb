//! Functions of the module, the C table, the bridge to pickling, the self-test.

pub mod c_table;
pub mod module;
pub mod parking;
pub mod pickle;
pub mod pickle_flags;
pub mod reducers;
pub mod self_test;
