//! What is found wrong in one trial.

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use crate::maker::Ended;
use crate::plan::{Blow, Point};
use crate::tracer::End;

/// Collects what is wrong.
#[derive(Debug, Default)]
pub struct Judge {
    pub violations: Vec<String>,
}

impl Judge {
    pub fn wrong(&mut self, what: String) {
        self.violations.push(what);
    }

    pub fn holds(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong(what());
        }
    }

    pub fn same(&mut self, what: &str, before: &str, now: &str) {
        let only = |one: &str, other: &str| -> Vec<String> {
            let lines = one.lines().filter(|line| !other.lines().any(|it| it == *line));
            lines.map(str::to_owned).collect()
        };
        self.holds(before == now, || {
            let (gone, new) = (only(before, now), only(now, before));
            format!("{what} are no longer as they were: gone {gone:?}, new {new:?}")
        });
    }

    /// The stage came to an end, and to a clean one: success, or one line and an exit code of its own. Where `point`
    /// killed its first process there is nothing to ask but that the others ended too.
    pub fn ended_cleanly(&mut self, ended: &Ended, point: &Point, manner: &Manner) {
        let Ended { code, stderr, .. } = ended;
        self.holds(!ended.hung, || "it hangs".to_owned());
        let unclean = ended.ends.iter().find(|end| !is_clean(end, point));
        if let Some(End { process, how, .. }) = unclean {
            return self.wrong(format!("process {process} ended with {how:?}: {stderr}"));
        }
        let was_killed = ended.was_killed() || manner.is_a_runtime && *code == 128 + libc::SIGKILL;
        if was_killed || ended.hung {
            return;
        }
        let stderr = &manner.ours(stderr);
        self.holds(manner.may_end(*code, stderr), || {
            format!("exit code {code}: {stderr}")
        });
        match code {
            0 => self.holds(
                stderr.is_empty() || manner.is_a_runtime && is_one_line(stderr),
                || format!("it succeeded and said: {stderr}"),
            ),
            _ => self.holds(is_one_line(stderr), || {
                format!("it failed with {code} and said: {stderr:?}")
            }),
        }
    }
}

/// How a stage may end.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Where nothing is done to it.
    pub alone: i32,
    /// Where something is: one of these.
    pub struck: &'static [i32],
    /// What comes of it is a real runtime's answer: that may have been killed, or say things of its own, and the answer
    /// stands where we have something to say besides.
    pub is_a_runtime: bool,
    /// It says that it waits.
    pub waits: bool,
}

impl Manner {
    /// Success, or this machine's fault.
    pub const PLAIN: Manner = Manner {
        alone: 0,
        struck: &[0, 3],
        is_a_runtime: false,
        waits: false,
    };

    /// Of what was said, what we are to answer for.
    fn ours(&self, stderr: &str) -> String {
        let is_a_runtimes = |line: &str| self.is_a_runtime && !line.starts_with("oci-mig-hook: ");
        let is_told = |line: &str| self.waits && line.contains(" waits: ");
        let lines = stderr.split_inclusive('\n');
        lines
            .filter(|line| !is_a_runtimes(line) && !is_told(line))
            .collect()
    }

    fn may_end(&self, code: i32, stderr: &str) -> bool {
        // What can't be looked at may be in use: it is refused, or left where it is.
        let is_careful = || {
            [" held (", "stays with container"]
                .iter()
                .any(|text| stderr.contains(text))
        };
        self.struck.contains(&code) || code == 1 && is_careful()
    }
}

fn is_one_line(text: &str) -> bool {
    text.starts_with("oci-mig-hook: ") && text.ends_with('\n') && text.matches('\n').count() == 1
}

/// No process may panic, or be ended by a signal that we or its parent didn't send: the parent ends the child that
/// asks NVML.
fn is_clean(end: &End, point: &Point) -> bool {
    let is_struck = point.leader == end.leader;
    let kills = matches!(point.blow, Blow::KillBefore | Blow::KillAfter);
    match end.how {
        WaitStatus::Exited(_, code) => code != 101,
        WaitStatus::Signaled(_, Signal::SIGKILL, _) => end.leader > 0 || is_struck && kills,
        _ => false,
    }
}
