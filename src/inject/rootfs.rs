//! A container's root filesystem: a directory handle below which every path is resolved, and never above.
//!
//! All of it is the image's, so hostile: a symbolic link leads nowhere but to another place inside, the last part of a
//! path is never followed, and what was found is looked at through its handle, not by name again.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::ground::{self, Ground};
use super::node::{Found, Kind};
use crate::failure::Failure;

/// How a file itself is opened, whatever it is, and not what it may link to.
const ITSELF: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How often a resolution is tried again while something is renamed meanwhile.
const ATTEMPTS: usize = 8;

/// A container's root filesystem, seen from inside its mount namespace.
pub struct Rootfs {
    root: OwnedFd,
    path: PathBuf,
    ground: Ground,
}

/// A directory in it.
pub struct Directory<'a> {
    /// The handle: of a directory only, good for the `*at` calls.
    pub handle: OwnedFd,
    /// Where it is, as the container sees it; for messages.
    pub path: PathBuf,
    rootfs: &'a Rootfs,
}

impl Rootfs {
    /// Opens the root at `path`, an absolute path in the calling thread's mount namespace, where the host's own
    /// folders lead to it.
    pub fn open(path: &Path, ground: Ground) -> Result<Rootfs, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
            Failure::host(
                "can't open the container's root filesystem",
                format!("open({}): {errno}", path.display()),
            )
            .remedy(
                "it is root.path of the bundle's config.json, and the runtime must have mounted it by now",
            )
        })?;
        // The last of what is needed to come into Linux; the others (openat2, pidfd_open) are older.
        if ground::mount_id(root.as_fd()) == Err(Errno::NOSYS) {
            let what = "can't put devices into a live container";
            let why = "this kernel is older than Linux 5.8: its statx doesn't tell mounts apart";
            return Err(Failure::host(what, why).remedy(super::BEFORE_CREATE));
        }
        Ok(Rootfs {
            root,
            path: path.to_owned(),
            ground,
        })
    }

    /// The directory that is to hold the container's file `path`, and the file's name. Directories that are missing
    /// are made, 0755.
    pub fn parent<'a, 'p>(&'a self, path: &'p Path) -> Result<(Directory<'a>, &'p OsStr), Failure> {
        let mut parts = path.components();
        let absolute = parts.next() == Some(Component::RootDir);
        if !absolute || !parts.all(|part| matches!(part, Component::Normal(_))) {
            return Err(misplaced(
                path,
                "a device's path must be absolute and without '..'",
            ));
        }
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok((self.directory(parent)?, name)),
            _ => Err(misplaced(path, "a device's path must name a file, not the root")),
        }
    }

    /// The directory `path`, made where it is missing.
    fn directory(&self, path: &Path) -> Result<Directory<'_>, Failure> {
        match self.resolve(path) {
            Ok(handle) => Ok(Directory {
                handle,
                path: path.to_owned(),
                rootfs: self,
            }),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                let (parent, name) = self.parent(path)?;
                parent.make_directory(name)?;
                let handle = self
                    .resolve(path)
                    .map_err(|errno| self.failed(path, "openat2", errno))?;
                Ok(Directory {
                    handle,
                    path: path.to_owned(),
                    rootfs: self,
                })
            }
            Err(errno) => Err(self.failed(path, "openat2", errno)),
        }
    }

    fn resolve(&self, directory: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match rustix::fs::openat2(&self.root, directory, flags, Mode::empty(), inside) {
                Err(Errno::AGAIN) if left > 0 => {}
                answer => return answer,
            }
        }
    }

    /// A failure about the container's file `path`.
    pub fn failed(&self, path: &Path, call: &str, why: impl std::fmt::Display) -> Failure {
        let what = format!("can't put {} into the container", path.display());
        Failure::host(what, format!("{call} in {}: {why}", self.path.display())).remedy(
            "the container needs a writable /dev with room, such as the tmpfs that engines mount there; \
             see what its image and its mounts put in that place",
        )
    }
}

fn misplaced(path: &Path, why: &str) -> Failure {
    Failure::host(format!("can't put '{}' into the container", path.display()), why)
        .remedy("this path is oci-mig-hook's own, not the image's: report it")
}

