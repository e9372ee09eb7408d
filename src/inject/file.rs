//! One file of the host's in a container: mounted on what stands in its place, or on a new one where nothing fit to be
//! mounted on does.

#![forbid(unsafe_code)]

use std::ffi::OsStr;

use rustix::fs::{FileType, Mode};

use super::bind::{Handles, Tree};
use super::node::{Found, Kind};
use super::rootfs::{Directory, Rootfs};
use crate::edits::Mount;
use crate::failure::Failure;

/// Puts `mount`, whose file is `tree`, into the container, where the calling thread is inside its mount namespace.
/// Doing it twice is harmless.
pub fn place(rootfs: &Rootfs, mount: &Mount, tree: &Tree, handles: &Handles) -> Result<(), Failure> {
    put(rootfs, mount, tree, handles).map_err(|failure| {
        failure.remedy(
            "see what the container's image and its mounts put in that place; its root filesystem must be writable while \
             it is made",
        )
    })
}

fn put(rootfs: &Rootfs, mount: &Mount, tree: &Tree, handles: &Handles) -> Result<(), Failure> {
    let (directory, name) = rootfs.parent(&mount.path)?;
    match directory.find(name)? {
        Some(found) if found.mounted && found.is_same_file(&tree.found) => return Ok(()),
        Some(found) if can_carry(&found, tree) => {}
        Some(found) => {
            directory.remove(name, &found)?;
            make(&directory, name, tree)?;
        }
        None => make(&directory, name, tree)?,
    }
    // From here on what was found goes by its handle: the name may be another's by now.
    let (target, found) = directory.open(name)?;
    if !can_carry(&found, tree) {
        return Err(directory.failed(name, "fstat", "what stands there is something else now"));
    }
    directory.check_unshared(name, &target)?;
    tree.mount(&target, handles)
        .map_err(|(call, errno)| directory.failed(name, call, errno))
}

/// Whether it can be mounted on: a link leads elsewhere, and of anything else nobody knows what it does.
fn can_carry(found: &Found, tree: &Tree) -> bool {
    match tree.found.kind {
        Kind::Directory => found.kind == Kind::Directory,
        _ => found.kind == Kind::Regular,
    }
}

fn make(directory: &Directory<'_>, name: &OsStr, tree: &Tree) -> Result<(), Failure> {
    match tree.found.kind {
        Kind::Directory => directory.make_directory(name),
        _ => directory.make(name, FileType::RegularFile, Mode::empty(), 0),
    }
}
