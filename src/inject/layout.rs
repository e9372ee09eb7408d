//! Where a container has its libraries, looked at in its root file system before anything is mounted there.
//!
//! All of it is the image's. Nothing in it is opened but as a place: each path is resolved inside it, and of what is found
//! only that it is there counts.

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::edits::driver::Layout;

/// How often a resolution is tried again while something is renamed meanwhile.
const ATTEMPTS: usize = 8;

/// The layout of the root file system at `path`. None where there is none to look at, or nothing in it: it isn't mounted
/// yet.
pub fn look(path: &Path) -> Option<Layout> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let usual = ["usr", "bin", "lib", "etc"].map(Path::new);
    let is_mounted = usual.into_iter().any(|name| is_there(root.as_fd(), name));
    is_mounted.then(|| look_in(root.as_fd()))
}

/// The layout of an open root file system.
pub fn look_in(root: BorrowedFd<'_>) -> Layout {
    Layout::of(&|path| is_there(root, path))
}

fn is_there(root: BorrowedFd<'_>, path: &Path) -> bool {
    resolve(root, path).is_ok()
}

fn resolve(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match rustix::fs::openat2(root, path, flags, Mode::empty(), inside) {
            Err(Errno::AGAIN) if left > 0 => {}
            answer => return answer,
        }
    }
}
