//! The leases' protocol as a model, and every order of events tried in it.
//!
//! What decides is the program's own: `oci_mig_hook::lease::transition`. The rest is told here once more, as small as it can
//! be: the machine ([`machine`]), the ledger's files ([`ledger`]), what the program's stages write under the lock and in
//! which order ([`stage`]), and what befalls any of them ([`possible`]). The machine is a bad one: whoever dies leaves its pid
//! to a stranger at once, whatever can be killed is, time runs out at any moment, hooks come late or twice or never, bundles
//! are copied, files rot.
//!
//! One stretch under the lock is one action, with an outcome for each write after which it can be killed. Nothing else
//! happens in between: what is decided under the lock rests on what was seen when it was taken, what is written is read by
//! nobody else before it is let go, and dying processes write no file. So any order in which others move meanwhile comes to
//! a state that is reached without it as well, where they moved before or after.
//!
//! What it does not hold: the real system calls (crash injection and the soak do), reads that fail for a moment (a file that
//! can't be read is one that rotted), a container with neither a cgroup nor a pid namespace of its own that leaves processes
//! behind (nobody can see those; such a container is served only with `allow_privileged`), and `release --force`.

#![forbid(unsafe_code)]

pub mod action;
pub mod cast;
pub mod ledger;
pub mod machine;
pub mod model;
pub mod plant;
pub mod possible;
pub mod property;
pub mod rule;
pub mod sight;
pub mod stage;
pub mod symmetry;
