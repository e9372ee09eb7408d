//! Where a container has the driver's folder: in each procfs that is mounted inside its root filesystem.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::failed;
use crate::failure::Failure;
use crate::inject::ground::mount_id;
use crate::inject::mountinfo::{Line, mountinfo};
use crate::inject::namespace::Init;

/// Where the driver shows itself, below a procfs.
const DRIVER: &str = "driver/nvidia";

/// How often the container's mounts are looked at again while somebody moves them about.
const ATTEMPTS: usize = 8;

/// The driver's folder in one procfs of a container.
pub struct Place {
    /// The folder.
    pub folder: OwnedFd,
    /// The root of the mount that it lies on, where what is mounted in that would be mounted elsewhere too: on the host,
    /// where the engine's user wants it so.
    pub shared: Option<OwnedFd>,
}

/// All of them; none where no driver shows itself there.
pub fn places(init: &Init, rootfs: &Path) -> Result<Vec<Place>, Failure> {
    let rootfs = init
        .open_inside(rootfs)
        .map_err(|errno| failed(&format!("openat2({})", rootfs.display()), errno))?;
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match look(init.pid(), rootfs.as_fd()) {
            Ok(places) => return Ok(places),
            Err(Trouble::Moved(_)) if left > 0 => {}
            Err(Trouble::Moved(point)) => {
                let why = "it is not what the container's list of mounts says";
                return Err(failed(&format!("openat2({})", point.display()), why));
            }
            Err(Trouble::Failed(failure)) => return Err(failure),
        }
    }
}

enum Trouble {
    /// A procfs is not where the kernel has just said that it was.
    Moved(PathBuf),
    Failed(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Failed(failure)
    }
}

fn look(pid: i32, rootfs: BorrowedFd<'_>) -> Result<Vec<Place>, Trouble> {
    let text = mountinfo(&pid.to_string())?;
    let mounts: Vec<Line> = text.lines().filter_map(Line::parse).collect();
    let inside = Inside::of(rootfs, &mounts)?;
    let shown = mounts.iter().filter(|mount| mount.is_whole_procfs());
    let visible = shown.filter(|mount| !mounts.iter().any(|other| other.hides(mount)));
    let places = visible.filter_map(|mount| inside.place(mount).transpose());
    places.collect()
}

/// The mounts inside a root filesystem.
struct Inside<'a> {
    rootfs: BorrowedFd<'a>,
    /// Where that is mounted.
    point: PathBuf,
    mounts: &'a [Line<'a>],
}

const PLAINLY: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_SYMLINKS);

const FOLDER: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl<'a> Inside<'a> {
    fn of(rootfs: BorrowedFd<'a>, mounts: &'a [Line<'a>]) -> Result<Inside<'a>, Failure> {
        let id = mount_id(rootfs).map_err(|errno| failed("statx", errno))?;
        let root = mounts.iter().find(|mount| mount.id == id);
        let root = root.ok_or_else(|| failed("read of mountinfo", "the root filesystem is no mount"))?;
        Ok(Inside {
            rootfs,
            point: root.point(),
            mounts,
        })
    }

    /// The root of that mount; none where it is not inside.
    fn open(&self, mount: &Line<'_>) -> Result<Option<OwnedFd>, Trouble> {
        let point = mount.point();
        let Ok(below) = point.strip_prefix(&self.point) else {
            return Ok(None);
        };
        let moved = || Trouble::Moved(below.to_owned());
        let root = openat2(self.rootfs, below, FOLDER, Mode::empty(), PLAINLY).map_err(|_| moved())?;
        match mount_id(root.as_fd()) == Ok(mount.id) {
            true => Ok(Some(root)),
            false => Err(moved()),
        }
    }

    /// The driver's folder in that procfs; none where there is none.
    fn place(&self, procfs: &Line<'_>) -> Result<Option<Place>, Trouble> {
        let Some(root) = self.open(procfs)? else {
            return Ok(None);
        };
        let folder = match openat2(&root, DRIVER, FOLDER, Mode::empty(), PLAINLY) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(failed(&format!("openat2({DRIVER})"), errno).into()),
        };
        // The procfs itself, unless somebody has mounted something over a part of it.
        let id = mount_id(folder.as_fd()).map_err(|errno| failed("statx", errno))?;
        let mount = self.mounts.iter().find(|mount| mount.id == id);
        let mount = mount.ok_or_else(|| Trouble::Moved(DRIVER.into()))?;
        let shared = match mount.is_shared {
            true => self.open(mount)?,
            false => None,
        };
        Ok(Some(Place { folder, shared }))
    }
}
