//! What a snapshot is valid for: everything that can be seen of the node without asking the driver. Compared whole.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::host::moment;

/// What can be seen of the node without asking the driver.
///
/// It doesn't show MIG mode, profiles, UUIDs, or whether a GPU still answers: a check of the chosen devices does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// This program's version: another may read the same GPUs otherwise.
    program: String,
    /// The kernel's boot id.
    boot: String,
    /// /proc's own text of the driver's version.
    driver: String,
    /// NVML's library.
    library: String,
    /// The GPUs' bus ids.
    gpus: Vec<String>,
    /// The GPUs of the capabilities tree and the instances on them: `gpu0`, `gpu0/gi7`, `gpu0/gi7/ci0`.
    instances: Vec<String>,
}

impl Key {
    /// Looks at the node whose /proc is at `proc`. None where anything of it can't be read.
    pub fn look(proc: &Path, library: &OsStr) -> Option<Key> {
        let driver = proc.join("driver/nvidia");
        let text = |path: &Path| std::fs::read_to_string(path).ok();
        Some(Key {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            boot: moment::boot()?,
            driver: text(&driver.join("version"))?,
            library: library.to_str()?.to_owned(),
            gpus: gpus(proc)?,
            instances: instances(&driver.join("capabilities")).ok()?,
        })
    }
}

/// The bus ids of the GPUs that the driver has, those that it was told to leave out too.
pub fn gpus(proc: &Path) -> Option<Vec<String>> {
    let folder = open_in(CWD, &proc.join("driver/nvidia/gpus")).ok()?;
    names(&folder, "", &mut Buffer::with_capacity(LISTED_AT_ONCE)).ok()
}

/// What names are listed into.
type Buffer = Vec<u8>;

/// More than one folder's names take.
const LISTED_AT_ONCE: usize = 8 << 10;

/// Folders only: what is in an access file is read for the device that is chosen. Every container that asks pays for
/// this, on a node of 56 devices for 73 folders.
fn instances(capabilities: &Path) -> Result<Vec<String>, Errno> {
    let mut buffer = Buffer::with_capacity(LISTED_AT_ONCE);
    let mut found = Vec::new();
    let folder = open_in(CWD, capabilities)?;
    for gpu in names(&folder, "gpu", &mut buffer)? {
        let mig = match open_in(folder.as_fd(), Path::new(&format!("{gpu}/mig"))) {
            // A GPU that can't do MIG.
            Err(Errno::NOENT) => {
                found.push(gpu);
                continue;
            }
            mig => mig?,
        };
        for gi in names(&mig, "gi", &mut buffer)? {
            let gi_folder = open_in(mig.as_fd(), Path::new(&gi))?;
            let compute = names(&gi_folder, "ci", &mut buffer)?;
            found.extend(compute.iter().map(|ci| format!("{gpu}/{gi}/{ci}")));
            found.push(format!("{gpu}/{gi}"));
        }
        found.push(gpu);
    }
    Ok(found)
}

fn open_in(folder: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(folder, path, flags, Mode::empty())
}

/// What lies in `folder` and begins so, in order.
fn names(folder: &OwnedFd, prefix: &str, buffer: &mut Buffer) -> Result<Vec<String>, Errno> {
    let mut found = Vec::new();
    let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_str().map_err(|_| Errno::ILSEQ)?;
        if name.starts_with(prefix) && !name.starts_with('.') {
            found.push(name.to_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}
