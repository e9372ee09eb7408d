//! A container's init process, held fast, and work done inside its mount namespace.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use crate::failure::Failure;

/// A container's init process as it was when opened. The handles keep naming that process's namespaces even when its
/// number goes to another process.
pub struct Init {
    pid: i32,
    process: OwnedFd,
    mounts: File,
    /// Its root: paths that the runtime uses start there, which in a chroot is not the namespace's own root.
    root: File,
    /// Who is root in its user namespace, as our own sees them; `None` where that is our own.
    mapped_root: Option<(u32, u32)>,
}

impl Init {
    /// Opens the living process `pid`. It must have a mount namespace other than ours.
    pub fn open(pid: i32) -> Result<Init, Failure> {
        let handle = Pid::from_raw(pid.max(0))
            .filter(|_| pid > 1)
            .ok_or_else(|| not_a_container(pid))?;
        let failed = |call: &str, error: io::Error| gone_or(pid, call, &error);
        let process = rustix::process::pidfd_open(handle, PidfdFlags::empty())
            .map_err(|errno| failed("pidfd_open", errno.into()))?;
        let mounts = namespace(pid, "mnt").map_err(|error| failed("open of /proc/PID/ns/mnt", error))?;
        let root = File::open(format!("/proc/{pid}/root"))
            .map_err(|error| failed("open of /proc/PID/root", error))?;
        let users = namespace(pid, "user").map_err(|error| failed("open of /proc/PID/ns/user", error))?;
        let is_ours =
            |theirs: &File, name: &str| same(theirs, &File::open(format!("/proc/thread-self/ns/{name}"))?);
        if is_ours(&mounts, "mnt").map_err(|error| failed("stat of namespaces", error))? {
            return Err(not_a_container(pid));
        }
        let mapped_root = if is_ours(&users, "user").map_err(|error| failed("stat of namespaces", error))? {
            None
        } else {
            Some(root_of(pid)?)
        };
        let init = Init {
            pid,
            process,
            mounts,
            root,
            mapped_root,
        };
        init.still_lives()?;
        Ok(init)
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The folder that it sees at `path`, which its runtime chose: links are followed, below its root.
    pub fn open_inside(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let below = path.strip_prefix("/").unwrap_or(path);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(&self.root, below, flags, Mode::empty(), ResolveFlags::IN_ROOT)
    }

    /// Who its root is, as our own user namespace sees it.
    pub fn root_ids(&self) -> (u32, u32) {
        self.mapped_root.unwrap_or((0, 0))
    }

    /// Whether its user namespace is another than ours: device nodes made in file systems mounted there don't open.
    pub fn has_user_namespace(&self) -> bool {
        self.mapped_root.is_some()
    }

    /// Fails once it has exited. What was read about its number before is about it if it still lives afterwards.
    pub fn still_lives(&self) -> Result<(), Failure> {
        let mut waiting = [PollFd::new(&self.process, PollFlags::IN)];
        let at_once = Timespec::default();
        match rustix::event::poll(&mut waiting, Some(&at_once)) {
            Ok(0) => Ok(()),
            Ok(_) => Err(
                Failure::host(NO_CONTAINER, format!("its process {} has exited", self.pid))
                    .remedy("see the runtime's or engine's log for what ended it, and start it again"),
            ),
            Err(errno) => Err(gone_or(self.pid, "poll", &errno.into())),
        }
    }

    /// Runs `work` inside its mount namespace, with its root and no umask, as that container's root where
    /// it has a user namespace. In a thread of its own: the caller's thread never leaves its place.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
        let thread = std::thread::Builder::new();
        std::thread::scope(|scope| {
            let entered = thread.spawn_scoped(scope, || {
                self.enter()?;
                work()
            });
            let entered = entered.map_err(|error| {
                Failure::host(NO_ENTRY, format!("clone: {error}"))
                    .remedy("raise the limit on processes or memory of the service that runs the engine")
            })?;
            let panicked = |_| {
                Err(Failure::host(NO_ENTRY, "the thread that entered it panicked")
                    .remedy("a panic is an error of oci-mig-hook: report it with the engine's log"))
            };
            entered.join().unwrap_or_else(panicked)
        })
    }

