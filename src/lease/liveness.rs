//! Gone or alive: what the machine shows of a lease's holder. Reads the real /proc and the cgroups, changes nothing.

use std::cell::OnceCell;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use procfs::process::Process as ProcProcess;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::transition::{CgroupState, Evidence, ProcessState};
use super::{Container, Lease, Process};
use crate::cgroup::{self, CgroupPath, Mounts, Population};
use crate::failure::Failure;

/// Where and when the observer stands: what a record is compared with.
#[derive(Debug)]
pub struct Here {
    /// The kernel's boot id.
    pub boot_id: String,
    /// Milliseconds of CLOCK_BOOTTIME.
    pub now: u64,
    /// Inode of our pid namespace.
    pub pid_namespace: u64,
    /// Inode of our cgroup namespace.
    pub cgroup_namespace: u64,
    /// Where cgroups are mounted: read once, and only for a lease that has cgroups to look at.
    mounts: OnceCell<Option<Mounts>>,
}

impl Here {
    /// Looks around.
    ///
    /// # Errors
    /// A host failure where /proc isn't what it should be.
    pub fn look() -> Result<Here, Failure> {
        let read = |path: &str| std::fs::read_to_string(path).map_err(|error| unreadable(path, &error));
        let inode = |path: &str| {
            std::fs::metadata(path)
                .map(|found| found.ino())
                .map_err(|error| unreadable(path, &error))
        };
        let clock = clock_gettime(ClockId::CLOCK_BOOTTIME)
            .map_err(|errno| Failure::host("no clock", format!("clock_gettime(CLOCK_BOOTTIME): {errno}")))?;
        Ok(Here {
            boot_id: read("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned(),
            now: u64::try_from(Duration::from(clock).as_millis()).unwrap_or(u64::MAX),
            pid_namespace: inode("/proc/self/ns/pid")?,
            cgroup_namespace: inode("/proc/self/ns/cgroup")?,
            mounts: OnceCell::new(),
        })
    }

    /// What the machine shows of `lease`'s holder; `pending` is how long a lease may wait for its container.
    pub fn evidence(&self, lease: &Lease, pending: Duration) -> Evidence {
        self.evidence_besides(lease, pending, None)
    }

    /// The same, where the process `besides` in the container's cgroup says nothing: a container that asks may have
    /// been put into the cgroup of its own earlier run.
    pub fn evidence_besides(&self, lease: &Lease, pending: Duration, besides: Option<i32>) -> Evidence {
        let container = lease.holder.container();
        let age = Duration::from_millis(self.now.saturating_sub(lease.written));
        Evidence {
            this_boot: lease.boot_id == self.boot_id,
            process: self.process_state(&container.process),
            cgroup: self.cgroup_state(container, besides),
            overdue: age > pending,
        }
    }

    /// Whether that very process still runs.
    pub fn process_state(&self, process: &Process) -> ProcessState {
        if process.pid_namespace != self.pid_namespace {
            return ProcessState::Unknown;
        }
        let Some(pid) = Pid::from_raw(process.pid.max(0)) else {
            return ProcessState::Gone;
        };
        // The pidfd first: from here on the pid can't come to mean another process unnoticed.
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return ProcessState::Gone,
            // The pid is a thread's now (ENOENT since Linux 6.15), so it was reused. Any other error says nothing.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => return ProcessState::Gone,
            Err(_) => return ProcessState::Alive,
        };
        if start_of(process.pid).is_some_and(|start| start != process.start) {
            return ProcessState::Gone;
        }
        let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
        // Readable once every thread has ended: a zombie is gone, a dead leader with living threads is not.
        match poll(
            &mut polled,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        ) {
            Ok(1) => ProcessState::Gone,
            _ => ProcessState::Alive,
        }
    }

    fn cgroup_state(&self, container: &Container, besides: Option<i32>) -> CgroupState {
        if container.cgroups.is_empty() {
            return CgroupState::None;
        }
        if container.cgroup_namespace != self.cgroup_namespace {
            return CgroupState::Unknown;
        }
        match self.mounts.get_or_init(|| Mounts::read().ok()) {
            Some(mounts) => worst(
                container
                    .cgroups
                    .iter()
                    .map(|group| mounts.population(group, besides)),
            ),
            None => CgroupState::Unknown,
        }
    }

    /// Names the process `pid` so that a later one of the same pid is not mistaken for it.
    ///
    /// # Errors
    /// A host failure where there is no such process.
    pub fn name_process(&self, pid: i32) -> Result<Process, Failure> {
        let start = start_of(pid).ok_or_else(|| {
            Failure::host(format!("process {pid} can't be named"), "it is gone")
                .remedy("whoever started this container ended meanwhile; start it again")
        })?;
        Ok(Process {
            pid,
            start,
            pid_namespace: self.pid_namespace,
        })
    }
}

/// The cgroups of process `pid` that are its container's alone: not the root, not this program's, not the engine's
/// (its parent's), nor an ancestor of those.
///
/// # Errors
/// A host failure where the process is gone.
pub fn own_cgroups(pid: i32) -> Result<Vec<CgroupPath>, Failure> {
    let others = bystanders();
    let mut own = cgroup::of_process(pid)
        .map_err(|error| Failure::host(format!("can't tell the cgroups of process {pid}"), error))?;
    own.retain(|path| cgroup::is_own(path, &others));
    Ok(own)
}

/// The groups that an OCI spec's `linux.cgroupsPath` names, less those that are nobody's own.
pub fn own_cgroups_of_spec(cgroups_path: &str) -> Vec<CgroupPath> {
    let others = bystanders();
    let mut own = cgroup::from_spec(cgroups_path);
    own.retain(|path| cgroup::is_own(path, &others));
    own
}

/// Where this program and its parent, the engine or runtime, run themselves.
fn bystanders() -> [Vec<CgroupPath>; 2] {
    let of = |pid: i32| cgroup::of_process(pid).unwrap_or_default();
    [
        of(nix::unistd::getpid().as_raw()),
        of(nix::unistd::getppid().as_raw()),
    ]
}

/// One populated group is enough; all must be seen to be empty.
fn worst(populations: impl Iterator<Item = Population>) -> CgroupState {
    let mut state = CgroupState::Empty;
    for population in populations {
        match population {
            Population::Populated => return CgroupState::Populated,
            Population::Unknown => state = CgroupState::Unknown,
            Population::Empty => {}
        }
    }
    state
}

/// When process `pid` started, in clock ticks since boot; none where it is gone.
fn start_of(pid: i32) -> Option<u64> {
    ProcProcess::new(pid).ok()?.stat().ok().map(|stat| stat.starttime)
}

fn unreadable(path: &str, error: &std::io::Error) -> Failure {
    Failure::host(format!("can't read {path}"), error).remedy("/proc must be mounted here")
}
