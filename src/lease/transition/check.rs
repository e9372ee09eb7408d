//! The checks of the protocol, one by one. Each is there because without it a device could be two containers' or nobody's
//! for ever; the model leaves out one after the other and finds how.

use super::{CgroupState, Evidence, Occasion, ProcessState};
use crate::lease::LeaseState;

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// Giving: a device under a lease, whatever its state, is not given to another.
    UnderNoLease,
    /// After the driver was asked: the reservation still stands. It may have been taken back meanwhile.
    StillReserved,
    /// Confirming: the lease is there.
    LeaseStands,
    /// Confirming: it is this container's.
    OwnLease,
    /// Confirming: it is for the devices that the container was given.
    SameDevices,
    /// Confirming: it isn't on its way out.
    NotReleasing,
    /// Confirming: no earlier run of the container holds it.
    HeldByNoOther,
    /// Undoing a reservation: it is as its stage left it. Another maker of the same container may have taken it over, and
    /// that one's container may run.
    NotTakenOver,
    /// Releasing by the lease's name: it is the lease of the container whose end is announced.
    EndOfItsOwn,
    /// A lease of an earlier boot holds nothing, whatever its pid and cgroup mean by now.
    ThisBoot,
    /// Taking back a reservation: who makes the container is gone, or has had its time.
    MakerGoneOrLate,
    /// Taking back a reservation: nothing runs where its container was to be.
    NothingMade,
    /// Taking back: the container's process is gone.
    ProcessGone,
    /// Taking back: a process that can't be seen from here is not taken for gone, but where its cgroup is seen empty. Nor is
    /// it at an announced end: another container of that id, of a copied config, may run where that can't be seen.
    ProcessSeen,
    /// Taking back: nothing of the container runs in its cgroup.
    CgroupEmpty,
}

/// Which checks are made: all of them, but in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Checks {
    without: Option<Check>,
}

impl Check {
    /// Every check.
    pub const ALL: [Check; 15] = [
        Check::UnderNoLease,
        Check::StillReserved,
        Check::LeaseStands,
        Check::OwnLease,
        Check::SameDevices,
        Check::NotReleasing,
        Check::HeldByNoOther,
        Check::NotTakenOver,
        Check::EndOfItsOwn,
        Check::ThisBoot,
        Check::MakerGoneOrLate,
        Check::NothingMade,
        Check::ProcessGone,
        Check::ProcessSeen,
        Check::CgroupEmpty,
    ];

    /// Whether this check is against taking the lease back.
    fn objects(self, occasion: Occasion, state: LeaseState, evidence: Evidence) -> bool {
        let looked_at = occasion == Occasion::Look;
        let is_pending = state == LeaseState::Pending;
        let may_run = matches!(evidence.cgroup, CgroupState::Populated | CgroupState::Unknown);
        match self {
            // At its end the maker may well live: it is the engine.
            Check::MakerGoneOrLate => {
                is_pending && looked_at && evidence.process != ProcessState::Gone && !evidence.overdue
            }
            // Safe beyond that, because a container whose lease is gone fails to be confirmed.
            Check::NothingMade => is_pending && may_run,
            Check::ProcessGone => !is_pending && evidence.process == ProcessState::Alive,
            Check::ProcessSeen => {
                let unseen = evidence.process == ProcessState::Unknown;
                !is_pending && unseen && evidence.cgroup != CgroupState::Empty
            }
            Check::CgroupEmpty => !is_pending && may_run,
            Check::UnderNoLease
            | Check::StillReserved
            | Check::LeaseStands
            | Check::OwnLease
            | Check::SameDevices
            | Check::NotReleasing
            | Check::HeldByNoOther
            | Check::NotTakenOver
            | Check::EndOfItsOwn
            | Check::ThisBoot => false,
        }
    }
}

impl Checks {
    /// All: what the program goes by.
    pub const ALL: Checks = Checks { without: None };

    /// All but one: to see what that one is for.
    pub const fn without(check: Check) -> Checks {
        Checks { without: Some(check) }
    }

    /// Whether this check is made.
    pub fn has(self, check: Check) -> bool {
        self.without != Some(check)
    }

    /// Whether any of them is against taking the lease back.
    pub(super) fn object(self, occasion: Occasion, state: LeaseState, evidence: Evidence) -> bool {
        let mut made = Check::ALL.into_iter().filter(|check| self.has(*check));
        made.any(|check| check.objects(occasion, state, evidence))
    }
}
