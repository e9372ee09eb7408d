//! What is to be changed, decided in full before anything is: the files, what to know, what to do next.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::file::Found;
use crate::failure::Failure;

/// Everything that one `setup` would do.
#[derive(Debug, Default)]
pub struct Plan {
    /// In the order in which they are written; a file that stays as it is isn't among them.
    pub changes: Vec<Change>,
    /// Where nothing is to be changed: why.
    pub already: String,
    /// What the operator should know before relying on it.
    pub notes: Vec<String>,
    /// What to do when it is done, in order.
    pub next: Vec<String>,
    /// Folders of ours that go when they are empty, the inner one first.
    pub folders: Vec<PathBuf>,
}

impl Plan {
    /// Does it.
    pub fn write(&self) -> Result<(), Failure> {
        self.changes.iter().try_for_each(Change::write)?;
        for folder in &self.folders {
            // One that is not empty stays.
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }
}

/// One file, before and after.
#[derive(Debug)]
pub struct Change {
    /// The file as it is.
    pub found: Found,
    /// What it is to say; `None` removes it.
    pub after: Option<String>,
    /// What becomes of the copy of the file as it was before us.
    pub backup: Backup,
}

/// What becomes of a file's backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backup {
    /// There is none, and none is needed.
    None,
    /// Taken now: the file is not ours yet.
    Take,
    /// There is one, and it stays.
    Keep,
    /// The file says again what the backup says: removed.
    Forget,
}

impl Change {
    /// Puts our entry in. `is_ours_already`: an entry of ours is only brought up to date, and the backup, which is
    /// of a file without one, stays.
    pub fn put_in(found: Found, after: String, is_ours_already: bool) -> Result<Change, Failure> {
        let backup = match is_ours_already {
            _ if found.text.is_none() => Backup::None,
            false => Backup::Take,
            true if found.backup()?.is_some() => Backup::Keep,
            true => Backup::None,
        };
        Ok(Change {
            found,
            after: Some(after),
            backup,
        })
    }

    /// Takes our entry out. Where nothing but our own change has happened to the file, which `again` makes, it is what
    /// it was before us, byte for byte: its backup, or nothing. Else it is what is `left`, unless that says nothing.
    pub fn take_out(
        found: Found,
        again: impl FnOnce(&str) -> Result<String, Failure>,
        left: String,
        says_nothing: bool,
    ) -> Result<Change, Failure> {
        let backup = found.backup()?;
        let again = again(backup.as_deref().unwrap_or_default()).ok();
        let after = match &backup {
            _ if again == found.text => backup.clone(),
            None if says_nothing => None,
            _ => Some(left),
        };
        let backup = match backup {
            None => Backup::None,
            backup if backup == after => Backup::Forget,
            Some(_) => Backup::Keep,
        };
        Ok(Change { found, after, backup })
    }

    /// Removes a file that is ours alone.
    pub fn remove(found: Found) -> Change {
        Change {
            found,
            after: None,
            backup: Backup::None,
        }
    }

    fn write(&self) -> Result<(), Failure> {
        if self.backup == Backup::Take {
            self.found.back_up()?;
        }
        self.found.write(self.after.as_deref())?;
        match self.backup {
            Backup::Forget => self.found.forget_backup(),
            _ => Ok(()),
        }
    }
}
