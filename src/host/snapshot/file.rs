//! The snapshot's file, beside the leases and yet none of the ledger: whoever has asked the driver writes it, without
//! the lock, and one that can't be had is only slow.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, geteuid, linkat, unlinkat};

/// The file's name in the ledger's folder.
const NAME: &str = "inventory.json";

/// No node comes near this: 16 GPUs of 7 devices are some 60 KB.
const LARGEST: u64 = 1 << 20;

/// What stands in the file. None where it isn't there, or isn't ours alone.
pub fn read(ledger: &Path) -> Option<Vec<u8>> {
    let folder = own_folder(ledger)?;
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(&folder, NAME, flags, Mode::empty()).ok()?);
    let found = fstat(&file).ok()?;
    let size = u64::try_from(found.st_size).ok()?;
    let is_file = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
    let ours = found.st_uid == geteuid().as_raw() && found.st_mode & 0o077 == 0;
    if !is_file || !ours || size > LARGEST {
        return None;
    }
    let mut text = Vec::with_capacity(usize::try_from(size).ok()?);
    file.take(LARGEST).read_to_end(&mut text).ok()?;
    Some(text)
}

/// Puts `text` into its place: whole or not at all, and with nothing left behind however this ends. Between the two
/// steps there is no snapshot, and whoever looks then asks the driver.
pub fn write(ledger: &Path, text: &[u8]) -> Option<()> {
    if !geteuid().is_root() || text.len() as u64 > LARGEST {
        return None;
    }
    let folder = own_folder(ledger)?;
    // Without a name until it is whole. Not every file system offers it; /run's does.
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(&folder, ".", flags, Mode::from_bits_truncate(0o600)).ok()?);
    file.write_all(text).ok()?;
    match unlinkat(&folder, NAME, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(_) => return None,
    }
    let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Where another has just written one, that is as good.
    linkat(
        AT_FDCWD,
        nameless.as_str(),
        &folder,
        NAME,
        AtFlags::AT_SYMLINK_FOLLOW,
    )
    .ok()
}

/// The ledger's folder, where it is there and nobody but us can put a file into it.
fn own_folder(ledger: &Path) -> Option<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let folder = File::from(open(ledger, flags, Mode::empty()).ok()?);
    let found = fstat(&folder).ok()?;
    (found.st_uid == geteuid().as_raw() && found.st_mode & 0o022 == 0).then_some(folder)
}
