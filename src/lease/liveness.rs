//! Gone or alive: what the machine shows of a lease's holder. Reads the real /proc and the cgroups, changes nothing.
//!
//! Evidence that can't be had never reads as gone: it leaves a device out of use, for a while or until somebody looks
//! who can see. What follows from these answers is in [`transition`](super::transition).
//!
//! The process that the lease is bound to:
//!
//! | what is seen                                     | it is   | because                                                |
//! |--------------------------------------------------|---------|--------------------------------------------------------|
//! | it was recorded in another pid namespace         | unknown | its number is another process's here, or nobody's      |
//! | its start and a leader that runs (/proc/PID/stat) | alive  | one read shows both; what follows isn't asked then     |
//! | nobody has its number (ESRCH)                    | gone    | a zombie still has it, so it was reaped as well        |
//! | its number is a thread's now (EINVAL, ENOENT)    | gone    | it was a process's when it was recorded (`process::name`) |
//! | another start time                               | gone    | a number is given anew only when it has become free    |
//! | the same start, or a tick beside it              | goes on below | a number given anew that soon keeps the device until the newer ends: too long, never too short |
//! | its pidfd polls readable: zombies                | gone    | every thread has ended; who was made to share its files is a process by itself |
//! | it doesn't: a dead leader with living threads    | alive   | the threads still have the device open                 |
//! | stopped, frozen, paused; killed while frozen     | alive   | it goes on, or ends, once it is let                    |
//! | no pidfd (EMFILE, ENFILE, ENOMEM, EPERM)         | alive   | the lack is ours                                       |
//! | no /proc/PID/stat (hidepid, EMFILE; it just ended) | as the pidfd says | what can't be read is no other start          |
//!
//! Its container's cgroups, all of them with all below, where the process is gone or unknown or the lease is Pending:
//!
//! | what is seen                                     | it is     | because                                              |
//! |--------------------------------------------------|-----------|------------------------------------------------------|
//! | the container had a pid namespace of its own, and its first process is gone | none | the kernel lets that one end only when all others in there, nested ones too, have been reaped |
//! | it has none of its own                           | none      | a shared one is full or empty whatever it does; who has none is refused, as no device rule would hold, but for a privileged one (README) |
//! | recorded in another cgroup namespace             | unknown   | its paths mean other groups here                     |
//! | v2: `populated 1`; v1: a pid in any cgroup.procs | populated | covers frozen ones, threaded groups and what systemd moved below |
//! | v2: `populated 0`; v1: no pid in any             | empty     | both drop a task when it exits, and a dead leader counts while a thread lives |
//! | v1, recorded in another pid namespace: no pid    | unknown   | cgroup.procs leaves out what our namespace doesn't show |
//! | no such group, in a hierarchy that is mounted    | empty     | only an empty group can be removed                   |
//! | the same name, made anew by somebody else        | theirs    | populated keeps the device too long, and empty is true of both |
//! | one of several hierarchies isn't mounted (any more) | unknown, or populated by another | in v1 a process can be moved in one hierarchy alone, so all must be empty |
//! | it can't be read (EACCES, EMFILE; EOPNOTSUPP of a threaded group's cgroup.procs), or has too many groups | unknown | the lack is ours |
//!
//! And around it: another boot id than the kernel's voids a lease, as no process outlives a boot; a hidden boot id
//! and a /proc that isn't our pid namespace's stop us (`Here::look`). A time namespace's offset is taken out of
//! start times and of our clock (`clock`). Numbers of namespaces are given anew when a namespace has ended: of a pid
//! namespace's that is harmless, as all that was recorded in it has ended with it; an engine in a container must share
//! the host's cgroup namespace (README), which never ends. A container nested in ours lives in its pid namespace and
//! below its groups; only CAP_SYS_ADMIN, which is refused, could put it beside them.

mod clock;
mod process;

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::transition::{CgroupState, Evidence, Occasion, ProcessState};
use super::{Container, End, Lease, LeaseState, Process};
use crate::cgroup::{self, CgroupPath, Mounts, Population};
use crate::failure::Failure;

pub use clock::now;
use process::no_process;

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
    mounts: OnceCell<io::Result<Mounts>>,
}

impl Here {
    /// Looks around.
    ///
    /// # Errors
    /// A host failure where /proc isn't what it should be.
    pub fn look() -> Result<Here, Failure> {
        Ok(Here {
            boot_id: boot_id()?,
            pid_namespace: pid_namespace()?,
            cgroup_namespace: inode("/proc/self/ns/cgroup")?,
            mounts: OnceCell::new(),
        })
    }

    /// What the machine shows of `lease`'s holder; `pending` is how long a lease may wait for its container.
    pub fn evidence(&self, lease: &Lease, pending: Duration) -> Evidence {
        self.evidence_besides(lease, pending, None, Occasion::End)
    }

    /// The same, where the process `besides` in the container's cgroup says nothing: a container that asks may have
    /// been put into the cgroup of its own earlier run.
    ///
    /// What decides nothing on that occasion is not looked at: a full node has a hundred leases.
    pub fn evidence_besides(
        &self,
        lease: &Lease,
        pending: Duration,
        besides: Option<i32>,
        occasion: Occasion,
    ) -> Evidence {
        let container = lease.holder.container();
        let process = self.process_state(&container.process);
        let age = Duration::from_millis(now().saturating_sub(lease.written));
        let overdue = age > pending;
        Evidence {
            this_boot: lease.boot_id == self.boot_id,
            process,
            cgroup: match process {
                // A living container's cgroup decides nothing: no need to look.
                ProcessState::Alive if lease.state != LeaseState::Pending => CgroupState::None,
                // Nor does that of one that is being made, before its time is over.
                ProcessState::Alive if occasion == Occasion::Look && !overdue => CgroupState::None,
                // All that was in it has ended with it. Whatever is in its cgroup was put there by somebody else.
                ProcessState::Gone if container.own_pid_namespace => CgroupState::None,
                _ => self.cgroup_state(container, besides),
            },
            overdue,
        }
    }

