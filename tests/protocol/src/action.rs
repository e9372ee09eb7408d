//! What can happen, and in words, for a trace.

use std::fmt;

use crate::sight::View;
use crate::stage::Answer;

/// Where a stage is killed: after so many writes. None where it isn't.
pub type Killed = Option<usize>;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A hook reserves.
    Reserve(usize, Killed),
    /// The driver has answered the hook.
    Answer(usize, Answer, Killed),
    /// The hook hands the config on.
    HandOn(usize),
    /// It can't, or the devices can't be put into the container: it takes the reservation back.
    Undo(usize, Killed),
    /// A reserving hook is killed, outside the lock.
    HookKilled(usize),
    /// The runtime makes the container: its first process exists.
    Make(usize),
    /// The container's hook confirms.
    Confirm(usize, Killed),
    /// The devices are in the live container, and it starts.
    Inject(usize),
    /// The engine gives up a container that it hasn't made.
    GiveUp(usize),
    /// The container's first process ends, and may leave others behind.
    FirstEnds(usize, bool),
    /// What it left behind ends.
    RestEnds(usize),
    /// The poststop hook of an attempt, in time or late.
    Poststop(usize, Killed),
    /// Somebody looks at a lease.
    Look(usize, View, Killed),
    /// A maker ends.
    MakerEnds(usize),
    /// `lease.pending` is over for that lease.
    TimeIsUp(usize),
    /// An attempt begins with a copy of another's config.
    Copy(usize, usize),
    /// A config comes to name other devices.
    Tamper(usize),
    /// A lease file rots.
    Rot(usize),
    /// The machine is restarted; with it its ledger is wiped, or not.
    Reboot(bool),
    /// Nothing, though something is left.
    Stop,
}

impl Action {
    /// Whether it is nothing that comes by itself.
    pub fn disturbs(&self) -> bool {
        match self {
            Action::Reserve(_, killed)
            | Action::Answer(_, _, killed)
            | Action::Undo(_, killed)
            | Action::Confirm(_, killed)
            | Action::Poststop(_, killed)
            | Action::Look(_, _, killed) => killed.is_some(),
            Action::HookKilled(_)
            | Action::Copy(..)
            | Action::Tamper(_)
            | Action::Rot(_)
            | Action::Reboot(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, killed) = match *self {
            Action::Reserve(who, killed) => (format!("{who} reserves"), killed),
            Action::Answer(who, Answer::AsKnown, killed) => {
                (format!("{who}'s devices are there, its lease is bound"), killed)
            }
            Action::Answer(who, Answer::Differs, killed) => {
                (format!("{who}'s devices are not as remembered"), killed)
            }
            Action::HandOn(who) => (format!("{who}'s config is handed on"), None),
            Action::Undo(who, killed) => (format!("{who} takes its reservation back"), killed),
            Action::HookKilled(who) => (format!("{who}'s hook is killed"), None),
            Action::Make(who) => (format!("{who}'s container is made"), None),
            Action::Confirm(who, killed) => (format!("{who} confirms"), killed),
            Action::Inject(who) => (format!("{who} gets its devices live"), None),
            Action::GiveUp(who) => (format!("{who} is given up"), None),
            Action::FirstEnds(who, false) => (format!("{who}'s container ends"), None),
            Action::FirstEnds(who, true) => (
                format!("{who}'s container ends and leaves processes behind"),
                None,
            ),
            Action::RestEnds(who) => (format!("what {who} left behind ends"), None),
            Action::Poststop(who, killed) => (format!("{who}'s poststop"), killed),
            Action::Look(lease, View::Home, killed) => (format!("somebody looks at lease {lease}"), killed),
            Action::Look(lease, View::OtherPids, killed) => (
                format!("somebody looks at lease {lease} from another pid namespace"),
                killed,
            ),
            Action::Look(lease, View::OtherPidsAndCgroups, killed) => (
                format!("somebody looks at lease {lease} from other pid and cgroup namespaces"),
                killed,
            ),
            Action::MakerEnds(maker) => (format!("maker {maker} ends"), None),
            Action::TimeIsUp(lease) => (format!("lease {lease}'s time is up"), None),
            Action::Copy(who, from) => (format!("{who} has a copy of {from}'s config"), None),
            Action::Tamper(who) => (format!("{who}'s config comes to name other devices"), None),
            Action::Rot(lease) => (format!("lease {lease} can't be read any more"), None),
            Action::Reboot(false) => ("the machine is restarted, the ledger is kept".to_owned(), None),
            Action::Stop => ("nothing can happen any more".to_owned(), None),
            Action::Reboot(true) => ("the machine is restarted, the ledger is wiped".to_owned(), None),
        };
        match killed {
            Some(writes) => write!(f, "{what}, killed after {writes} writes"),
            None => f.write_str(&what),
        }
    }
}