    fn enter(&self) -> Result<(), Failure> {
        let failed = |call: &str, errno: nix::Error| {
            Failure::host(NO_ENTRY, format!("{call}: {errno}")).remedy(AS_ROOT)
        };
        // Root, working directory and umask are this thread's alone from here on.
        nix::sched::unshare(CloneFlags::CLONE_FS).map_err(|errno| failed("unshare(CLONE_FS)", errno))?;
        nix::sched::setns(self.mounts.as_fd(), CloneFlags::CLONE_NEWNS)
            .map_err(|errno| failed("setns(CLONE_NEWNS)", errno))?;
        nix::unistd::fchdir(&self.root).map_err(|errno| failed("fchdir", errno))?;
        nix::unistd::chroot(".").map_err(|errno| failed("chroot", errno))?;
        rustix::process::umask(Mode::empty());
        if let Some((uid, gid)) = self.mapped_root {
            // A file system of a user namespace takes no file whose owner it can't name: not even root's.
            setfsgid(Gid::from_raw(gid));
            setfsuid(Uid::from_raw(uid));
        }
        Ok(())
    }
}

const NO_CONTAINER: &str = "can't put devices into the container";
const NO_ENTRY: &str = "can't enter the container's mount namespace";
const AS_ROOT: &str = "the engine must run this hook as root with all capabilities, confined by no SELinux, AppArmor \
                       or seccomp policy";

fn namespace(pid: i32, name: &str) -> io::Result<File> {
    File::open(format!("/proc/{pid}/ns/{name}"))
}

fn same(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Our ids for uid 0 and gid 0 in `pid`'s user namespace.
fn root_of(pid: i32) -> Result<(u32, u32), Failure> {
    let of = |name: &str| {
        let file = format!("/proc/{pid}/{name}");
        let map = std::fs::read_to_string(&file)
            .map_err(|error| gone_or(pid, &format!("read of {file}"), &error))?;
        outside_of_root(&map).ok_or_else(|| {
            Failure::host(NO_CONTAINER, format!("its user namespace maps no root ({file})")).remedy(
                "map id 0 in the container's uidMappings and gidMappings, or run it without a user namespace",
            )
        })
    };
    Ok((of("uid_map")?, of("gid_map")?))
}

/// A line of uid_map: first id inside, first id outside, how many.
fn outside_of_root(map: &str) -> Option<u32> {
    let mut lines = map
        .lines()
        .map(|line| line.split_whitespace().map(str::parse::<u32>));
    lines.find_map(|mut numbers| {
        let (inside, outside) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (inside == 0).then_some(outside)
    })
}

fn gone_or(pid: i32, call: &str, error: &io::Error) -> Failure {
    let why = format!("{call} for its process {pid}: {error}");
    Failure::host(NO_CONTAINER, why).remedy(match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => {
            "it has ended: see the runtime's or engine's log for why, and start it again"
        }
        _ => AS_ROOT,
    })
}

/// A VM runtime calls its hooks with a process of its own on the host. What is in the machine is a kernel that knows no
/// device of the host's driver, and a MIG device is no PCI device that could be passed on to it.
fn not_a_container(pid: i32) -> Failure {
    let why = format!(
        "its process {pid} is in this hook's own mount namespace: a VM runtime (Kata, Firecracker, Cloud Hypervisor), or a \
         spec without a mount namespace"
    );
    Failure::refused("no MIG device for this container", why).remedy(
        "give a VM a whole GPU by VFIO or a MIG-backed vGPU; give any other container a new mount namespace",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_namespace_is_never_entered() {
        for pid in [0, 1, -1, std::process::id() as i32] {
            let failure = Init::open(pid).map(drop).unwrap_err().to_string();
            assert!(failure.contains("this hook's own mount namespace"), "{failure}");
        }
        let failure = Init::open(i32::MAX).map(drop).unwrap_err().to_string();
        assert!(failure.contains("pidfd_open"), "{failure}");
    }

    #[test]
    fn the_containers_root_is_found_in_a_map() {
        assert_eq!(
            outside_of_root("         0     100000      65536\n"),
            Some(100_000)
        );
        assert_eq!(outside_of_root("1 100001 10\n0 1000 1\n"), Some(1000));
        assert_eq!(outside_of_root("1000 0 1\n"), None);
        assert_eq!(outside_of_root(""), None);
    }
}
