//! Leases: who holds which devices, in files below one folder, under one lock.
//!
//! ```text
//! /run/oci-mig-hook/          root's, 0700: gone after a reboot, and every lease with it
//!     lock                    flock(2): whoever holds it may change what follows
//!     leases/<lease id>.json  one lease, written whole and renamed into place
//!     leases/.<lease id>.new  a write that was cut short: removed by the next that holds the lock
//!     runtime                 a link to the runtime that oci-mig-runtime found and keeps to (`stage/runtime/choice.rs`)
//!     runtime.default         a link to what the default configuration last came to; in the default folder only
//! ```
//!
//! | from      | to        | by whom                   | when                                                   |
//! |-----------|-----------|---------------------------|--------------------------------------------------------|
//! | -         | Pending   | reserve, before create    | the devices are under no lease                         |
//! | -         | Held      | reserve, container exists | the devices are under no lease                         |
//! | Pending   | Held      | confirm                   | it is this container's and names these devices         |
//! | Pending   | Pending   | reserve, asked again      | same container and request: its time anew, bound to who makes it now |
//! | Pending   | -         | reserve, asked again      | same container and engine, another request             |
//! | Pending   | -         | the next reservation      | its maker is gone or late and its cgroup holds nothing |
//! | Pending   | -         | release, a stage's undo   | the end is announced by the lease's name               |
//! | Held      | Releasing | release by name           | the end is announced and the process still lives       |
//! | Held      | Releasing | release, next reservation | the process is gone, it shared its pid namespace, and its cgroup is populated |
//! | Held      | -         | release, next reservation | the holder is gone                                     |
//! | Held      | -         | a stage's undo            | the live container could not be given its devices      |
//! | Releasing | -         | release, next reservation | the process is gone and the cgroup has emptied         |
//!
//! Each row is one rename or one unlink, so a crash leaves a lease before or after it, never between. The rules
//! themselves are in [`transition`], pure; what they are fed is read by [`liveness`].

#![forbid(unsafe_code)]

mod device_record;
mod files;
mod ledger;
pub mod liveness;
mod lock;
mod queue;
mod reconcile;
mod record;
pub mod transition;
mod unreadable;
mod watch;

pub use device_record::DeviceRecord;
pub use ledger::{Contents, Ledger, LockedLedger};
pub use queue::Ticket;
pub use reconcile::{Judged, Judgement, judge};
pub use record::{Container, Holder, Lease, LeaseId, LeaseState, LeasedDevice, LeasedMig, Process, VERSION};
pub use unreadable::Unreadable;
pub use watch::{End, Watch};
