//! Leases: who holds which devices, in files below one folder, under one lock.
//!
//! ```text
//! /run/oci-mig-hook/          root's, 0700: gone after a reboot, and every lease with it
//!     lock                    flock(2): whoever holds it may change what follows
//!     leases/<lease id>.json  one lease
//!     devices/<uuid>          one held device: what a reservation reads (`index`), and what tells when the lease can't be read.
//!                             Written before it, removed after it
//!                             The times of change of leases/ and devices/ are a seal: nobody else changed them (`seal`)
//!     waiting/<number>.json   one who waits, and its place (`queue`)
//!     unfinished              what is being written: whole, it is renamed into its place above. One is enough under the
//!                             lock; what a killed writer left is the next one's to overwrite
//!     inventory.json          what the driver said last,
//!     driver-files.json       its files, as they were found, and
//!     stuck/<NVML index>      a GPU at which it hung: none of these the ledger's, written without the lock (`host`)
//!     runtime                 a link to the runtime that oci-mig-runtime found and keeps to (`stage/runtime/choice.rs`)
//!     runtime.default         a link to what the default configuration last came to; in the default folder only
//! ```
//!
//! A lease is
//!
//! - `Pending`, reserved: bound at first to the reserving process itself, while that asks the driver, and then to the process
//!   that makes the container, its maker;
//! - `Held`, a container's that exists: bound to its first process;
//! - `Releasing`: its end was announced, or its first process is gone, and something of it may still run. Its devices are
//!   nobody else's yet.
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
//! | Pending   | -         | release by name           | the end is announced, and its cgroup holds nothing     |
//! | Pending   | -         | a stage's undo            | its config could not be handed on, and nobody has taken it over |
//! | Held      | Releasing | release by name           | the end is announced, and the process lives, or may: it is another pid namespace's and its cgroup isn't seen empty |
//! | Held      | Releasing | release, next reservation | the process is gone, it shared its pid namespace, and its cgroup is populated |
//! | Held      | -         | release, next reservation | the holder is gone                                     |
//! | Held      | -         | a stage's undo            | the live container could not be given its devices      |
//! | Releasing | -         | release, next reservation | the process is gone and the cgroup has emptied         |
//!
//! What the next reservation takes back, `gc` takes back too; `release` takes what somebody names. The rules themselves are
//! in [`transition`], pure; what they are fed is read by [`liveness`].
//!
//! Each row is one rename or one unlink of the lease. Its devices' records are written before it and removed after it, one
//! by one. Whoever is killed lets go of the lock, and leaves the lease as it was or as it is to be. Where its records say
//! something else the next reservation leaves it alone as long as these say that it stands:
//!
//! | who is killed           | where                       | what stands                    | what becomes of it           |
//! |-------------------------|-----------------------------|--------------------------------|------------------------------|
//! | reserve, first step     | between records and lease   | records whose lease isn't there | they keep nothing out of use: the devices' next lease writes over them, or `gc` removes them |
//! |                         | after the lease, or while the driver is asked | Pending, bound to a process that is gone | taken back by whoever looks next: a reservation, `gc`, a delete |
//! | reserve, last step      | between records and lease   | the same, under records that know more | the same               |
//! |                         | after the lease, before the config is handed on | Pending, bound to the maker | taken back when that is gone (`oci-mig-runtime` is its own maker), or `lease.pending` is over |
//! |                         | the same, a live container's | Held                          | its hook failed, so its runtime kills it: as a holder that has ended |
//! | the maker               | before the container is made | Pending, bound to a process that is gone | taken back. A container that is made all the same keeps it as long as it is seen in its cgroup, or finds it gone and is not confirmed |
//! | confirm                 | between records and lease   | Pending, under records that say Held | its hook failed, so its runtime kills it: taken back once nothing is in its cgroup and the maker is gone or late, or at its announced end |
//! |                         | after the lease             | Held                           | the same, as a holder that has ended |
//! | undo                    | before the lease goes       | as reserve left it             | as above                     |
//! | release, the next reservation, `gc` | before the lease goes | as it was                | whoever looks next does it again |
//! |                         | between lease and records   | records whose lease isn't there | as above                    |
//! |                         | between records and lease, to Releasing | Held, under records that say Releasing | whoever looks next does it again |
//! | poststop                | before it began, or it is never called | Held, bound to a process that is gone | taken back, or Releasing as long as something is in its cgroup |
//! | the machine             | anywhere                    | nothing: /run is empty. Where it isn't, leases of another boot | void: nobody confirms them, whoever looks next takes them back |
//!
//! So in every state no device is two live holders', a live holder's lease stands, what a gone holder had comes back with one
//! look by who can see that it is gone, and a lease that can't be read costs its own devices alone, since all its records
//! stand. `tests/protocol` is this protocol as a model, with the same [`transition`], and tries every order of all this.

#![forbid(unsafe_code)]

mod device_record;
mod files;
mod index;
mod judge;
mod leased;
mod ledger;
pub mod liveness;
mod lock;
mod queue;
mod record;
mod seal;
pub mod transition;
mod unreadable;
mod watch;

pub use device_record::DeviceRecord;
pub use judge::{Judge, Judged, Judgement};
pub use leased::{LeasedDevice, LeasedGpu, LeasedMig, VERSION, layout};
pub use ledger::{Contents, Ledger, LockedLedger};
pub use queue::Ticket;
pub use record::{Container, Holder, Lease, LeaseId, LeaseState, Process};
pub use unreadable::Unreadable;
pub use watch::{End, Watch};
