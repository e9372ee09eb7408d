//! `oci-mig-hook setup` on real configuration files: untouched, edited before, edited by hand since, and undone.
//!
//! That the engines run containers with the result is tests/e2e's to show.

mod containerd;
mod crio;
mod docker;
mod files;
mod place;
mod podman;
mod podman_usual;
