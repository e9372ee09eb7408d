//! Who is killed, and when: `kill -9` at a random moment of a container's making or life.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::support::machine::{INTERPOSED, PROGRAM};

/// Whose end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// A program of ours: a hook, its child that asks NVML, oci-mig-runtime before it becomes the real one.
    Hook,
    /// The real runtime.
    Runtime,
    /// A process that the runtime started: the container's first one, at whatever it is doing.
    Init,
}

/// One hunt.
pub struct Hunt {
    pub victim: Victim,
    /// Not before this.
    from: Instant,
    /// It was found, and has so long to live.
    found: Option<(i32, Instant)>,
    /// How much longer a victim lives that was found.
    grace: Duration,
    pub has_killed: bool,
}

impl Hunt {
    /// Begins now. `random` are two numbers of any size.
    pub fn new(victim: Victim, random: [u64; 2]) -> Self {
        let [when, grace] = random;
        let longest = match victim {
            // A hook lives for some milliseconds: whoever looks for one from the start finds the first.
            Victim::Hook if grace % 2 == 0 => 20,
            _ => 400,
        };
        Self {
            victim,
            from: Instant::now() + Duration::from_micros(when % (longest * 1000)),
            found: None,
            grace: Duration::from_micros(grace % 12_000),
            has_killed: false,
        }
    }

    /// Looks for the victim among what `runtime` is and has started, and kills it when its time has come.
    pub fn step(&mut self, runtime: i32) {
        let now = Instant::now();
        if self.has_killed || now < self.from {
            return;
        }
        match self.found {
            None => {
                let found = family(runtime).into_iter().find(|pid| self.is_it(*pid, runtime));
                self.found = found.map(|pid| (pid, now + self.grace));
            }
            Some((pid, until)) if now >= until => {
                self.found = None;
                self.has_killed = self.kill(pid, runtime);
            }
            Some(_) => {}
        }
    }

    fn is_it(&self, pid: i32, runtime: i32) -> bool {
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let is_ours = [PROGRAM, INTERPOSED]
            .iter()
            .any(|ours| program.as_os_str() == *ours);
        match self.victim {
            Victim::Hook => is_ours,
            Victim::Runtime => !is_ours && pid == runtime,
            Victim::Init => !is_ours && pid != runtime,
        }
    }

    /// It may have ended meanwhile, and its number be another's.
    fn kill(&self, pid: i32, runtime: i32) -> bool {
        let Some(pidfd) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            return false;
        };
        let is_still = family(runtime).contains(&pid) && self.is_it(pid, runtime);
        is_still && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
    }
}

/// A process and all below it, as they are now.
fn family(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten();
        let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let children: Vec<i32> = children
            .flat_map(|text| {
                text.split_whitespace()
                    .filter_map(|pid| pid.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect();
        all.extend(children);
        next += 1;
    }
    all
}
