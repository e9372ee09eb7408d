//! A bundle's config.json: read whole, and replaced whole.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::failure::Failure;

/// A config.json, as it was when it was read.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl ConfigFile {
    /// Reads it. None where there is none: the real runtime says that best.
    ///
    /// # Errors
    /// A host failure where it is there, and can't be read or replaced: the real runtime might be able to read it.
    pub fn read(path: &Path) -> Result<Option<ConfigFile>, Failure> {
        let look = || -> io::Result<ConfigFile> {
            // Where it is a link, what it leads to is the file that is replaced.
            let path = std::fs::canonicalize(path)?;
            if !std::fs::metadata(&path)?.is_file() {
                return Err(io::Error::new(ErrorKind::InvalidInput, "it is no file"));
            }
            let bytes = std::fs::read(&path)?;
            Ok(ConfigFile { path, bytes })
        };
        match look() {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::host(format!("can't read {}", path.display()), error)
                .remedy("a container's config.json must be a file that root can read")),
        }
    }

    /// What stood in it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Puts `bytes` in its place: whole or not at all, with its owner and mode.
    ///
    /// # Errors
    /// A host failure; what stood there still stands.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.write(bytes).map_err(|error| {
            Failure::host(format!("can't write {}", self.path.display()), error)
                .remedy("the bundle's folder must be writable, and its file system have room")
        })
    }

    /// Puts back what was read.
    ///
    /// # Errors
    /// As [`ConfigFile::replace`].
    pub fn restore(&self) -> Result<(), Failure> {
        self.replace(&self.bytes)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let name = format!(".config.json.oci-mig-hook-{}", std::process::id());
        let unfinished = self.path.with_file_name(name);
        let written = self
            .write_beside(&unfinished, bytes)
            .and_then(|()| std::fs::rename(&unfinished, &self.path));
        written.inspect_err(|_| {
            // If it can't be removed either, it goes with the bundle.
            let _ = std::fs::remove_file(&unfinished);
        })
    }

    fn write_beside(&self, unfinished: &Path, bytes: &[u8]) -> io::Result<()> {
        let owner = std::fs::metadata(&self.path)?;
        let mut file: File = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(unfinished)?;
        file.write_all(bytes)?;
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        // Last, because chown takes bits away.
        file.set_permissions(std::fs::Permissions::from_mode(owner.mode() & 0o7777))
    }
}
