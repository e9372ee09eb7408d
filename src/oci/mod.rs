//! The runtimes' documents: a container's state on a hook's standard input, and its config.json. Only reads.

#![forbid(unsafe_code)]

mod bundle;
mod isolation;
mod pod;
mod spec;
mod state;

pub use bundle::read_config;
pub use isolation::{no_cgroup, not_isolated, other_devices};
pub use pod::PodRole;
pub use spec::Spec;
pub use state::State;
