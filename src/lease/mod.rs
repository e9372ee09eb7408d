//! Leases: who holds which devices, in files below one folder, under one lock.
//!
//! ```text
//! /run/oci-mig-hook/          root's, 0700: gone after a reboot, and every lease with it
//!     lock                    flock(2): whoever holds it may change what follows
//!     leases/<lease id>.json  one lease
//!     devices/<uuid>          one held device, for when its lease can't be read: written before it, removed after it
//!     waiting/<number>.json   one who waits, and its place (`queue`)
//!     unfinished              what is being written: whole, it is renamed into its place above. One is enough under the
//!                             lock; what a killed writer left is the next one's to overwrite
//!     inventory.json          what the driver said last, and
//!     stuck/<NVML index>      a GPU at which it hung: none of the ledger's, written without the lock (`host`)
//!     runtime                 a link to the runtime that oci-mig-runtime found and keeps to (`stage/runtime/choice.rs`)
//!     runtime.default         a link to what the default configuration last came to; in the default folder only
//! ```
//!
//! | from      | to        | by whom                   | when                                                   |
//! |-----------|-----------|---------------------------|--------------------------------------------------------|
//! | -         | Pending   | reserve                   | the devices are under no lease: it is bound to the reserving process |
//! | Pending   | -         | reserve                   | the driver objects to a device, or doesn't answer      |
//! | Pending   | Pending   | reserve, before create    | the driver agrees, and it still stands: it is bound to who makes the container |
//! | Pending   | Held      | reserve, container exists | the driver agrees, and it still stands                 |
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
//! What the next reservation takes back, `gc` takes back too; `release` takes what somebody names. Each row is one rename
//! or one unlink of the lease, so a crash leaves it before or after that, never between; a device's record that stays
//! behind keeps nothing out of use. The rules themselves are in [`transition`], pure; what they are fed is read by
//! [`liveness`].

#![forbid(unsafe_code)]

mod device_record;
mod files;
mod judge;
mod ledger;
pub mod liveness;
mod lock;
mod queue;
mod record;
pub mod transition;
mod unreadable;
mod watch;

pub use device_record::DeviceRecord;
pub use judge::{Judge, Judged, Judgement};
pub use ledger::{Contents, Ledger, LockedLedger};
pub use queue::Ticket;
pub use record::{Container, Holder, Lease, LeaseId, LeaseState, LeasedDevice, LeasedMig, Process, VERSION};
pub use unreadable::Unreadable;
pub use watch::{End, Watch};