    /// Whether that very process still runs.
    pub fn process_state(&self, process: &Process) -> ProcessState {
        match process.pid_namespace == self.pid_namespace {
            true => process::state(process),
            false => ProcessState::Unknown,
        }
    }

    /// The end of that process, to sleep until it comes. None where it has come, or can't be seen from here.
    pub fn end_of(&self, process: &Process) -> Option<End> {
        match process.pid_namespace == self.pid_namespace {
            true => process::end_of(process).map(End),
            false => None,
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
            Ok(mounts) => worst(container.cgroups.iter().map(|group| population(mounts, group))),
            Err(_) => CgroupState::Unknown,
        }
    }

    /// Names the process `pid` so that a later one of the same pid is not mistaken for it.
    ///
    /// # Errors
    /// A host failure where there is no such process, or it can't be watched.
    pub fn name_process(&self, pid: i32) -> Result<Process, Failure> {
        process::name(pid, self.pid_namespace)
    }

    /// Whether process `pid` is the first of a pid namespace that isn't ours.
    ///
    /// # Errors
    /// A host failure where the process is gone.
    pub fn is_init_of_another_namespace(&self, pid: i32) -> Result<bool, Failure> {
        process::is_init_of_another_namespace(pid, self.pid_namespace)
    }

    /// The cgroups of process `pid` that are its container's alone: not the root, not this program's, not the
    /// engine's (its parent's), nor an ancestor of those. Only those that can be looked at later: what is mounted.
    ///
    /// # Errors
    /// A host failure where one of the processes is gone, or nobody can tell where cgroups are mounted.
    pub fn own_cgroups(&self, pid: i32) -> Result<Vec<CgroupPath>, Failure> {
        let groups = cgroup::of_process(pid).map_err(|error| no_process(pid, &error.to_string()))?;
        self.owned(groups)
    }

    /// The groups that an OCI spec's `linux.cgroupsPath` names, less those that are nobody's own.
    ///
    /// # Errors
    /// A host failure where the engine is gone, or nobody can tell where cgroups are mounted.
    pub fn own_cgroups_of_spec(&self, cgroups_path: &str) -> Result<Vec<CgroupPath>, Failure> {
        self.owned(self.known_mounts()?.from_spec(cgroups_path))
    }

    fn owned(&self, mut groups: Vec<CgroupPath>) -> Result<Vec<CgroupPath>, Failure> {
        let others = cgroup::bystanders()
            .map_err(|error| no_process(nix::unistd::getppid().as_raw(), &error.to_string()))?;
        let mounts = self.known_mounts()?;
        let is_mounted = |group: &CgroupPath| mounts.directory(group).is_some();
        groups.retain(|group| cgroup::is_own(group, &others) && is_mounted(group));
        Ok(groups)
    }

    fn mounts(&self) -> &io::Result<Mounts> {
        self.mounts.get_or_init(Mounts::read)
    }

    /// For a record: one without the cgroups that its container has would be taken for gone too early.
    fn known_mounts(&self) -> Result<&Mounts, Failure> {
        let mounts = self.mounts().as_ref();
        mounts.map_err(|error| unreadable("/proc/thread-self/mountinfo", error))
    }
}

/// Whether a process has ended.
pub(super) fn has_come(end: &End) -> bool {
    process::has_ended(&end.0)
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

/// The kernel's boot id. systemd-nspawn hides it behind one of its own, with which every lease of the host's would look
/// like one of an earlier boot: void, while its holder lives.
fn boot_id() -> Result<String, Failure> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let mut file = File::open(PATH).map_err(|error| unreadable(PATH, &error))?;
    let found = rustix::fs::fstatfs(&file).map_err(|error| unreadable(PATH, &error.into()))?;
    if found.f_type != rustix::fs::PROC_SUPER_MAGIC {
        return Err(Failure::host(
            "the kernel's boot id is hidden",
            format!("another file is mounted on {PATH}"),
        )
        .remedy("unmount that where this hook runs, or run the engine outside this container"));
    }
    let mut id = String::new();
    file.read_to_string(&mut id)
        .map_err(|error| unreadable(PATH, &error))?;
    Ok(id.trim_end().to_owned())
}

/// Our pid namespace. The pids of a /proc of another one aren't those that the kernel takes from us.
fn pid_namespace() -> Result<u64, Failure> {
    if process::proc_is_ours().map_err(|error| unreadable("/proc/self/status", &error))? {
        return inode("/proc/self/ns/pid");
    }
    Err(Failure::host(
        "processes can't be told apart",
        "/proc is that of another pid namespace",
    )
    .remedy("mount the /proc of the pid namespace in which this hook runs (unshare --mount-proc)"))
}

fn inode(path: &str) -> Result<u64, Failure> {
    std::fs::metadata(path)
        .map(|found| found.ino())
        .map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &str, error: &std::io::Error) -> Failure {
    Failure::host(format!("can't read {path}"), error)
        .remedy("it must be readable to root where this hook runs: is /proc mounted?")
}
