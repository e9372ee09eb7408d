//! `oci-mig-hook`: a container's own NVIDIA MIG device, reserved before it starts and given back when it ends.
//!
//! The modules in the order in which they depend on one another; `tests/architecture.rs` keeps the arrows.

/// Where control groups are, whose they are, what lives in them. Reads only.
pub mod cgroup;
/// What a container is to be given, as data.
pub mod edits;
/// What went wrong, why, and the remedy; the exit code.
pub mod failure;
/// Edits into a live container: nodes in its mount namespace, permission in its control group.
pub mod inject;
/// The words: profile, placement, device, inventory. Pure.
pub mod mig;
