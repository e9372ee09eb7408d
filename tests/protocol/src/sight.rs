//! What an observer sees of a lease's holder: the program's `lease/liveness.rs`, on this machine.

use oci_mig_hook::lease::LeaseState;
use oci_mig_hook::lease::transition::{CgroupState, Evidence, ProcessState};

use crate::cast::Cast;
use crate::ledger::{Bound, Lease};
use crate::machine::Phase::{Asking, Handing, Made, Ready};
use crate::machine::State;
use crate::plant::Plant;

/// Where an observer stands, next to a lease's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// In the same namespaces.
    Home,
    /// In another pid namespace.
    OtherPids,
    /// In another pid namespace, and another cgroup namespace.
    OtherPidsAndCgroups,
}

/// Who looks at what.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// Everything.
    pub state: &'a State,
    /// Who plays.
    pub cast: &'a Cast,
    /// What is wrong with it.
    pub plant: Option<Plant>,
}

impl Sight<'_> {
    /// What an observer sees of `lease`'s holder. The container of attempt `besides` says nothing of its cgroup.
    pub fn evidence(self, lease: &Lease, view: View, besides: Option<usize>) -> Evidence {
        // Pids and cgroups of another boot mean anything: at worst they look like the holder alive.
        if !lease.this_boot {
            return Evidence {
                this_boot: false,
                process: ProcessState::Alive,
                cgroup: CgroupState::Populated,
                overdue: false,
            };
        }
        let process = self.process(lease, view);
        let role = self.cast.role(usize::from(lease.holder.who));
        let ends_as_one = lease.holder.bound == Bound::First && role.has_pids;
        Evidence {
            this_boot: true,
            process,
            cgroup: match process {
                ProcessState::Alive if lease.state != LeaseState::Pending => CgroupState::None,
                ProcessState::Gone if ends_as_one => CgroupState::None,
                _ => self.cgroup(lease, view, besides),
            },
            overdue: lease.is_late,
        }
    }

    fn process(self, lease: &Lease, view: View) -> ProcessState {
        if view != View::Home {
            return ProcessState::Unknown;
        }
        // The pid of one that has ended is a stranger's at once.
        match self.state.lives(self.cast, lease.holder) || self.plant == Some(Plant::PidAlone) {
            true => ProcessState::Alive,
            false => ProcessState::Gone,
        }
    }

    fn cgroup(self, lease: &Lease, view: View, besides: Option<usize>) -> CgroupState {
        let who = usize::from(lease.holder.who);
        if !self.cast.role(who).has_cgroup {
            return CgroupState::None;
        }
        if view == View::OtherPidsAndCgroups {
            return CgroupState::Unknown;
        }
        match self.state.is_populated(self.cast, who, besides) {
            true => CgroupState::Populated,
            false => CgroupState::Empty,
        }
    }

    /// How attempt `who` sees the holder of `lease`.
    pub fn view_of(self, who: usize, lease: &Lease) -> View {
        match self.cast.role(who).home == self.cast.role(usize::from(lease.holder.who)).home {
            true => View::Home,
            false => View::OtherPids,
        }
    }

    /// Whether the holder of `lease` is alive in truth, so that nobody may take the lease from it: something of its
    /// container runs, or the container is on its way and in time, or waits for its hooks where everybody can see it.
    pub fn is_live(self, lease: &Lease) -> bool {
        let who = usize::from(lease.holder.who);
        let attempt = self.state.attempts[who];
        if !lease.this_boot {
            return false;
        }
        if lease.state != LeaseState::Pending {
            return attempt.first || attempt.left;
        }
        let on_its_way = matches!(attempt.phase, Asking | Handing | Ready | Made);
        let in_time = self.state.lives(self.cast, lease.holder) && !lease.is_late;
        on_its_way && (in_time || (attempt.first && self.cast.role(who).has_cgroup))
    }
}
