//! Which mounts in a container are the container's own to change.
//!
//! A directory of the host bound into the container (`-v /dev:/dev`, a volume that a planted symlink leads to) is
//! reached by paths inside the rootfs, and yet what is made or removed there happens on the host.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;

use super::mountinfo::{Line, mountinfo};
use crate::failure::Failure;

/// The mounts in a container's namespace whose file systems the host has mounted too, outside the rootfs.
#[derive(Debug)]
pub struct Ground {
    hosts: HashSet<u64>,
    /// Those in which what is mounted is mounted nowhere else.
    unshared: HashSet<u64>,
}

impl Ground {
    /// Compares the mounts of process `pid` with those of the calling thread, whose `rootfs` doesn't count.
    pub fn survey(pid: i32, rootfs: &Path) -> Result<Ground, Failure> {
        let ours = mountinfo("thread-self")?;
        let theirs = mountinfo(&pid.to_string())?;
        Ok(Ground::compare(&ours, &theirs, rootfs))
    }

    fn compare(ours: &str, theirs: &str, rootfs: &Path) -> Ground {
        let elsewhere = ours
            .lines()
            .filter_map(Line::parse)
            .filter(|mount| !mount.point().starts_with(rootfs));
        let file_systems: HashSet<&str> = elsewhere.map(|mount| mount.device).collect();
        let shared = theirs
            .lines()
            .filter_map(Line::parse)
            .filter(|mount| file_systems.contains(mount.device));
        Ground {
            hosts: shared.map(|mount| mount.id).collect(),
            unshared: theirs
                .lines()
                .filter_map(Line::parse)
                .filter(|mount| !mount.is_shared)
                .map(|mount| mount.id)
                .collect(),
        }
    }

    /// Whether what is mounted in the mount of that number is mounted elsewhere too. One that wasn't there when they were
    /// compared is taken for one.
    pub fn is_shared(&self, mount: u64) -> bool {
        !self.unshared.contains(&mount)
    }

    /// Whether `directory` may be changed: it lies on the very mount of `rootfs`, or on a file system that the host
    /// has nowhere else.
    pub fn is_the_containers(
        &self,
        directory: BorrowedFd<'_>,
        rootfs: BorrowedFd<'_>,
    ) -> Result<bool, Errno> {
        let mount = mount_id(directory)?;
        Ok(mount == mount_id(rootfs)? || !self.hosts.contains(&mount))
    }
}

/// Which mount a file was reached through.
pub fn mount_id(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    let stat = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    // Linux before 5.8 doesn't say.
    let known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
    if known {
        Ok(stat.stx_mnt_id)
    } else {
        Err(Errno::NOSYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_has_mounted_elsewhere_is_the_hosts() {
        let ours = "\
24 27 0:6 / /dev rw - devtmpfs devtmpfs rw
27 1 254:0 / / rw - ext4 /dev/vda rw
40 27 0:90 / /run/b/rootfs rw - overlay overlay rw
";
        let theirs = "\
100 99 254:0 / / rw - ext4 /dev/vda rw
101 100 0:90 / /run/b/rootfs rw - overlay overlay rw
102 101 0:91 / /run/b/rootfs/dev rw - tmpfs tmpfs rw
103 102 0:6 / /run/b/rootfs/dev/host rw - devtmpfs devtmpfs rw
104 101 254:0 /srv /run/b/rootfs/data rw - ext4 /dev/vda rw
";
        let ground = Ground::compare(ours, theirs, Path::new("/run/b/rootfs"));
        assert_eq!(ground.hosts, HashSet::from([100, 103, 104]));
    }
}
