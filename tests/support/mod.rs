//! What the end-to-end tests stand on: views of control groups, bundles, the real runtimes, Podman, containerd with
//! its CRI, Docker, and a probe that says what a container can open.
//!
//! Everything a test makes lies below one folder and one control group of this process, and a process that
//! outlives ours takes both away however the tests end.

pub mod bundle;
pub mod cgroups;
pub mod container;
pub mod containerd;
pub mod cri;
pub mod ctr;
pub mod daemon;
pub mod docker;
pub mod driver;
pub mod driver_proc;
pub mod frozen;
pub mod gate;
pub mod image;
pub mod interposed;
pub mod isolation;
pub mod log;
pub mod machine;
pub mod next;
pub mod podman;
pub mod probe;
pub mod process;
pub mod rlimit;
pub mod rootfs;
pub mod runtime;
pub mod scratch;
pub mod stream;
pub mod trace;
