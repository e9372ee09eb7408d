//! The ledger: the folder of leases. Anyone may read it; only who holds the lock may change it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;

use super::files::{make_private, read, unusable, write};
use super::transition::Fate;
use super::{Lease, LeaseId, LeaseState, liveness, lock};
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
    _lock: Flock<File>,
}

/// Everything that stands in the ledger.
#[derive(Debug, Default)]
pub struct Contents {
    /// The leases, by id.
    pub leases: Vec<Lease>,
    /// Files that should be leases and can't be read as such: which devices they hold is unknown.
    pub unreadable: Vec<Unreadable>,
}

/// A lease file that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl Ledger {
    /// Opens the ledger in `dir`, making the folder where it isn't there yet.
    ///
    /// # Errors
    /// A host failure where the folder can't be made, or is not ours alone.
    pub fn open(dir: &Path) -> Result<Ledger, Failure> {
        for folder in [dir.to_owned(), dir.join("leases")] {
            make_private(&folder)?;
        }
        Ok(Ledger { dir: dir.to_owned() })
    }

    /// The ledger in `dir` if there is one. Makes nothing.
    ///
    /// # Errors
    /// A host failure where the folder can't be looked into.
    pub fn existing(dir: &Path) -> Result<Option<Ledger>, Failure> {
        match std::fs::symlink_metadata(dir.join("leases")) {
            Ok(_) => Ok(Some(Ledger { dir: dir.to_owned() })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(&format!("can't look into {}", dir.display()), &error)),
        }
    }

    /// Waits for the lock; the ledger may be changed until the returned value is dropped.
    ///
    /// # Errors
    /// A host failure that names the lock's holder when it doesn't let go in time.
    pub fn lock(&self) -> Result<LockedLedger<'_>, Failure> {
        let lock = lock::take(&self.dir.join("lock"))?;
        Ok(LockedLedger {
            ledger: self,
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
        for path in self.entries()? {
            match read(&path) {
                Ok(Some(lease)) => contents.leases.push(lease),
                Ok(None) => {}
                Err(why) => contents.unreadable.push(Unreadable { path, why }),
            }
        }
        contents.leases.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(contents)
    }

    /// The lease of that id, if there is one.
    ///
    /// # Errors
    /// A host failure where its file can't be read as a lease.
    pub fn get(&self, id: &LeaseId) -> Result<Option<Lease>, Failure> {
        let path = self.path(id);
        read(&path).map_err(|why| Unreadable { path, why }.failure())
    }

    fn path(&self, id: &LeaseId) -> PathBuf {
        self.dir.join("leases").join(format!("{id}.json"))
    }

    fn entries(&self) -> Result<Vec<PathBuf>, Failure> {
        let folder = self.dir.join("leases");
        let list = || -> io::Result<Vec<PathBuf>> {
            std::fs::read_dir(&folder)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        };
        let all = list().map_err(|error| unusable(&format!("can't list {}", folder.display()), &error))?;
        Ok(all.into_iter().filter(|path| !is_unfinished(path)).collect())
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

    /// Writes a lease: whole, or not at all.
    ///
    /// # Errors
    /// A host failure (no space, read-only); what stood there before still stands.
    pub fn put(&mut self, lease: &Lease) -> Result<(), Failure> {
        let path = self.ledger.path(&lease.id);
        let unfinished = path.with_file_name(format!(".{}.new", lease.id));
        write(&unfinished, &path, lease).map_err(|error| {
            // What can't be removed now is swept away by the next that holds the lock.
            let _ = std::fs::remove_file(&unfinished);
            unusable(&format!("can't write {}", path.display()), &error)
        })
    }

    /// Removes a lease; that it is gone already is no error.
    ///
    /// # Errors
    /// A host failure where the file can't be removed.
    pub fn remove(&mut self, id: &LeaseId) -> Result<(), Failure> {
        let path = self.ledger.path(id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(unusable(&format!("can't remove {}", path.display()), &error))
            }
            _ => Ok(()),
        }
    }

    /// Carries out what was decided on a lease.
    ///
    /// # Errors
    /// As [`LockedLedger::put`] and [`LockedLedger::remove`].
    pub fn carry_out(&mut self, lease: Lease, fate: Fate) -> Result<(), Failure> {
        match fate {
            Fate::Keep => Ok(()),
            Fate::Remove => self.remove(&lease.id),
            Fate::Release => self.put(&Lease {
                state: LeaseState::Releasing,
                written: liveness::now(),
                ..lease
            }),
        }
    }

    /// Removes what writers that were killed left behind. Under the lock nobody else is writing.
    ///
    /// # Errors
    /// A host failure where the folder can't be listed.
    pub fn sweep(&mut self) -> Result<(), Failure> {
        let folder = self.ledger.dir.join("leases");
        let list = std::fs::read_dir(&folder)
            .map_err(|error| unusable(&format!("can't list {}", folder.display()), &error))?;
        for path in list
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| is_unfinished(path))
        {
            // A leftover does no harm: it is never read.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}

impl Unreadable {
    /// As the error that it is for whoever needs to know every lease.
    pub fn failure(&self) -> Failure {
        Failure::host(
            format!("ledger: unreadable lease file {}", self.path.display()),
            &self.why,
        )
        .remedy(
            "which devices it holds is unknown, so none is handed out; end its container and remove the file",
        )
    }
}

fn is_unfinished(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}
