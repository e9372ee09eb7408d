//! The runtimes' documents: a container's state on a hook's standard input, its config.json, a runtime's command line.
//! Only reads.

#![forbid(unsafe_code)]

mod bundle;
mod command_line;
mod isolation;
mod options;
mod pod;
mod reach;
mod rule;
mod spec;
mod state;
mod words;

pub use bundle::{no_rootfs, read_config, read_rootfs};
pub use command_line::{Bundled, Deleted, Log, LogFormat, RuntimeCall, Verb};
pub use isolation::{makes_nodes, no_cgroup, not_isolated, says_nothing_of_all};
pub use pod::PodRole;
pub use reach::{Breadth, devices_of, is_unlimited, listed_devices, other_devices, rules_reaching};
pub use spec::{Spec, bind_source};
pub use state::State;
