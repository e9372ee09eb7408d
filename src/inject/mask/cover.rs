//! A read-only tmpfs over the driver's folder in one procfs of a container.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    mount_change, mount_remount, move_mount,
};

use super::contents::Contents;
use super::failed;
use super::procfs::Place;
use crate::failure::Failure;

/// Covers `place`, where the calling thread is inside the container's mount namespace, has its working directory and its
/// umask to itself, and makes files as `owner`.
pub fn put(place: &Place, contents: &Contents, owner: (u32, u32)) -> Result<(), Failure> {
    let (uid, gid) = owner;
    let configure = || {
        let tmpfs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        // A page of each of some hundred files, which has 64 KiB on some machines.
        for (key, value) in [("mode", "755"), ("size", "64m"), ("nr_inodes", "4k")] {
            fsconfig_set_string(&tmpfs, key, value)?;
        }
        fsconfig_set_string(&tmpfs, "uid", uid.to_string())?;
        fsconfig_set_string(&tmpfs, "gid", gid.to_string())?;
        fsconfig_create(&tmpfs)?;
        Ok(tmpfs)
    };
    let tmpfs: OwnedFd = configure().map_err(|errno: Errno| failed("fsopen(tmpfs)", errno))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let root = fsmount(&tmpfs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|errno| failed("fsmount", errno))?;
    fill(root.as_fd(), contents)?;
    // The file system itself, not only this mount of it: there is no other way to it that could be written through.
    fsconfig_set_flag(&tmpfs, "ro")
        .and_then(|()| fsconfig_reconfigure(&tmpfs))
        .map_err(|errno| failed("fsconfig(ro)", errno))?;
    keep_to_the_container(place)?;
    attach(&root, place.folder.as_fd()).map_err(|errno| failed("move_mount", errno))?;
    contents
        .folders
        .iter()
        .try_for_each(|(name, tree)| mount_folder(root.as_fd(), name, tree))
}

/// From here on nothing that is mounted there is mounted anywhere else too. What the host mounts there still comes.
fn keep_to_the_container(place: &Place) -> Result<(), Failure> {
    let Some(mount) = &place.shared else {
        return Ok(());
    };
    rustix::process::fchdir(mount)
        .and_then(|()| mount_change(c".", MountPropagationFlags::DOWNSTREAM))
        .map_err(|errno| failed("mount(MS_SLAVE)", errno))
}

fn fill(root: BorrowedFd<'_>, contents: &Contents) -> Result<(), Failure> {
    for (name, _) in &contents.folders {
        make_folders(root, name)?;
    }
    for (name, text) in &contents.files {
        make_folders(root, name.parent().unwrap_or(Path::new("")))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(root, name, flags, Mode::from_raw_mode(0o444));
        file.map_err(std::io::Error::from)
            .and_then(|file| File::from(file).write_all(text))
            .map_err(|error| failed(&format!("write of {}", name.display()), error))?;
    }
    Ok(())
}

fn make_folders(root: BorrowedFd<'_>, path: &Path) -> Result<(), Failure> {
    let mut folder = PathBuf::new();
    for part in path.components() {
        let Component::Normal(part) = part else {
            return Err(failed(
                "mkdirat",
                format!("'{}' is no path below it", path.display()),
            ));
        };
        folder.push(part);
        match mkdirat(root, &folder, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(&format!("mkdirat({})", folder.display()), errno)),
        }
    }
    Ok(())
}

fn attach(mount: &OwnedFd, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let whole = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", whole)
}

/// A GPU's own folder, read-only, in its place on the tmpfs.
fn mount_folder(root: BorrowedFd<'_>, name: &Path, tree: &OwnedFd) -> Result<(), Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(root, name, flags, Mode::empty())
        .map_err(|errno| failed(&format!("openat({})", name.display()), errno))?;
    attach(tree, target.as_fd()).map_err(|errno| failed("move_mount", errno))?;
    let options = MountFlags::BIND
        | MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC
        | MountFlags::RELATIME;
    rustix::process::fchdir(tree)
        .and_then(|()| mount_change(c".", MountPropagationFlags::PRIVATE))
        .and_then(|()| mount_remount(c".", options, c""))
        .map_err(|errno| failed("mount(MS_REMOUNT)", errno))
}
