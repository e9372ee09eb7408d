//! The ledger's files: how one is read and written, and what is said when it can't be.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{DirBuilder, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use rustix::fs::{Mode, OFlags, RawDir};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::VERSION;
use crate::failure::Failure;

/// No file of ours comes near this: a lease of 64 devices with their nodes is some 60 KB.
const LARGEST: u64 = 1 << 20;

/// A document that is kept in a file of the ledger.
pub trait Document: DeserializeOwned {
    /// The layout that it was written in.
    fn version(&self) -> u32;

    /// The name of the file that it belongs into.
    fn file_name(&self) -> String;
}

/// The failure for a folder or file of the ledger that can't be used.
pub fn unusable(what: &str, error: &io::Error) -> Failure {
    let remedy = match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => "free some space there, and start the container again",
        Some(libc::EROFS) => "make it writable, or name another folder with ledger.dir",
        Some(libc::EACCES | libc::EPERM) => "run as root: the ledger is root's alone",
        _ => "look at that path; ledger.dir names the folder",
    };
    Failure::host(format!("ledger: {what}"), error).remedy(remedy)
}

/// Makes `dir` if it isn't there, and sees to it that it is ours alone.
pub fn make_private(dir: &Path) -> Result<(), Failure> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unusable(&format!("can't make {}", dir.display()), &error)),
    }
    let found = trusted(dir)?;
    if found.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
            .map_err(|error| unusable(&format!("can't close {} to others", dir.display()), &error))?;
    }
    Ok(())
}

/// Sees to it that `dir` is a folder of ours, and not a link to one.
pub fn trusted(dir: &Path) -> Result<Metadata, Failure> {
    let found = std::fs::symlink_metadata(dir)
        .map_err(|error| unusable(&format!("can't look at {}", dir.display()), &error))?;
    let ours = found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw();
    if !ours {
        let why = "it is not a folder, or not the caller's own";
        return Err(
            Failure::host(format!("ledger: {} can't be trusted", dir.display()), why)
                .remedy("remove it, or name another folder with ledger.dir"),
        );
    }
    Ok(found)
}

/// Why a file is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Illegible {
    /// It is of a layout that this program doesn't know.
    Newer(u32),
    /// It is none at all, or in the wrong place.
    Broken(String),
}

impl fmt::Display for Illegible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Illegible::Newer(version) => {
                write!(
                    f,
                    "its version is {version}, and this program knows versions up to {VERSION}"
                )
            }
            Illegible::Broken(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for Illegible {
    fn from(error: io::Error) -> Self {
        Illegible::Broken(error.to_string())
    }
}

/// A file's document; none where it has just been removed.
pub fn read<D: Document>(path: &Path) -> Result<Option<D>, Illegible> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut text = String::with_capacity(4096);
    file.take(LARGEST).read_to_string(&mut text)?;
    parse(path, &text).map(Some)
}

fn parse<D: Document>(path: &Path, text: &str) -> Result<D, Illegible> {
    let document = match serde_json::from_str::<D>(text) {
        Ok(document) if document.version() <= VERSION => document,
        Ok(document) => return Err(Illegible::Newer(document.version())),
        // A newer layout that this program can't read: say that, rather than where it stumbled.
        Err(error) => {
            let broken = || Illegible::Broken(error.to_string());
            return Err(newer_version(text).map_or_else(broken, Illegible::Newer));
        }
    };
    match path.file_name() == Some(OsStr::new(&document.file_name())) {
        true => Ok(document),
        false => Err(Illegible::Broken(format!(
            "it should be named {}",
            document.file_name()
        ))),
    }
}

fn newer_version(text: &str) -> Option<u32> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_str(text).ok()?;
    (version > VERSION).then_some(version)
}

/// Writes a document into `unfinished` and renames that into place: whole, or not at all. Who writes holds the lock, so
/// that one unfinished file is enough, and what a killed writer left is the next one's to overwrite.
pub fn write<D: Document + Serialize>(unfinished: &Path, folder: &Path, document: &D) -> io::Result<()> {
    let bytes = serde_json::to_vec(document)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(unfinished)?;
    file.write_all(&bytes)?;
    // Not synced: /run is gone with the power, and on a disk it could take seconds under the lock.
    std::fs::rename(unfinished, folder.join(document.file_name()))
}

/// Removes a file, and tells whether it was there: that it is gone already is no error.
pub fn remove(path: &Path) -> Result<bool, Failure> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unusable(&format!("can't remove {}", path.display()), &error)),
    }
}

/// Whether there is no such file. That nobody can tell is no proof of it.
pub fn is_gone(path: &Path) -> bool {
    let found = std::fs::symlink_metadata(path);
    found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// The paths in a folder, without what writers of an earlier version left unfinished in it. None where there is no such
/// folder.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    list(folder, |name| !is_unfinished(name))
}

/// What writers of an earlier version left unfinished in a folder.
pub fn unfinished(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    list(folder, is_unfinished)
}

fn is_unfinished(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn list(folder: &Path, wanted: impl Fn(&OsStr) -> bool) -> Result<Vec<PathBuf>, Failure> {
    match names(folder, wanted) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|error| unusable(&format!("can't list {}", folder.display()), &error)),
    }
}

/// Each name is looked at where the kernel put it: thousands of leftovers must not cost an allocation each.
fn names(folder: &Path, wanted: impl Fn(&OsStr) -> bool) -> io::Result<Vec<PathBuf>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(folder, flags, Mode::empty())?;
    let mut buffer = Vec::with_capacity(64 << 10);
    let mut entries = RawDir::new(opened, buffer.spare_capacity_mut());
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." && wanted(name) {
            found.push(folder.join(name));
        }
    }
    Ok(found)
}
