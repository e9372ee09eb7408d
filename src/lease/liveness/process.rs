//! Whether one process still runs, and how it is named so that no later one is taken for it.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::clock;
use crate::failure::Failure;
use crate::lease::Process;
use crate::lease::transition::ProcessState;

/// Whether that very process still runs; its pid is one of our namespace.
pub(super) fn state(process: &Process) -> ProcessState {
    if is_seen_running(process) {
        return ProcessState::Alive;
    }
    let Some(pid) = Pid::from_raw(process.pid.max(0)) else {
        return ProcessState::Unknown;
    };
    // The pidfd first: from here on the pid can't come to mean another process unnoticed.
    match pidfd_open(pid, PidfdFlags::empty()) {
        // The number is nobody's; or no process's: a thread's (ENOENT since Linux 6.15), or only still the name of a
        // group or session. A process that was named by `name` has ended then.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => ProcessState::Gone,
        // No pidfd to be had (EMFILE, ENFILE, ENOMEM, a seccomp filter's EPERM): that says nothing of the process.
        Err(_) if is_another(process) => ProcessState::Gone,
        Err(_) => ProcessState::Alive,
        Ok(_) if is_another(process) => ProcessState::Gone,
        Ok(pidfd) if has_ended(&pidfd) => ProcessState::Gone,
        Ok(_) => ProcessState::Alive,
    }
}

/// Whether one look at /proc shows that very process, and that its leader hasn't ended: most of a full node's holders, for
/// a third of what a pidfd costs.
fn is_seen_running(process: &Process) -> bool {
    shown(process.pid).is_ok_and(|shown| shown.runs && is_start_of(process, shown.start))
}

/// The pidfd of that very process, while it runs.
pub(super) fn end_of(process: &Process) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(process.pid.max(0))?, PidfdFlags::empty()).ok()?;
    (!is_another(process) && !has_ended(&pidfd)).then_some(pidfd)
}

/// Whether the pid is now another process's, by its start. One that can't be read is none: /proc may hide it.
///
/// Starts a tick apart are the same, as time namespaces may round them (`clock`). So a pid that comes again within two
/// hundredths of a second passes for the process that had it: its device stays out of use until that one ends too.
fn is_another(process: &Process) -> bool {
    start_of(process.pid).is_ok_and(|start| !is_start_of(process, start))
}

fn is_start_of(process: &Process, start: u64) -> bool {
    start.abs_diff(process.start) <= 1
}

/// Readable once every thread has ended: a zombie is gone, a dead leader with living threads is not.
pub(super) fn has_ended(pidfd: &OwnedFd) -> bool {
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().contains(PollFlags::IN)
}

/// Names the process `pid`, a pid of our namespace, of that inode.
///
/// A thread's number is refused: /proc shows it like a process, and to a pidfd it is none, so that it would pass for
/// gone. So is what no pidfd can be had of: it could be such.
pub(super) fn name(pid: i32, pid_namespace: u64) -> Result<Process, Failure> {
    let raw = Pid::from_raw(pid.max(0)).ok_or_else(|| no_process(pid, "that is no process's number"))?;
    match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(_) => {}
        Err(Errno::INVAL | Errno::NOENT) => {
            return Err(no_process(pid, "it is a thread's number, or was a process's"));
        }
        // Nobody has pidfds here: under valgrind, which counts our instructions. /proc knows threads as well.
        Err(Errno::NOSYS) if is_process(pid) => {}
        Err(error) => return Err(no_process(pid, &error.to_string())),
    }
    let start = start_of(pid).map_err(|error| no_process(pid, &error.to_string()))?;
    Ok(Process {
        pid,
        start,
        pid_namespace,
    })
}

/// Whether process `pid` is the first of a pid namespace other than that one, ours.
pub(super) fn is_init_of_another_namespace(pid: i32, ours: u64) -> Result<bool, Failure> {
    let look = || -> io::Result<bool> {
        if std::fs::metadata(format!("/proc/{pid}/ns/pid"))?.ino() == ours {
            return Ok(false);
        }
        // Its pid in each namespace, its own the last.
        Ok(pids(&pid.to_string())?.last().is_some_and(|own| own == "1"))
    };
    look().map_err(|error| no_process(pid, &error.to_string()))
}

