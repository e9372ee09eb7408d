//! `oci-mig-hook`: a container's own NVIDIA MIG device, reserved before it starts and given back when it ends.
//!
//! The modules in the order in which they depend on one another; `tests/architecture.rs` keeps the arrows.

/// Where control groups are, whose they are, what lives in them. Reads only.
pub mod cgroup;
/// The configuration file, resolved.
pub mod config;
/// Lengths of time as people write them.
pub mod duration;
/// What a container is to be given, as data.
pub mod edits;
/// What went wrong, why, and the remedy; the exit code.
pub mod failure;
/// What this machine has: driver, NVML, capabilities, device nodes.
pub mod host;
/// Edits into a live container: nodes in its mount namespace, permission in its control group.
pub mod inject;
/// Who holds which devices: the record, the ledger and its lock, liveness.
pub mod lease;
/// The words: profile, placement, device, inventory. Pure.
pub mod mig;
/// What a container asks for: annotations to a request. Pure.
pub mod request;
