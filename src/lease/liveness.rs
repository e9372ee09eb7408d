//! Gone or alive: what the machine shows of a lease's holder. Reads the real /proc and the cgroups, changes nothing.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::transition::{CgroupState, Evidence, ProcessState};
use super::{Container, Lease, LeaseState, Process};
use crate::cgroup::{self, CgroupPath, Mounts, Population};
use crate::failure::Failure;

/// Where the observer stands: what a record is compared with.
#[derive(Debug)]
pub struct Here {
    /// The kernel's boot id.
    pub boot_id: String,
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
        Ok(Here {
            boot_id: read("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned(),
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
        let process = self.process_state(&container.process);
        let age = Duration::from_millis(now().saturating_sub(lease.written));
        Evidence {
            this_boot: lease.boot_id == self.boot_id,
            process,
            cgroup: match process {
                // A living container's cgroup decides nothing: no need to look.
                ProcessState::Alive if lease.state != LeaseState::Pending => CgroupState::None,
                // All that was in it has ended with it. Whatever is in its cgroup was put there by somebody else.
                ProcessState::Gone if container.own_pid_namespace => CgroupState::None,
                _ => self.cgroup_state(container, besides),
            },
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
        // v1 shows only processes of our own pid namespace: from another one, empty says nothing.
        let sees_all = container.process.pid_namespace == self.pid_namespace;
        let population = |mounts: &Mounts, group: &CgroupPath| match mounts.population(group, besides) {
            Population::Empty if !sees_all && !group.is_v2() => Population::Unknown,
            population => population,
        };
        match self.mounts() {
            Some(mounts) => worst(container.cgroups.iter().map(|group| population(mounts, group))),
            None => CgroupState::Unknown,
        }
    }

    /// Names the process `pid` so that a later one of the same pid is not mistaken for it.
    ///
    /// # Errors
    /// A host failure where there is no such process.
    pub fn name_process(&self, pid: i32) -> Result<Process, Failure> {
        let start = start_of(pid).ok_or_else(|| gone(pid, "it can't be named"))?;
        Ok(Process {
            pid,
            start,
            pid_namespace: self.pid_namespace,
        })
    }

    /// Whether process `pid` is the first of a pid namespace that isn't ours.
    ///
    /// # Errors
    /// A host failure where the process is gone.
    pub fn is_init_of_another_namespace(&self, pid: i32) -> Result<bool, Failure> {
        let look = || -> io::Result<bool> {
            if std::fs::metadata(format!("/proc/{pid}/ns/pid"))?.ino() == self.pid_namespace {
                return Ok(false);
            }
            let status = String::from_utf8_lossy(&read(&format!("/proc/{pid}/status"))?).into_owned();
            let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            // Its pid in each namespace, its own the last.
            Ok(pids.and_then(|pids| pids.split_ascii_whitespace().next_back()) == Some("1"))
        };
        look().map_err(|error| gone(pid, &error.to_string()))
    }

    /// The cgroups of process `pid` that are its container's alone: not the root, not this program's, not the
    /// engine's (its parent's), nor an ancestor of those. Only those that can be looked at later: what is mounted.
    ///
    /// # Errors
    /// A host failure where one of the processes is gone.
    pub fn own_cgroups(&self, pid: i32) -> Result<Vec<CgroupPath>, Failure> {
        let groups = cgroup::of_process(pid).map_err(|error| gone(pid, &error.to_string()))?;
        self.owned(groups)
    }

    /// The groups that an OCI spec's `linux.cgroupsPath` names, less those that are nobody's own.
    ///
    /// # Errors
    /// A host failure where the engine is gone.
    pub fn own_cgroups_of_spec(&self, cgroups_path: &str) -> Result<Vec<CgroupPath>, Failure> {
        self.owned(
            self.mounts()
                .map(|mounts| mounts.from_spec(cgroups_path))
                .unwrap_or_default(),
        )
    }

    fn owned(&self, mut groups: Vec<CgroupPath>) -> Result<Vec<CgroupPath>, Failure> {
        let others = cgroup::bystanders()
            .map_err(|error| gone(nix::unistd::getppid().as_raw(), &error.to_string()))?;
        let is_mounted = |group: &CgroupPath| {
            self.mounts()
                .is_some_and(|mounts| mounts.directory(group).is_some())
        };
        groups.retain(|group| cgroup::is_own(group, &others) && is_mounted(group));
        Ok(groups)
    }

    fn mounts(&self) -> Option<&Mounts> {
        self.mounts.get_or_init(|| Mounts::read().ok()).as_ref()
    }
}

/// Now, as leases write it: milliseconds of CLOCK_BOOTTIME, which nobody can set.
pub fn now() -> u64 {
    // Through libc: rustix would look for the vDSO by itself, which valgrind doesn't survive. It can't fail.
    let clock = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    u64::try_from(clock.as_millis()).unwrap_or(u64::MAX)
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

/// When process `pid` started, in clock ticks since boot; none where it is gone. A full node has dozens to ask for, so
/// nothing else is read out of the line.
fn start_of(pid: i32) -> Option<u64> {
    start_in(&read(&format!("/proc/{pid}/stat")).ok()?)
}

/// A file of /proc. Such files tell no size, so `fs::read` would feel its way from 32 bytes.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Field 22 of a process's stat. The second, its command in brackets, may hold anything.
fn start_in(stat: &[u8]) -> Option<u64> {
    let behind_command = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(stat.get(behind_command..)?).ok()?;
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

fn gone(pid: i32, why: &str) -> Failure {
    Failure::host(format!("process {pid} is gone"), why).remedy("start the container again")
}

fn unreadable(path: &str, error: &std::io::Error) -> Failure {
    Failure::host(format!("can't read {path}"), error)
        .remedy("it must be readable to root where this hook runs: is /proc mounted?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_started_when_proc_says_it_did() {
        let own = procfs::process::Process::myself().unwrap();
        assert_eq!(start_of(own.pid), Some(own.stat().unwrap().starttime));
        assert_eq!(start_of(i32::MAX), None);
    }

    #[test]
    fn a_command_that_looks_like_the_fields_behind_it_is_none() {
        let stat = b"7 () S 1 2 3 (\xff) S 1 7 7 0 -1 4194304 76 0 0 0 0 0 0 0 20 0 1 0 514388 5783552 211\n";
        assert_eq!(start_in(stat), Some(514_388));
        assert_eq!(start_in(b"7 (short) S 1 7"), None);
    }
}