impl Directory<'_> {
    /// What is there by that name, itself and not what it may link to; `None` where nothing is.
    pub fn find(&self, name: &OsStr) -> Result<Option<Found>, Failure> {
        match rustix::fs::openat(&self.handle, name, ITSELF, Mode::empty()) {
            Ok(handle) => self.look(name, &handle).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed(name, "openat", errno)),
        }
    }

    /// The same, with a handle that stays it.
    pub fn open(&self, name: &OsStr) -> Result<(OwnedFd, Found), Failure> {
        let handle = rustix::fs::openat(&self.handle, name, ITSELF, Mode::empty())
            .map_err(|errno| self.failed(name, "openat", errno))?;
        let found = self.look(name, &handle)?;
        Ok((handle, found))
    }

    fn look(&self, name: &OsStr, handle: &OwnedFd) -> Result<Found, Failure> {
        let found = Found::look(handle).map_err(|errno| self.failed(name, "fstat", errno))?;
        let failed = |errno| self.failed(name, "statx", errno);
        let mounted = ground::mount_id(handle.as_fd()).map_err(failed)?
            != ground::mount_id(self.handle.as_fd()).map_err(failed)?;
        Ok(Found { mounted, ..found })
    }

    /// Nothing is mounted where it would be mounted on the host, or in another container, too.
    pub fn check_unshared(&self, name: &OsStr, target: &OwnedFd) -> Result<(), Failure> {
        let mount = ground::mount_id(target.as_fd()).map_err(|errno| self.failed(name, "statx", errno))?;
        match self.rootfs.ground.is_shared(mount) {
            false => Ok(()),
            true => Err(self.failed(
                name,
                "move_mount",
                "what is mounted there is mounted elsewhere too (shared)",
            )),
        }
    }

    /// Makes the way free for something right by that name. What is mounted there is not ours to take away.
    pub fn remove(&self, name: &OsStr, found: &Found) -> Result<(), Failure> {
        if found.mounted {
            let why = "something else is mounted there";
            return Err(self
                .failed(name, "mount", why)
                .remedy("take that mount out of the container's configuration"));
        }
        self.check_ground(name)?;
        let flags = if found.kind == Kind::Directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        match rustix::fs::unlinkat(&self.handle, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed(name, "unlinkat", errno)),
        }
    }

    /// Makes a directory, 0755. A file or link in its place gives way.
    pub fn make_directory(&self, name: &OsStr) -> Result<(), Failure> {
        if let Some(found) = self.find(name)? {
            self.remove(name, &found)?;
        }
        self.check_ground(name)?;
        rustix::fs::mkdirat(&self.handle, name, Mode::from_raw_mode(0o755))
            .map_err(|errno| self.failed(name, "mkdirat", errno))
    }

    /// Makes a file of that kind, empty if a regular one; its umask is the thread's.
    pub fn make(&self, name: &OsStr, kind: FileType, mode: Mode, device: u64) -> Result<(), Failure> {
        self.check_ground(name)?;
        rustix::fs::mknodat(&self.handle, name, kind, mode, device)
            .map_err(|errno| self.failed(name, "mknodat", errno))
    }

    /// Whether device nodes on this mount can't be opened (`nodev`).
    pub fn has_dead_nodes(&self, name: &OsStr) -> Result<bool, Failure> {
        let stat =
            rustix::fs::fstatvfs(&self.handle).map_err(|errno| self.failed(name, "fstatvfs", errno))?;
        Ok(stat.f_flag.contains(rustix::fs::StatVfsMountFlags::NODEV))
    }

    /// Nothing is changed in what belongs to the host.
    fn check_ground(&self, name: &OsStr) -> Result<(), Failure> {
        let rootfs: BorrowedFd<'_> = self.rootfs.root.as_fd();
        let own = self.rootfs.ground.is_the_containers(self.handle.as_fd(), rootfs);
        if own.map_err(|errno| self.failed(name, "statx", errno))? {
            return Ok(());
        }
        let why = format!("{} is a directory of the host", self.path.display());
        Err(self
            .failed(name, "mount", why)
            .remedy("don't bind the host's directories over the container's /dev"))
    }

    /// A failure about the file `name` in this directory.
    pub fn failed(&self, name: &OsStr, call: &str, why: impl std::fmt::Display) -> Failure {
        self.rootfs.failed(&self.path.join(name), call, why)
    }
}
