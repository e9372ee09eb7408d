//! Whether anybody but this program has changed the ledger's folders: an older version, or a person.
//!
//! As long as nobody has, every lease has its devices' records, and these alone tell a reservation what is held
//! ([`super::index`]). Otherwise it reads every lease there is.
//!
//! The seal is a folder's own time of change, set to [`SEALED`]: whatever is made, renamed or removed in it sets that to the
//! present. This program sets it back when it lets go of the lock, where it was so before; killed in between it leaves a
//! broken seal, and the next reservation reads everything, once.

use std::fs::{File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::VERSION;

/// Seconds since 1970: no folder was changed then, and each layout has its own.
const SEALED: u64 = VERSION as u64;

/// The seal of some folders, as it was found.
#[derive(Debug)]
pub struct Seal {
    folders: [PathBuf; 2],
    is_whole: bool,
    is_touched: bool,
}

impl Seal {
    /// Looks at it.
    pub fn look(folders: [PathBuf; 2]) -> Seal {
        Seal {
            is_whole: folders.iter().all(|folder| is_sealed(folder)),
            is_touched: false,
            folders,
        }
    }

    /// Whether nobody else has changed the folders.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// This program changes a folder now.
    pub fn touch(&mut self) {
        self.is_touched = true;
    }

    /// All that is there was looked at, and is as this program would have written it.
    pub fn mend(&mut self) {
        self.is_touched |= !self.is_whole;
        self.is_whole = true;
    }
}

impl Drop for Seal {
    /// Where it can't be set the next reservation reads everything: slower, and as sure.
    fn drop(&mut self) {
        if self.is_whole && self.is_touched {
            self.folders.iter().for_each(|folder| seal(folder));
        }
    }
}

fn is_sealed(folder: &Path) -> bool {
    let found = std::fs::symlink_metadata(folder);
    found.is_ok_and(|found| u64::try_from(found.mtime()) == Ok(SEALED) && found.mtime_nsec() == 0)
}

fn seal(folder: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(SEALED);
    let sealed = File::open(folder).and_then(|folder| folder.set_times(FileTimes::new().set_modified(time)));
    // Said to nobody: see above.
    drop(sealed);
}
