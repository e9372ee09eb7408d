//! The folder that the driver's files lie below: `driver.root`. Every path is resolved inside it, so that the links of a
//! driver's container lead to files of that container, and never to the host's of the same name.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, fstat, openat2};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// How often a resolution is tried again while something is renamed meanwhile.
const ATTEMPTS: usize = 8;

/// The driver's root.
pub struct Root {
    handle: OwnedFd,
}

/// Something that was found below it.
pub struct Found {
    handle: OwnedFd,
    stat: Stat,
}

/// When a folder or file was last changed, and that it is still the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed(u64, u64, i64, u64);

impl Root {
    /// This machine's own.
    ///
    /// # Errors
    /// A host failure where this kernel can't resolve a path inside a folder.
    pub fn of_host() -> Result<Root, Failure> {
        Root::open(Path::new("/"))
    }

    /// Opens it.
    ///
    /// # Errors
    /// A host failure where it isn't there.
    pub fn open(path: &Path) -> Result<Root, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
            let what = format!("can't open {}, where the driver's files are", path.display());
            Failure::host(what, errno).remedy("correct driver.root in the configuration")
        })?;
        let root = Root { handle };
        match root.resolve(Path::new("."), OFlags::PATH) {
            Err(Errno::NOSYS) => {
                let why = "this kernel is older than Linux 5.6: it can't resolve a path inside a folder";
                let remedy =
                    "update it, or give containers no files of the driver's with driver.files = \"none\"";
                Err(Failure::host("can't look for the driver's files", why).remedy(remedy))
            }
            _ => Ok(root),
        }
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match openat2(&self.handle, path, flags | OFlags::CLOEXEC, Mode::empty(), inside) {
                Err(Errno::AGAIN) if left > 0 => {}
                answer => return answer,
            }
        }
    }

    /// What `path` leads to. Nothing is opened by that: a FIFO doesn't wait, a device doesn't act.
    pub fn find(&self, path: &Path) -> Option<Found> {
        Found::of(self.resolve(path, OFlags::PATH).ok()?)
    }

    /// What is at `path` itself, be it a link, where nobody but root, and whose folder it lies in, can exchange it: it will be
    /// mounted later, by its path, and can be written to. By the path as it is written, since links on the way are root's
    /// then, and by where it really is.
    pub fn find_guarded(&self, path: &Path) -> Option<Found> {
        let folder = self.find(path.parent()?)?;
        let mut above = path.ancestors().skip(2);
        let is_roots = |above: &Path| self.find(above).is_some_and(|found| found.is_roots_alone());
        let is_guarded = !folder.is_open_to_others() && above.all(is_roots);
        let found = is_guarded.then(|| self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW).ok());
        let found = Found::of(found??)?;
        let (real, root) = (found.real_path()?, real_path(&self.handle)?);
        // What is above the root is its owner's to know.
        let mut really_above = real
            .ancestors()
            .skip(2)
            .take_while(|above| above.starts_with(&root));
        really_above.all(is_roots_alone).then_some(found)
    }

    /// When what `path` leads to was changed.
    pub fn changed(&self, path: &Path) -> Option<Changed> {
        let stat = self.find(path)?.stat;
        Some(Changed(
            stat.st_dev,
            stat.st_ino,
            stat.st_mtime,
            stat.st_mtime_nsec,
        ))
    }

    /// The names in a folder, in order; none where there is no such folder.
    pub fn list(&self, folder: &Path) -> Vec<String> {
        self.names(folder).unwrap_or_default()
    }

    fn names(&self, folder: &Path) -> Result<Vec<String>, Errno> {
        let folder = self.resolve(folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut found = Vec::new();
        let mut entries = RawDir::new(&folder, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            if let Ok(name) = entry?.file_name().to_str() {
                found.push(name.to_owned());
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

impl Found {
    fn of(handle: OwnedFd) -> Option<Found> {
        let stat = fstat(&handle).ok()?;
        Some(Found { handle, stat })
    }

    fn is(&self, kind: FileType) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == kind
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.is(FileType::RegularFile)
    }

    /// Whether it is a socket.
    pub fn is_socket(&self) -> bool {
        self.is(FileType::Socket)
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.is(FileType::Directory)
    }

    /// Whether others than its owner may write there.
    fn is_open_to_others(&self) -> bool {
        self.stat.st_mode & 0o022 != 0
    }

    /// Whether nobody but root may write there.
    fn is_roots_alone(&self) -> bool {
        self.stat.st_uid == 0 && !self.is_open_to_others()
    }

    /// The regular file, to be read.
    pub fn open(&self) -> Option<File> {
        let itself = format!("/proc/self/fd/{}", self.handle.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, itself.as_str(), flags, Mode::empty()).ok()?;
        self.is_file().then(|| File::from(file))
    }

    /// Where it really is on this machine, with no link on the way. None where that can't be said in letters, or another
    /// file is there already.
    pub fn real_path(&self) -> Option<PathBuf> {
        let path = real_path(&self.handle)?;
        path.to_str()?;
        let there = std::fs::symlink_metadata(&path).ok()?;
        ((there.dev(), there.ino()) == (self.stat.st_dev, self.stat.st_ino)).then_some(path)
    }
}

fn real_path(handle: &OwnedFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd())).ok()
}

/// Whether nobody but root may write into that folder of this machine.
fn is_roots_alone(folder: &Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|found| found.uid() == 0 && found.mode() & 0o022 == 0)
}
