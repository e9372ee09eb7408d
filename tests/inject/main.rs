//! Live injection with the real runtimes, as root: what reaches a container, and what a hostile image can't make it
//! do. `tests/run test-inject`, or one story with `cargo test --test inject NAME`.

#[path = "../support/mod.rs"]
mod support;

mod cgroup;
mod hostile;
mod live;
mod nodes;
mod permission;
mod programs;
