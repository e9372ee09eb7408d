//! The ledger's files: how one is read and written, and what is said when it can't be.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use super::{Lease, VERSION};
use crate::failure::Failure;

/// No lease comes near this: 64 devices with their nodes are some 60 KB.
const LARGEST_LEASE: u64 = 1 << 20;

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
    if found.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
            .map_err(|error| unusable(&format!("can't close {} to others", dir.display()), &error))?;
    }
    Ok(())
}

/// A lease file's lease; none where it has just been removed.
pub fn read(path: &Path) -> Result<Option<Lease>, String> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = String::with_capacity(4096);
    file.take(LARGEST_LEASE)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    parse(path, &text).map(Some)
}

fn parse(path: &Path, text: &str) -> Result<Lease, String> {
    let lease = match serde_json::from_str::<Lease>(text) {
        Ok(lease) if lease.version <= VERSION => lease,
        Ok(lease) => return Err(newer(lease.version)),
        // A newer layout that this program can't read: say that, rather than where it stumbled.
        Err(error) => return Err(newer_version(text).map_or_else(|| error.to_string(), newer)),
    };
    let named_for = path.file_stem().and_then(|stem| stem.to_str());
    match named_for == Some(lease.id.to_string().as_str()) {
        true => Ok(lease),
        false => Err(format!("it holds the lease {}", lease.id)),
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

fn newer(version: u32) -> String {
    format!("its version is {version}, and this program knows versions up to {VERSION}")
}

/// Writes a lease beside its place and renames it there.
pub fn write(unfinished: &Path, path: &Path, lease: &Lease) -> io::Result<()> {
    let bytes = serde_json::to_vec(lease)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(unfinished)?;
    file.write_all(&bytes)?;
    std::fs::rename(unfinished, path)
}
