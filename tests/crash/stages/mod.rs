//! The stages that are tried.

pub mod by_hand;
pub mod create_runtime;
pub mod guard;
pub mod live;
pub mod poststop;
pub mod precreate;
pub mod precreate_again;
pub mod runtime;
pub mod waits;
