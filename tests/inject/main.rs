//! Live injection with the real runtimes, as root: what reaches a container, and what a hostile image can't make it
//! do. `tests/run test-inject`, or one story with `cargo test --test inject NAME`.

// The end-to-end tests share it: what these don't use, those do.
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;

mod cgroup;
mod files;
mod hostile;
mod live;
mod mask;
mod nodes;
mod permission;
mod programs;
