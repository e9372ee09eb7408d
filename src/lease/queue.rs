//! Who waits for a device, in the order in which they came: `waiting/<number>.json`, one ticket each.
//!
//! A ticket is its waiter's as long as that lives, in its turn until then; who looks at the queue under the lock drops those of
//! waiters that are gone. It promises no device: whoever reserves leaves to earlier waiters what they could be served with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::files::{self, Document, entries, make_private, read};
use super::liveness::{self, Here};
use super::transition::ProcessState;
use super::{Ledger, LockedLedger, Process};
use crate::failure::Failure;
use crate::mig::DeviceName;

/// For how long after its time a ticket still counts: its waiter may be about to try a last time.
const GRACE: Duration = Duration::from_secs(5);

/// The layout of a ticket. One that avoids a whole GPU an earlier program can't read, and it loses nothing by that: no
/// device that such a program could give serves who waits for a GPU.
const LAYOUT: u32 = 2;

/// One who waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The layout of this record: [`LAYOUT`].
    pub version: u32,
    /// Its place: before every higher one.
    pub number: u64,
    /// The id of the container that waits.
    pub container: String,
    /// The process that waits.
    pub process: Process,
    /// What it asks for, as canonical annotations.
    pub request: BTreeMap<String, String>,
    /// It has a lease, and asks the driver about the devices: nothing is kept for it, and its place is kept in case that the
    /// driver objects.
    pub served: bool,
    /// Devices that wouldn't serve it, though they are free: somebody uses them without a lease.
    pub avoids: Vec<DeviceName>,
    /// The kernel's boot id when it was written.
    pub boot_id: String,
    /// Since when it waits: milliseconds of CLOCK_BOOTTIME.
    pub since: u64,
    /// Until when, likewise.
    pub until: u64,
}

impl Ticket {
    /// A ticket for this process, without a place yet.
    ///
    /// # Errors
    /// A host failure where /proc doesn't show this process.
    pub fn new(
        here: &Here,
        container: &str,
        request: BTreeMap<String, String>,
        wait: Duration,
    ) -> Result<Ticket, Failure> {
        let since = liveness::now();
        Ok(Ticket {
            version: LAYOUT,
            number: 0,
            container: container.to_owned(),
            process: here.name_process(nix::unistd::getpid().as_raw())?,
            request,
            served: false,
            avoids: Vec::new(),
            boot_id: here.boot_id.clone(),
            since,
            until: since.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        })
    }

    /// What people call it: the first 12 characters of the container's id.
    pub fn short_name(&self) -> String {
        self.container.chars().take(12).collect()
    }

    /// How much of its time is left.
    pub fn left(&self) -> Duration {
        Duration::from_millis(self.until.saturating_sub(liveness::now()))
    }

    /// Whether its waiter still waits, as far as can be seen: one of another pid namespace does until its time is over.
    pub fn counts(&self, here: &Here) -> bool {
        let grace = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
        self.boot_id == here.boot_id
            && liveness::now() <= self.until.saturating_add(grace)
            && here.process_state(&self.process) != ProcessState::Gone
    }

    /// Whether it has a place in the queue.
    pub fn has_place(&self) -> bool {
        self.number > 0
    }

    /// Whether both are the same waiter's.
    fn is(&self, other: &Ticket) -> bool {
        self.process == other.process && self.since == other.since
    }
}

impl Document for Ticket {
    fn version(&self) -> u32 {
        self.version
    }

    /// Twenty digits, as many as the largest number has, so that names sort as numbers do.
    fn file_name(&self) -> String {
        format!("{:020}.json", self.number)
    }
}

impl Ledger {
    /// Who waits, first come first. A ticket that can't be read is nobody's: it only ever held a place.
    ///
    /// # Errors
    /// A host failure where the folder can't be listed.
    pub fn tickets(&self) -> Result<Vec<Ticket>, Failure> {
        let paths = entries(&self.waiting())?;
        let mut tickets: Vec<Ticket> = paths
            .iter()
            .filter_map(|path| read(path).ok().flatten())
            .collect();
        tickets.sort_by_key(|ticket| ticket.number);
        Ok(tickets)
    }

    /// The highest number that is taken, by whomever: also by a ticket that this version can't read.
    fn last_number(&self) -> Result<u64, Failure> {
        let paths = entries(&self.waiting())?;
        let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse().ok();
        Ok(paths.iter().filter_map(number).max().unwrap_or(0))
    }

    /// The folder of the tickets, made where it isn't there yet.
    ///
    /// # Errors
    /// A host failure where it can't be made.
    pub fn waiting_folder(&self) -> Result<PathBuf, Failure> {
        let folder = self.waiting();
        make_private(&folder)?;
        Ok(folder)
    }
}

impl LockedLedger<'_> {
    /// Who waits, first come first, after the tickets of waiters that are gone have been dropped.
    ///
    /// # Errors
    /// A host failure where the folder can't be listed or changed.
    pub fn living_queue(&mut self, here: &Here) -> Result<Vec<Ticket>, Failure> {
        let (waiting, gone): (Vec<_>, Vec<_>) = self
            .ledger()
            .tickets()?
            .into_iter()
            .partition(|ticket| ticket.counts(here));
        for ticket in &gone {
            self.leave(ticket)?;
        }
        Ok(waiting)
    }

    /// Gives the ticket a place at the end of `queue`, or writes it anew where it has its place there.
    ///
    /// # Errors
    /// A host failure where it can't be written.
    pub fn enter(&mut self, queue: &[Ticket], ticket: &mut Ticket) -> Result<(), Failure> {
        let own = queue.iter().find(|other| other.is(ticket));
        match own {
            Some(own) if own == ticket => return Ok(()),
            Some(_) => {}
            None => ticket.number = self.ledger().last_number()?.saturating_add(1),
        }
        let folder = self.ledger().waiting_folder()?;
        self.write(&folder, ticket)
    }

    /// Gives up a place; that it is gone already is no error.
    ///
    /// # Errors
    /// A host failure where it can't be removed.
    pub fn leave(&mut self, ticket: &Ticket) -> Result<(), Failure> {
        let path = self.ledger().waiting().join(ticket.file_name());
        match read::<Ticket>(&path) {
            // It was dropped, its time being over, and another waiter got its number.
            Ok(Some(found)) if !found.is(ticket) => Ok(()),
            _ => files::remove(&path).map(drop),
        }
    }
}
