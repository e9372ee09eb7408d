//! What is the host's own, mounted into a container: device nodes, where its user namespace can't have nodes of its own,
//! and the driver's files.

#![forbid(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};

use super::node::{Found, Kind};
use crate::edits::{DeviceNode, Mount, MountKind};
use crate::failure::Failure;

/// A mount of one thing of the host's that is nowhere yet. Dropped unused, it leaves nothing behind.
pub struct Tree {
    mount: OwnedFd,
    flags: MountFlags,
    /// What is mounted.
    pub found: Found,
}

/// This process's own handles by their numbers, as the host's /proc shows them: a way to say which mount is meant that no
/// name in the container can lead astray.
pub struct Handles(OwnedFd);

impl Handles {
    /// To be called where the host's /proc is: outside the container's mount namespace.
    pub fn open() -> Result<Handles, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handles = rustix::fs::open("/proc/self/fd", flags, Mode::empty()).map_err(|errno| {
            Failure::host(
                "can't put anything into the container",
                format!("open(/proc/self/fd): {errno}"),
            )
            .remedy("/proc must be mounted where hooks run")
        })?;
        Ok(Handles(handles))
    }
}

impl Tree {
    /// Takes the host's node from where it really is. Must be called outside the container's mount namespace.
    pub fn of_node(node: &DeviceNode) -> Result<Tree, Failure> {
        let path = &node.host_path;
        let options = MountFlags::NOSUID | MountFlags::NOEXEC;
        let tree = Tree::open(path, options).map_err(|(call, errno)| host_node(path, call, errno))?;
        if tree.found.kind != Kind::Character(node.number) {
            let number = node.number;
            let why = format!("it is not character device {}:{}", number.major, number.minor);
            return Err(host_node(path, "open_tree", why));
        }
        if tree.is_without_devices(path)? {
            return Err(host_node(
                path,
                "open_tree",
                "it lies on a file system mounted nodev",
            ));
        }
        Ok(tree)
    }

    /// Takes a file of the driver's, likewise.
    pub fn of_file(mount: &Mount) -> Result<Tree, Failure> {
        let path = &mount.host_path;
        let options = MountFlags::NOSUID | MountFlags::NODEV;
        let options = match mount.kind {
            MountKind::File => options | MountFlags::RDONLY,
            MountKind::Socket => options | MountFlags::NOEXEC,
        };
        Tree::open(path, options).map_err(|(call, errno)| {
            let what = format!("can't give the container the host's {}", path.display());
            Failure::host(what, format!("{call}: {errno}"))
                .remedy("see 'ls -l' of it; 'oci-mig-hook refresh' looks for the driver's files anew")
        })
    }

    fn open(path: &Path, options: MountFlags) -> Result<Tree, (&'static str, Errno)> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        let mount = rustix::mount::open_tree(CWD, path, flags).map_err(|errno| ("open_tree", errno))?;
        let found = Found::look(&mount).map_err(|errno| ("fstat", errno))?;
        let has = rustix::fs::fstatvfs(&mount).map_err(|errno| ("fstatvfs", errno))?;
        Ok(Tree {
            mount,
            flags: options | kept(has.f_flag),
            found,
        })
    }

    fn is_without_devices(&self, path: &Path) -> Result<bool, Failure> {
        let options =
            rustix::fs::fstatvfs(&self.mount).map_err(|errno| host_node(path, "fstatvfs", errno))?;
        Ok(options.f_flag.contains(StatVfsMountFlags::NODEV))
    }

    /// Mounts it on `target`, where the calling thread is inside the container's mount namespace and has its working
    /// directory to itself. Whatever becomes of the names that led there.
    pub fn mount(&self, target: &OwnedFd, handles: &Handles) -> Result<(), (&'static str, Errno)> {
        let whole = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.mount, c"", target, c"", whole)
            .map_err(|errno| ("move_mount", errno))?;
        rustix::process::fchdir(&handles.0).map_err(|errno| ("fchdir", errno))?;
        let itself = self.mount.as_raw_fd().to_string();
        rustix::mount::mount_change(itself.as_str(), MountPropagationFlags::PRIVATE)
            .map_err(|errno| ("mount(MS_PRIVATE)", errno))?;
        rustix::mount::mount_remount(itself.as_str(), self.flags | MountFlags::BIND, c"")
            .map_err(|errno| ("mount(MS_REMOUNT)", errno))
    }
}

/// What a mount has of its own. A remount names all or loses them.
fn kept(options: StatVfsMountFlags) -> MountFlags {
    let mut flags = MountFlags::empty();
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

fn host_node(path: &Path, call: &str, why: impl std::fmt::Display) -> Failure {
    Failure::host(
        format!("can't give the container the host's {}", path.display()),
        format!("{call}: {why}"),
    )
    .remedy("see 'ls -l' of it and /proc/devices; nvidia-modprobe makes it anew")
}
