//! The ledger: the folder of leases. Anyone may read it; only who holds the lock may change it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::files::{self, Document, entries, make_private, read, unusable, write};
use super::leased::layout;
use super::liveness::Here;
use super::lock::{self, Lock};
use super::seal::Seal;
use super::unreadable::{Unreadable, known_by_records};
use super::{DeviceRecord, Lease, LeaseId};
use crate::failure::Failure;

/// The folder of leases.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
}

/// The ledger while its lock is held: the only thing that can change a lease.
#[derive(Debug)]
pub struct LockedLedger<'ledger> {
    ledger: &'ledger Ledger,
    // Before the lock, and so dropped before it.
    seal: Seal,
    _lock: Lock,
}

/// Everything that stands in the ledger.
#[derive(Debug, Default)]
pub struct Contents {
    /// The leases, by id.
    pub leases: Vec<Lease>,
    /// Files that should be leases and can't be read as such.
    pub unreadable: Vec<Unreadable>,
}

impl Ledger {
    /// Opens the ledger in `dir`, making the folder where it isn't there yet.
    ///
    /// # Errors
    /// A host failure where the folder can't be made, or is not ours alone.
    pub fn open(dir: &Path) -> Result<Ledger, Failure> {
        let ledger = Ledger { dir: dir.to_owned() };
        make_private(dir)?;
        make_private(&ledger.leases())?;
        make_private(&ledger.devices())?;
        Ok(ledger)
    }

    /// The ledger in `dir` if there is one. Makes nothing.
    ///
    /// # Errors
    /// A host failure where the folder can't be looked into, or is not ours.
    pub fn existing(dir: &Path) -> Result<Option<Ledger>, Failure> {
        let ledger = Ledger { dir: dir.to_owned() };
        match std::fs::symlink_metadata(ledger.leases()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(&format!("can't look into {}", dir.display()), &error)),
        }
        for folder in [dir, &ledger.leases()] {
            files::trusted(folder)?;
        }
        Ok(Some(ledger))
    }

    /// Waits for the lock; the ledger may be changed until the returned value is dropped.
    ///
    /// # Errors
    /// A host failure that names the lock's holder when it doesn't let go in time.
    pub fn lock(&self) -> Result<LockedLedger<'_>, Failure> {
        let lock = lock::take(&self.dir.join("lock"))?;
        Ok(LockedLedger {
            ledger: self,
            seal: Seal::look([self.leases(), self.devices()]),
            _lock: lock,
        })
    }

    /// Everything in the ledger. Without the lock this is a look at a moving thing: each lease is whole, but
    /// they need not all be of one moment.
    ///
    /// # Errors
    /// A host failure where the folder can't be listed.
    pub fn contents(&self) -> Result<Contents, Failure> {
        let mut contents = Contents::default();
        for path in entries(&self.leases())? {
            self.read_into(&mut contents, path);
        }
        contents.leases.sort_by(|a, b| a.id.cmp(&b.id));
        self.fill_in(&mut contents)?;
        Ok(contents)
    }

    /// Reads one lease's file; `path` may be its name alone.
    pub(super) fn read_into(&self, contents: &mut Contents, path: impl AsRef<Path>) {
        let path = self.leases().join(path);
        match read(&path) {
            Ok(Some(lease)) => contents.leases.push(lease),
            Ok(None) => {}
            Err(why) => contents.unreadable.push(Unreadable::new(path, &why)),
        }
    }

    /// Fills in what is known of leases that couldn't be read.
    pub(super) fn fill_in(&self, contents: &mut Contents) -> Result<(), Failure> {
        match contents.unreadable.is_empty() {
            true => Ok(()),
            false => known_by_records(&mut contents.unreadable, &self.devices()),
        }
    }

    /// The lease of that id, if there is one.
    ///
    /// # Errors
    /// A host failure where its file can't be read as a lease.
    pub fn get(&self, id: &LeaseId) -> Result<Option<Lease>, Failure> {
        let path = self.leases().join(Lease::file_name_of(id));
        read(&path).map_err(|why| {
            let mut unreadable = [Unreadable::new(path, &why)];
            match known_by_records(&mut unreadable, &self.devices()) {
                Ok(()) => unreadable[0].failure(),
                Err(failure) => unreadable[0].failure().and(&failure),
            }
        })
    }

    /// What was left behind by processes that were killed, and nobody needs: what an earlier version left unfinished, records
    /// of devices whose lease isn't there, tickets of waiters that are gone.
    ///
    /// # Errors
    /// A host failure where a folder can't be listed.
    pub fn leftovers(&self, here: &Here) -> Result<Vec<PathBuf>, Failure> {
        let mut found = files::unfinished(&self.leases())?;
        for path in entries(&self.devices())? {
            let record = read::<DeviceRecord>(&path);
            let is_left = |id: &LeaseId| files::is_gone(&self.leases().join(Lease::file_name_of(id)));
            if matches!(record, Ok(Some(record)) if is_left(&record.lease)) {
                found.push(path);
            }
        }
        let gone = self.tickets()?.into_iter().filter(|ticket| !ticket.counts(here));
        found.extend(gone.map(|ticket| self.waiting().join(ticket.file_name())));
        let unfinished = self.unfinished();
        found.extend((!files::is_gone(&unfinished)).then_some(unfinished));
        Ok(found)
    }

    pub(super) fn leases(&self) -> PathBuf {
        self.dir.join("leases")
    }

    pub(super) fn devices(&self) -> PathBuf {
        self.dir.join("devices")
    }

    pub(super) fn waiting(&self) -> PathBuf {
        self.dir.join("waiting")
    }

    fn unfinished(&self) -> PathBuf {
        self.dir.join("unfinished")
    }
}

