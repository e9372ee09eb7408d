//! Stops a stage's processes at each of their system calls and does there what a [`Watcher`] orders: ptrace(2), as
//! strace has it, in this process. What becomes another program, such as a real runtime, goes its own way from there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::call::Call;
use crate::kinds::Kind;
use crate::registers;
use crate::support::machine::{INTERPOSED, PROGRAM};
use crate::watchdog::Watchdog;
use crate::watcher::{Order, Watcher};

/// A process or thread that is traced.
struct Traced {
    process: usize,
    /// The first thread of its process: they live and die together.
    leader: usize,
    /// From its `main` on, its calls are the watcher's.
    is_in_main: bool,
    /// It is, or has been, one of our programs; the shell that becomes one is not yet.
    is_ours: bool,
    pending: Pending,
}

/// What is to be done when the call that a process is in is done.
#[derive(Clone, Copy)]
enum Pending {
    Nothing,
    /// It is to be told of the watcher.
    Tell,
    Fail(Errno),
    Kill,
    /// The third argument is to be as it was.
    Restore(u64),
}

/// The end of one process of the stage's.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub process: usize,
    pub leader: usize,
    pub how: WaitStatus,
}

/// What became of a stage's processes.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    pub ends: Vec<End>,
    /// Those that became other programs.
    pub others: Vec<i32>,
}

/// The loop that traces.
pub struct Tracer<'a> {
    watcher: &'a mut dyn Watcher,
    watchdog: &'a Watchdog,
    traced: BTreeMap<Pid, Traced>,
    /// Stopped before their parent's stop told of them.
    early: BTreeSet<Pid>,
    born: usize,
    seen: Traces,
    ours: Vec<(u64, u64)>,
}

impl<'a> Tracer<'a> {
    pub fn new(watcher: &'a mut dyn Watcher, watchdog: &'a Watchdog) -> Self {
        let programs = [PROGRAM, INTERPOSED].map(|path| fs::metadata(path).expect("a program under test"));
        Self {
            watcher,
            watchdog,
            traced: BTreeMap::new(),
            early: BTreeSet::new(),
            born: 0,
            seen: Traces::default(),
            ours: programs.map(|found| (found.dev(), found.ino())).to_vec(),
        }
    }

    /// Traces what `shell`, a child of this thread's that asked for it and has just become a shell, runs as its first
    /// command; the shell itself is left alone from then on. Comes back when all that is traced has ended.
    pub fn run(mut self, shell: Pid) -> Traces {
        waitpid(shell, Some(WaitPidFlag::__WALL)).expect("the shell's start");
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(shell, options).expect("ptrace");
        ptrace::cont(shell, None).expect("ptrace");
        while self.born == 0 || !self.traced.is_empty() {
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            match waitpid(None, Some(flags)) {
                Ok(status) if status.pid() == Some(shell) => self.shell(shell, status),
                Ok(status) => self.step(status),
                Err(Errno::EINTR) => {}
                Err(errno) => panic!("nothing to trace any more: {errno}"),
            }
        }
        self.seen
    }

    fn shell(&mut self, shell: Pid, status: WaitStatus) {
        match status {
            WaitStatus::PtraceEvent(_, _, event) if is_birth(event) => {
                self.adopt(shell, event);
                let _ = ptrace::detach(shell, None);
            }
            WaitStatus::Stopped(_, signal) => drop(ptrace::cont(shell, signal)),
            // The watchdog ends it where it must; before its first child there is nothing to wait for.
            _ => assert!(self.born > 0, "the shell ended at once: {status:?}"),
        }
    }

