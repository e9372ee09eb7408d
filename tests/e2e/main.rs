//! End to end, with the real runtimes and Podman, as root: `tests/run`, or one story of it with
//! `cargo test --test e2e NAME`.
//!
//! A runtime that is not installed fails its tests; `tests/setup` installs what they need.

#[path = "../support/mod.rs"]
mod support;

mod baseline;
mod baseline_engines;
mod both_doors;
mod cdi;
mod collecting;
mod containerd;
mod contention;
mod cri;
mod docker;
mod driver_files;
mod engines_contention;
mod guard;
mod hot_path;
mod interposed;
mod kills;
mod lifecycle;
mod lifecycle_podman;
mod live_device;
mod liveness;
mod mask;
mod own_device;
mod passthrough;
mod pods;
mod reasons;
mod refusals;
mod require;
mod setup;
mod stuck;
mod unmanaged;
mod versions;
mod waiting;
mod whole_gpus;
mod youki;
