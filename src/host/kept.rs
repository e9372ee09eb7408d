//! Files that are kept beside the leases and yet are none of the ledger: what the driver said, and where it hung. Whoever
//! has asked the driver writes them, without the lock; one that can't be had costs time and nothing else.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, linkat, unlinkat};

/// No file comes near this: an inventory of 16 GPUs of 7 devices is some 60 KB.
const LARGEST: u64 = 1 << 20;

/// A folder that nobody but us can put a file into.
pub struct Folder(File);

impl Folder {
    /// The ledger's. None where it isn't there, or isn't ours alone; it is never made here.
    pub fn of_ledger(ledger: &Path) -> Option<Folder> {
        Folder::ours(File::from(open(ledger, FOLDER, Mode::empty()).ok()?))
    }

    /// The one of that name in it, likewise.
    pub fn existing(&self, name: &str) -> Option<Folder> {
        Folder::ours(File::from(openat(&self.0, name, FOLDER, Mode::empty()).ok()?))
    }

    /// The same, made where it isn't there yet.
    pub fn made(&self, name: &str) -> Option<Folder> {
        match mkdirat(&self.0, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => self.existing(name),
            Err(_) => None,
        }
    }

    fn ours(folder: File) -> Option<Folder> {
        let found = fstat(&folder).ok()?;
        (found.st_uid == geteuid().as_raw() && found.st_mode & 0o022 == 0).then_some(Folder(folder))
    }

    /// The names of what lies in it.
    pub fn names(&self) -> Vec<String> {
        let Ok(mut list) = Dir::openat(&self.0, ".", FOLDER, Mode::empty()) else {
            return Vec::new();
        };
        let names = list.iter().flatten();
        let names = names.filter_map(|entry| Some(entry.file_name().to_str().ok()?.to_owned()));
        names.filter(|name| name != "." && name != "..").collect()
    }

    /// What stands in a file. None where it isn't there, or isn't ours alone.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.0, name, flags, Mode::empty()).ok()?);
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

    /// Puts `text` into its place, where we are root: whole or not at all, and with nothing left behind however this ends.
    /// Between the two steps there is no file, and whoever looks then goes without.
    pub fn write(&self, name: &str, text: &[u8]) -> Option<()> {
        if !geteuid().is_root() || text.len() as u64 > LARGEST {
            return None;
        }
        // Without a name until it is whole. Not every file system offers it; /run's does.
        let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut file = File::from(openat(&self.0, ".", flags, mode).ok()?);
        file.write_all(text).ok()?;
        match unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(_) => return None,
        }
        let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
        // Where another has just written one, that is as good.
        linkat(
            AT_FDCWD,
            nameless.as_str(),
            &self.0,
            name,
            AtFlags::AT_SYMLINK_FOLLOW,
        )
        .ok()
    }

    /// Takes a file away; that it can't be does no harm.
    pub fn remove(&self, name: &str) {
        let _ = unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir);
    }
}

/// How a folder is opened: never through a link.
const FOLDER: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
