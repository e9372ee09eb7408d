//! The driver's files remembered: for as long as the driver is the same one, and no folder that they were looked for in
//! has changed. The search reads folders of thousands of names; a container that asks pays for a look at some thirty.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::root::{Changed, Root};
use super::table::Socket;
use crate::edits::driver::DriverFile;
use crate::host::kept::Folder;
use crate::host::moment;

/// The file's name in the ledger's folder.
const NAME: &str = "driver-files.json";

/// The layout of the file. Any other than this is not read.
const VERSION: u32 = 2;

/// What they are valid for, apart from the folders. Compared whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// This program's version: another may know other files.
    program: String,
    /// The kernel's boot id.
    boot: String,
    /// The driver's version.
    driver: String,
    /// `driver.root`.
    root: PathBuf,
}

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    version: u32,
    key: Key,
    /// The folders that were looked at.
    folders: Vec<Time>,
    /// What was found.
    pub files: Vec<DriverFile>,
    /// Where sockets may be: looked at every time.
    pub sockets: Vec<Socket>,
}

impl Key {
    /// None where the kernel doesn't say which boot this is.
    pub fn new(driver: &str, root: &Path) -> Option<Key> {
        Some(Key {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            boot: moment::boot()?,
            driver: driver.to_owned(),
            root: root.to_owned(),
        })
    }
}

impl Remembered {
    /// Reads what was remembered, if all is as it was.
    pub fn read(ledger: &Path, key: &Key, root: &Root) -> Option<Remembered> {
        let text = Folder::of_ledger(ledger)?.read(NAME)?;
        let found: Remembered = serde_json::from_slice(&text).ok()?;
        let unchanged = |(path, then): &Time| root.changed(path) == *then;
        let valid = found.version == VERSION && found.key == *key && found.folders.iter().all(unchanged);
        valid.then_some(found)
    }
}

/// A folder, and when it was changed; none where it wasn't there.
pub type Time = (PathBuf, Option<Changed>);

/// The times of folders, taken before anything is looked for in them: each folder once, whatever links lead to it, and of
/// those that aren't there only those whose coming no other folder would show.
pub fn times(root: &Root, folders: &[PathBuf]) -> Vec<Time> {
    let mut times: Vec<Time> = Vec::new();
    for folder in folders {
        let time = root.changed(folder);
        if time.is_none() || times.iter().all(|(_, known)| *known != time) {
            times.push((folder.clone(), time));
        }
    }
    let there: Vec<Changed> = times.iter().filter_map(|(_, time)| *time).collect();
    let shows = |folder: &Path| {
        let mut above = folder.ancestors().skip(1);
        above
            .find_map(|folder| root.changed(folder))
            .is_some_and(|time| there.contains(&time))
    };
    times.retain(|(folder, time)| time.is_some() || !shows(folder));
    times
}

/// Remembers; does nothing where that can't be.
pub fn remember(ledger: &Path, key: Key, folders: Vec<Time>, files: &[DriverFile], sockets: &[Socket]) {
    let remembered = Remembered {
        version: VERSION,
        key,
        folders,
        files: files.to_vec(),
        sockets: sockets.to_vec(),
    };
    if let (Some(folder), Ok(text)) = (Folder::of_ledger(ledger), serde_json::to_vec(&remembered)) {
        folder.write(NAME, &text);
    }
}

/// Forgets them: the next container that asks has them looked for anew.
pub fn forget(ledger: &Path) {
    if let Some(folder) = Folder::of_ledger(ledger) {
        folder.remove(NAME);
    }
}
