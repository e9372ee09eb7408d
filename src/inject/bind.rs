//! The host's own device nodes, mounted into a container whose user namespace can't have nodes of its own.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};

use super::node::{Found, Kind};
use super::rootfs::Directory;
use crate::edits::DeviceNode;
use crate::failure::Failure;

/// A mount of one host node that is nowhere yet. Dropped unused, it leaves nothing behind.
pub struct Tree {
    mount: OwnedFd,
    flags: MountFlags,
}

impl Tree {
    /// Takes the host's node from where it really is. Must be called outside the container's mount namespace.
    pub fn open(node: &DeviceNode) -> Result<Tree, Failure> {
        let path = &node.host_path;
        let failed =
            |call: &str, errno: Errno| host_node(path, format!("{call}({}): {errno}", path.display()));
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        let mount = rustix::mount::open_tree(CWD, path, flags).map_err(|errno| failed("open_tree", errno))?;
        let found = Found::look(&mount).map_err(|errno| failed("fstat", errno))?;
        if found.kind != Kind::Character(node.number) {
            let number = node.number;
            let why = format!("it is not character device {}:{}", number.major, number.minor);
            return Err(host_node(path, why));
        }
        let options = rustix::fs::fstatvfs(&mount)
            .map_err(|errno| failed("fstatvfs", errno))?
            .f_flag;
        if options.contains(StatVfsMountFlags::NODEV) {
            return Err(host_node(path, "it lies on a file system mounted nodev"));
        }
        Ok(Tree {
            mount,
            flags: restricted(options),
        })
    }

    /// Mounts it on the file `name`, where the calling thread is inside the container's mount namespace and has its
    /// working directory to itself.
    pub fn mount(&self, directory: &Directory<'_>, name: &OsStr) -> Result<(), Failure> {
        let failed = |call: &str, errno: Errno| directory.failed(name, call, errno);
        let whole = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&self.mount, c"", &directory.handle, name, whole)
            .map_err(|errno| failed("move_mount", errno))?;
        // From here on the name can't be renamed or removed: it is a mount point. It has no other part to go astray.
        rustix::process::fchdir(&directory.handle).map_err(|errno| failed("fchdir", errno))?;
        rustix::mount::mount_change(name, MountPropagationFlags::PRIVATE)
            .map_err(|errno| failed("mount(MS_PRIVATE)", errno))?;
        rustix::mount::mount_remount(name, self.flags, c"")
            .map_err(|errno| failed("mount(MS_REMOUNT)", errno))
    }
}

/// The mount's own options, and neither set-uid programs nor any program at all. A remount names all or loses them.
fn restricted(options: StatVfsMountFlags) -> MountFlags {
    let mut flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NOEXEC;
    for (option, flag) in [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if options.contains(option) {
            flags |= flag;
        }
    }
    flags
}

fn host_node(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::host(
        format!("can't give the container the host's {}", path.display()),
        why,
    )
    .remedy("see 'ls -l' of it and /proc/devices; nvidia-modprobe makes it anew")
}
