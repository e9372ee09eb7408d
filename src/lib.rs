//! `oci-mig-hook`: a container's own NVIDIA MIG device, reserved before it starts and given back when it ends.
//!
//! The modules in the order in which they depend on one another; `tests/architecture.rs` keeps the arrows.

/// What a container is to be given, as data.
pub mod edits;
/// What went wrong, why, and the remedy; the exit code.
pub mod failure;
/// The words: profile, placement, device, inventory. Pure.
pub mod mig;
/// What a container asks for: annotations to a request. Pure.
pub mod request;
