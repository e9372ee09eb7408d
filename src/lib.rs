//! `oci-mig-hook`: a container's own NVIDIA MIG device, or whole GPU, reserved before it starts and given back when it ends.
//!
//! The modules in the order in which they depend on one another; `tests/architecture` keeps the arrows.

/// What went wrong, why, and the remedy; the exit code.
pub mod failure;

/// Where control groups are, whose they are, what lives in them. Reads only.
pub mod cgroup;

/// The runtimes' documents: a container's state, its config.json, its place in a pod; a runtime's command line.
pub mod oci;

/// The one line that people read, wherever they look for it.
pub mod report;

/// The words: profile, placement, device, inventory. Pure.
pub mod mig;

/// The command line, as types.
pub mod cli;

/// What an image requires of the machine: `NVIDIA_REQUIRE_*`, read and judged. Pure.
pub mod require;

/// What a container asks for: annotations to a request. Pure.
pub mod request;

/// The choice: which device serves a request. Pure.
pub mod policy;

/// What a container is to be given, as data, and its rendering into config.json.
pub mod edits;

/// Who holds which devices: the record, the ledger and its lock, liveness.
pub mod lease;

/// The transaction: take back what is free, decide, record.
pub mod reserve;

/// Pending to Held, once the container exists.
pub mod confirm;

/// The inverse of reserve.
pub mod release;

/// The configuration file, resolved.
pub mod config;

/// What this machine has: driver and its files, NVML, capabilities, device nodes.
pub mod host;

/// Edits into a live container: nodes, files and a mask of /proc in its mount namespace, permission in its control group.
pub mod inject;

/// Front doors for runtimes.
pub mod stage;

/// Front doors for people.
pub mod operator;