    fn step(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::PtraceSyscall(pid) => self.at_a_call(pid),
            WaitStatus::PtraceEvent(pid, _, event) if is_birth(event) => {
                self.adopt(pid, event);
                self.resume(pid, None);
            }
            WaitStatus::PtraceEvent(pid, _, event) if event == Event::PTRACE_EVENT_EXEC as i32 => {
                self.at_an_exec(pid)
            }
            WaitStatus::PtraceEvent(pid, ..) => self.resume(pid, None),
            WaitStatus::Stopped(pid, Signal::SIGSTOP) if !self.traced.contains_key(&pid) => {
                self.early.insert(pid);
            }
            // The first stop of a child; none of these programs is ever stopped otherwise.
            WaitStatus::Stopped(pid, Signal::SIGSTOP) => self.resume(pid, None),
            WaitStatus::Stopped(pid, signal) => self.resume(pid, Some(signal)),
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => self.ended(pid, status),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
        }
    }

    /// Takes the child whose birth `parent` has stopped at.
    fn adopt(&mut self, parent: Pid, event: i32) {
        let Ok(child) = ptrace::getevent(parent) else {
            return;
        };
        let child = Pid::from_raw(child as i32);
        let process = self.born;
        let parent = self.traced.get(&parent);
        let is_ours = parent.is_some_and(|parent| parent.is_ours);
        let is_in_main = parent.is_some_and(|parent| parent.is_in_main);
        let is_thread = event == Event::PTRACE_EVENT_CLONE as i32;
        let leader = parent
            .filter(|_| is_thread)
            .map_or(process, |parent| parent.leader);
        self.born += 1;
        self.watchdog.watch(child);
        self.traced.insert(
            child,
            Traced {
                process,
                leader,
                is_in_main,
                is_ours,
                pending: Pending::Nothing,
            },
        );
        if self.early.remove(&child) {
            self.resume(child, None);
        }
    }

    fn at_an_exec(&mut self, pid: Pid) {
        let program = fs::metadata(format!("/proc/{pid}/exe"));
        let is_ours = program.is_ok_and(|found| self.ours.contains(&(found.dev(), found.ino())));
        match self.traced.get_mut(&pid) {
            Some(traced) if is_ours => {
                traced.is_ours = true;
                traced.is_in_main = false;
                self.resume(pid, None);
            }
            _ => {
                self.traced.remove(&pid);
                self.seen.others.push(pid.as_raw());
                let _ = ptrace::detach(pid, None);
            }
        }
    }

    fn at_a_call(&mut self, pid: Pid) {
        let stop = ptrace::syscall_info(pid).map(|info| info.op);
        match stop {
            Ok(libc::PTRACE_SYSCALL_INFO_ENTRY) => self.at_an_entry(pid),
            Ok(libc::PTRACE_SYSCALL_INFO_EXIT) => self.at_an_exit(pid),
            // It was killed meanwhile.
            _ => {}
        }
        self.resume(pid, None);
    }

    fn at_an_entry(&mut self, pid: Pid) {
        let (Some(traced), Ok((number, arguments))) = (self.traced.get_mut(&pid), registers::call(pid))
        else {
            return;
        };
        let call = Call {
            pid,
            process: traced.process,
            leader: traced.leader,
            kind: Kind::of(number),
            arguments,
        };
        if !traced.is_in_main {
            traced.is_in_main = traced.is_ours && call.comes_before_main();
            return;
        }
        let order = self.watcher.enters(&call);
        traced.pending = match order {
            Order::Go => Pending::Tell,
            Order::KillBefore => {
                let _ = kill(pid, Signal::SIGKILL);
                Pending::Nothing
            }
            Order::KillAfter => Pending::Kill,
            Order::Fail(errno) => {
                let _ = registers::skip(pid);
                Pending::Fail(errno)
            }
            Order::Shorten => {
                let _ = registers::set_length(pid, 1);
                Pending::Restore(arguments[2])
            }
        };
    }

    fn at_an_exit(&mut self, pid: Pid) {
        let Some(traced) = self.traced.get_mut(&pid) else {
            return;
        };
        let process = traced.process;
        match std::mem::replace(&mut traced.pending, Pending::Nothing) {
            Pending::Nothing => {}
            Pending::Tell => {
                if let Ok(result) = registers::result(pid) {
                    self.watcher.leaves(process, result);
                }
            }
            Pending::Fail(errno) => drop(registers::fail(pid, errno)),
            Pending::Kill => drop(kill(pid, Signal::SIGKILL)),
            Pending::Restore(length) => drop(registers::set_length(pid, length)),
        }
    }

    /// Lets it run on, to its next call where that matters.
    fn resume(&self, pid: Pid, signal: Option<Signal>) {
        let Some(traced) = self.traced.get(&pid) else {
            return;
        };
        let is_idle = matches!(traced.pending, Pending::Nothing | Pending::Tell);
        // It fails where the process was killed meanwhile: its end is waited for all the same.
        let _ = match !traced.is_ours || is_idle && self.watcher.is_done() {
            true => ptrace::cont(pid, signal),
            false => ptrace::syscall(pid, signal),
        };
    }

    fn ended(&mut self, pid: Pid, how: WaitStatus) {
        if let Some(traced) = self.traced.remove(&pid) {
            self.watchdog.unwatch(pid);
            self.seen.ends.push(End {
                process: traced.process,
                leader: traced.leader,
                how,
            });
        }
    }
}

fn is_birth(event: i32) -> bool {
    let births = [
        Event::PTRACE_EVENT_FORK,
        Event::PTRACE_EVENT_VFORK,
        Event::PTRACE_EVENT_CLONE,
    ];
    births.into_iter().any(|birth| birth as i32 == event)
}