impl LockedLedger<'_> {
    /// Everything in the ledger, as it stays until this lock is dropped.
    ///
    /// # Errors
    /// A host failure where the folder can't be listed.
    pub fn contents(&self) -> Result<Contents, Failure> {
        self.ledger.contents()
    }

    /// The lease of that id, if there is one.
    ///
    /// # Errors
    /// A host failure where its file can't be read as a lease.
    pub fn get(&self, id: &LeaseId) -> Result<Option<Lease>, Failure> {
        self.ledger.get(id)
    }

    /// Writes a lease: whole, or not at all. Its devices' records first, so that there is no lease without them.
    ///
    /// # Errors
    /// A host failure (no space, read-only); the lease that stood there before still stands.
    pub fn put(&mut self, lease: &Lease) -> Result<(), Failure> {
        let (leases, devices) = (self.ledger.leases(), self.ledger.devices());
        for record in DeviceRecord::of(lease) {
            self.write(&devices, &record)?;
        }
        self.write(&leases, lease)
    }

    /// Whether nobody but this program has changed the ledger, so that every lease has its devices' records.
    pub(super) fn is_sealed(&self) -> bool {
        self.seal.is_whole()
    }

    /// Takes note that all that is in the ledger was read, and is as this program writes it: leases of this version, or such
    /// as their records tell.
    pub fn seal(&mut self) {
        self.seal.mend();
    }

    pub(super) fn ledger(&self) -> &Ledger {
        self.ledger
    }

    pub(super) fn write<D: Document + Serialize>(
        &mut self,
        folder: &Path,
        document: &D,
    ) -> Result<(), Failure> {
        self.seal.touch();
        let unfinished = self.ledger.unfinished();
        let mut written = write(&unfinished, folder, document);
        if written
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::NotFound)
        {
            // An earlier version's ledger has no such folder yet.
            make_private(folder)?;
            written = write(&unfinished, folder, document);
        }
        written.map_err(|error| {
            // It would take the space that is missing. What can't be removed now is overwritten by the next.
            let _ = std::fs::remove_file(&unfinished);
            let path = folder.join(document.file_name());
            unusable(&format!("can't write {}", path.display()), &error)
        })
    }

    /// Writes a lease anew that is of an earlier version, with all that this version keeps of one; likewise one that lacks a
    /// record, where somebody else changed the ledger.
    ///
    /// # Errors
    /// As [`LockedLedger::put`].
    pub(super) fn complete(&mut self, lease: &Lease) -> Result<(), Failure> {
        let version = layout(&lease.devices).max(lease.version);
        match version > lease.version || !(self.is_sealed() || self.has_records(lease)) {
            true => self.put(&Lease {
                version,
                ..lease.clone()
            }),
            false => Ok(()),
        }
    }

    fn has_records(&self, lease: &Lease) -> bool {
        let devices = self.ledger.devices();
        let record = |name| read::<DeviceRecord>(&devices.join(DeviceRecord::file_name_of(&name)));
        let is_its = |record: &DeviceRecord| record.lease == lease.id && record.of == lease.devices.len();
        lease
            .names()
            .all(|name| matches!(record(name), Ok(Some(record)) if is_its(&record)))
    }

    /// Removes a lease, and then its devices' records; that it is gone already is no error. Then the records are gone too,
    /// or are another lease's by now: who comes late takes nothing away from that one.
    ///
    /// # Errors
    /// A host failure where a file can't be removed. A record that stays behind keeps nothing out of use.
    pub fn remove(&mut self, lease: &Lease) -> Result<(), Failure> {
        self.seal.touch();
        if !files::remove(&self.ledger.leases().join(Lease::file_name_of(&lease.id)))? {
            return Ok(());
        }
        for name in lease.names() {
            files::remove(&self.ledger.devices().join(DeviceRecord::file_name_of(&name)))?;
        }
        Ok(())
    }

    /// Removes a lease file that can't be read, and the records that name its lease.
    ///
    /// # Errors
    /// A host failure where a file can't be removed.
    pub fn discard(&mut self, unreadable: &Unreadable) -> Result<(), Failure> {
        self.seal.touch();
        files::remove(&unreadable.path)?;
        let id = unreadable.id();
        for path in entries(&self.ledger.devices())? {
            match read::<DeviceRecord>(&path) {
                Ok(Some(record)) if Some(&record.lease) == id.as_ref() => files::remove(&path)?,
                _ => continue,
            };
        }
        Ok(())
    }

    /// Removes one of what [`Ledger::leftovers`] found.
    ///
    /// # Errors
    /// A host failure where one can't be removed.
    pub fn sweep(&mut self, leftover: &Path) -> Result<(), Failure> {
        self.seal.touch();
        files::remove(leftover).map(drop)
    }
}