/// Whether /proc shows the processes of our own pid namespace: then we have one number there, and in an ancestor's
/// one for each generation.
pub(super) fn proc_is_ours() -> io::Result<bool> {
    Ok(pids("self")?.len() == 1)
}

/// Whether that is a process's number, by /proc, and not a thread's.
fn is_process(pid: i32) -> bool {
    field(&pid.to_string(), "Tgid:").is_ok_and(|tgid| tgid == [pid.to_string()])
}

/// The process's numbers: first in the pid namespace of /proc, last in its own.
fn pids(pid: &str) -> io::Result<Vec<String>> {
    field(pid, "NSpid:")
}

/// The words of a line of a process's status.
fn field(pid: &str, name: &str) -> io::Result<Vec<String>> {
    let status = String::from_utf8_lossy(&read(&format!("/proc/{pid}/status"))?).into_owned();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.ok_or(ErrorKind::Unsupported)?;
    Ok(line.split_ascii_whitespace().map(str::to_owned).collect())
}

/// What /proc/PID/stat shows of a process.
struct Shown {
    /// When it started, in clock ticks since the machine did.
    start: u64,
    /// Its leader is neither a zombie nor dead. Where it is, other threads may still run.
    runs: bool,
}

fn start_of(pid: i32) -> io::Result<u64> {
    shown(pid).map(|shown| shown.start)
}

fn shown(pid: i32) -> io::Result<Shown> {
    let shown = shown_in(&read(&format!("/proc/{pid}/stat"))?).ok_or(ErrorKind::InvalidData)?;
    let start = clock::ticks(shown.start).ok_or(ErrorKind::Unsupported)?;
    Ok(Shown { start, ..shown })
}

/// A file of /proc. Such files tell no size, so `fs::read` would feel its way from 32 bytes.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Fields 3 and 22 of a process's stat. The second, its command in brackets, may hold anything. A full node has dozens to
/// ask for, so nothing else is read out of the line.
fn shown_in(stat: &[u8]) -> Option<Shown> {
    let behind_command = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(stat.get(behind_command..)?)
        .ok()?
        .split_ascii_whitespace();
    let state = fields.next()?;
    Some(Shown {
        runs: !matches!(state, "Z" | "X" | "x"),
        start: fields.nth(22 - 4)?.parse().ok()?,
    })
}

/// A process that isn't there, or isn't shown to us (hidepid): nobody can be bound to it.
pub(super) fn no_process(pid: i32, why: &str) -> Failure {
    Failure::host(format!("process {pid} is gone or can't be seen"), why).remedy("start the container again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_started_when_proc_says_it_did() {
        let own = procfs::process::Process::myself().unwrap();
        let start = start_of(own.pid).unwrap();
        assert_eq!(start, clock::ticks(own.stat().unwrap().starttime).unwrap());
        assert!(start_of(i32::MAX).is_err());
    }

    #[test]
    fn a_command_that_looks_like_the_fields_behind_it_is_none() {
        let stat = b"7 () S 1 2 3 (\xff) S 1 7 7 0 -1 4194304 76 0 0 0 0 0 0 0 20 0 1 0 514388 5783552 211\n";
        assert!(shown_in(stat).is_some_and(|shown| shown.start == 514_388 && shown.runs));
        assert!(shown_in(b"7 (short) S 1 7").is_none());
    }

    #[test]
    fn a_leader_that_has_ended_does_not_run() {
        let stat =
            |state| format!("7 (a) {state} 1 7 7 0 -1 4194304 76 0 0 0 0 0 0 0 20 0 1 0 514388 5783552 211");
        let runs = |state| shown_in(stat(state).as_bytes()).unwrap().runs;
        assert!(["R", "S", "D", "T", "t", "I"].into_iter().all(runs));
        assert!(!["Z", "X", "x"].into_iter().any(runs));
    }
}
