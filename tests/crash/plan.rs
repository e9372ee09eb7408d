//! The points: every call of a stage, and all that is done to it.

use std::fmt;

use nix::errno::Errno;

/// What is done to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    KillBefore,
    KillAfter,
    /// It fails once.
    Fail(Errno),
    /// It fails, and so does every later call that can fail so: a full disk stays full.
    FailFromThereOn(Errno),
    /// It moves one byte.
    Shorten,
}

/// One call of a stage, by its process, its kind, and how many of that kind the process made before: what comes to the
/// same call in another run, though pids, lease ids and the time are others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub process: usize,
    pub kind: &'static str,
    pub nth: usize,
}

/// A call and what is done to it.
#[derive(Clone, Debug)]
pub struct Point {
    pub place: Place,
    /// The first thread of the process: a kill is all its threads'.
    pub leader: usize,
    pub blow: Blow,
    /// What the call is about, for whoever reads of it.
    pub subject: String,
    /// It is always tried.
    pub is_dear: bool,
}

impl Point {
    /// Whether more than one call fails: what undoes the first step may be among them.
    pub fn persists(&self) -> bool {
        matches!(self.blow, Blow::FailFromThereOn(_))
    }

    /// Whether it is an answer that a program is to take and go on, as if nothing were.
    pub fn is_to_be_survived(&self) -> bool {
        matches!(self.blow, Blow::Shorten | Blow::Fail(Errno::EINTR))
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blow::KillBefore => f.write_str("killed before"),
            Blow::KillAfter => f.write_str("killed after"),
            Blow::Fail(errno) => write!(f, "{errno:?} from"),
            Blow::FailFromThereOn(errno) => write!(f, "{errno:?} from there on, from"),
            Blow::Shorten => f.write_str("one byte by"),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { process, kind, nth } = self.place;
        write!(
            f,
            "{} {kind} #{nth} of process {process} ({})",
            self.blow, self.subject
        )
    }
}
