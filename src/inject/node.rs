//! One device node in a container: made, kept where it is right already, or replaced where it is wrong.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::bind::{Handles, Tree};
use super::rootfs::{Directory, Rootfs};
use crate::edits::{DeviceNode, DeviceNumber};
use crate::failure::Failure;

/// What stands in a node's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Whether it is a mount of its own, so another file system's file that only appears here.
    pub mounted: bool,
    /// Its file system's device and its number there.
    pub identity: (u64, u64),
}

/// A file's kind, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A character device.
    Character(DeviceNumber),
    /// A directory.
    Directory,
    /// A regular file.
    Regular,
    /// Anything else: link, fifo, socket, block device.
    Other,
}

impl Found {
    /// Looks at an open file; whether it is a mount is for who knows its directory.
    pub fn look(file: &OwnedFd) -> Result<Found, Errno> {
        let stat = rustix::fs::fstat(file)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => Kind::Character(DeviceNumber {
                major: rustix::fs::major(stat.st_rdev),
                minor: rustix::fs::minor(stat.st_rdev),
            }),
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::Regular,
            _ => Kind::Other,
        };
        Ok(Found {
            kind,
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            mounted: false,
            identity: (stat.st_dev, stat.st_ino),
        })
    }

    /// Whether both are one file.
    pub fn is_same_file(&self, other: &Found) -> bool {
        self.identity == other.identity
    }

    fn is(&self, node: &DeviceNode) -> bool {
        self.kind == Kind::Character(node.number)
    }

    fn is_exactly(&self, node: &DeviceNode) -> bool {
        self.is(node) && self.mode == node.mode && self.owner == (node.uid, node.gid)
    }
}

/// Puts `node` into the container, where the calling thread is inside its mount namespace. `tree` is the host's
/// node, to be mounted where one made here could not be opened.
pub fn place(
    rootfs: &Rootfs,
    node: &DeviceNode,
    tree: Option<&Tree>,
    handles: &Handles,
) -> Result<(), Failure> {
    let (directory, name) = rootfs.parent(&node.path)?;
    if let Some(found) = directory.find(name)? {
        // The runtime binds the spec's own devices there where the container has a user namespace.
        let bound = found.mounted && found.is(node);
        if bound || tree.is_none() && found.is_exactly(node) {
            return openable(&directory, name);
        }
        directory.remove(name, &found)?;
    }
    match tree {
        Some(tree) => {
            directory.make(name, FileType::RegularFile, Mode::empty(), 0)?;
            let (target, _) = directory.open(name)?;
            tree.mount(&target, handles)
                .map_err(|(call, errno)| directory.failed(name, call, errno))
        }
        None => make(&directory, name, node),
    }?;
    match directory.find(name)? {
        Some(found) if found.is_exactly(node) => Ok(()),
        Some(found) if tree.is_some() && found.mounted && found.is(node) => Ok(()),
        _ => Err(directory.failed(name, "fstat", "what was made there is something else now")),
    }
}

fn make(directory: &Directory<'_>, name: &OsStr, node: &DeviceNode) -> Result<(), Failure> {
    openable(directory, name)?;
    let device = rustix::fs::makedev(node.number.major, node.number.minor);
    directory.make(
        name,
        FileType::CharacterDevice,
        Mode::from_raw_mode(node.mode),
        device,
    )?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(&directory.handle, name, flags, Mode::empty())
        .map_err(|errno| directory.failed(name, "openat", errno))?;
    let (owner, group) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
    rustix::fs::chownat(&handle, c"", Some(owner), Some(group), AtFlags::EMPTY_PATH)
        .map_err(|errno| directory.failed(name, "fchownat", errno))
}

fn openable(directory: &Directory<'_>, name: &OsStr) -> Result<(), Failure> {
    if directory.has_dead_nodes(name)? {
        return Err(directory
            .failed(name, "mount", "its /dev is mounted nodev, where no device opens")
            .remedy("take nodev out of the options of the container's /dev"));
    }
    Ok(())
}
