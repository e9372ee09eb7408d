//! What becomes of a lease, given what is known of its holder, and who may have one. Pure: the whole rule in one place,
//! for the ledger and for the model of the protocol (tests/protocol) alike.

mod check;
mod claim;

pub use check::{Check, Checks};
pub use claim::{Claim, Objection, claim, is_free, is_still_reserved, may_end, may_undo};

use super::LeaseState;

/// What the machine shows of a lease's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// The lease was written since the machine last started.
    pub this_boot: bool,
    /// The holder's process.
    pub process: ProcessState,
    /// The container's own cgroups, subtrees included.
    pub cgroup: CgroupState,
    /// It has been in its state for longer than `lease.pending`.
    pub overdue: bool,
}

/// A process, by pid and start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProcessState {
    /// It runs, or could again: stopped and frozen processes too.
    Alive,
    /// It ended; a zombie too.
    Gone,
    /// It was recorded in another pid namespace: its pid says nothing here.
    Unknown,
}

/// The container's own cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CgroupState {
    /// Something runs there.
    Populated,
    /// Nothing does.
    Empty,
    /// There is one, and it can't be seen from here.
    Unknown,
    /// The container has no cgroup of its own.
    None,
}

/// Why a lease is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Occasion {
    /// Somebody else looks: a reservation, a collector, a release that knows the container alone and may be late.
    Look,
    /// The end of the lease's own container is announced, by the lease's name.
    End,
}

/// What becomes of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It stays as it is.
    Keep,
    /// Its holder has ended and something of it still runs: its devices stay out of use until that ends.
    Release,
    /// Its devices are free.
    Remove,
}

/// Why a lease goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It was written before the machine last started.
    AnotherBoot,
    /// Its container never came into being, and who was to make it is gone.
    MakerGone,
    /// Its container has not come into being for longer than `lease.pending`.
    Overdue,
    /// Its container's process is gone, and nothing is left behind.
    HolderGone,
    /// Nothing is left in its container's cgroup. Its process can't be seen from here.
    CgroupEmpty,
}

/// What becomes of a lease.
pub fn fate(occasion: Occasion, state: LeaseState, evidence: Evidence, checks: Checks) -> Fate {
    if !evidence.this_boot && checks.has(Check::ThisBoot) {
        return Fate::Remove;
    }
    if !checks.object(occasion, state, evidence) {
        return Fate::Remove;
    }
    let has_ended = occasion == Occasion::End || evidence.process == ProcessState::Gone;
    match state {
        LeaseState::Held if has_ended => Fate::Release,
        LeaseState::Held | LeaseState::Pending | LeaseState::Releasing => Fate::Keep,
    }
}

/// What becomes of a lease that is looked at by somebody else's reservation.
pub fn reconcile(state: LeaseState, evidence: Evidence) -> Fate {
    fate(Occasion::Look, state, evidence, Checks::ALL)
}

/// What becomes of a lease when its container's end is announced by the lease's own name. What still runs, or may,
/// keeps the devices out of use; the next reservation looks again.
pub fn announced_end(state: LeaseState, evidence: Evidence) -> Fate {
    fate(Occasion::End, state, evidence, Checks::ALL)
}

/// Why a lease goes that [`reconcile`] removes.
pub fn reason(state: LeaseState, evidence: Evidence) -> Reason {
    match (state, evidence.process) {
        _ if !evidence.this_boot => Reason::AnotherBoot,
        (LeaseState::Pending, ProcessState::Gone) => Reason::MakerGone,
        (LeaseState::Pending, _) => Reason::Overdue,
        (_, ProcessState::Gone) => Reason::HolderGone,
        (_, ProcessState::Alive | ProcessState::Unknown) => Reason::CgroupEmpty,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVING: Evidence = Evidence {
        this_boot: true,
        process: ProcessState::Alive,
        cgroup: CgroupState::Populated,
        overdue: false,
    };

    #[test]
    fn a_living_holder_keeps_its_lease_however_long() {
        for cgroup in [
            CgroupState::Populated,
            CgroupState::Empty,
            CgroupState::Unknown,
            CgroupState::None,
        ] {
            for state in [LeaseState::Held, LeaseState::Releasing] {
                let evidence = Evidence {
                    cgroup,
                    overdue: true,
                    ..LIVING
                };
                assert_eq!(reconcile(state, evidence), Fate::Keep, "{state} {cgroup:?}");
            }
        }
    }

    #[test]
    fn a_gone_holder_gives_back_when_its_cgroup_is_empty() {
        let gone = |cgroup| Evidence {
            process: ProcessState::Gone,
            cgroup,
            ..LIVING
        };
        assert_eq!(
            reconcile(LeaseState::Held, gone(CgroupState::Empty)),
            Fate::Remove
        );
        assert_eq!(reconcile(LeaseState::Held, gone(CgroupState::None)), Fate::Remove);
        assert_eq!(
            reconcile(LeaseState::Held, gone(CgroupState::Populated)),
            Fate::Release
        );
        assert_eq!(
            reconcile(LeaseState::Releasing, gone(CgroupState::Populated)),
            Fate::Keep
        );
        assert_eq!(
            reconcile(LeaseState::Releasing, gone(CgroupState::Empty)),
            Fate::Remove
        );
    }

    #[test]
    fn a_process_of_another_pid_namespace_is_judged_by_its_cgroup_alone() {
        let unknown = |cgroup| Evidence {
            process: ProcessState::Unknown,
            cgroup,
            ..LIVING
        };
        assert_eq!(
            reconcile(LeaseState::Held, unknown(CgroupState::Empty)),
            Fate::Remove
        );
        assert_eq!(
            reconcile(LeaseState::Held, unknown(CgroupState::None)),
            Fate::Keep
        );
        assert_eq!(
            reconcile(LeaseState::Held, unknown(CgroupState::Unknown)),
            Fate::Keep
        );
    }

    #[test]
    fn a_pending_lease_goes_back_when_its_maker_is_gone_or_late_and_nothing_runs() {
        let empty = Evidence {
            cgroup: CgroupState::Empty,
            ..LIVING
        };
        assert_eq!(reconcile(LeaseState::Pending, empty), Fate::Keep);
        assert_eq!(
            reconcile(
                LeaseState::Pending,
                Evidence {
                    overdue: true,
                    ..empty
                }
            ),
            Fate::Remove
        );
        let gone = Evidence {
            process: ProcessState::Gone,
            ..empty
        };
        assert_eq!(reconcile(LeaseState::Pending, gone), Fate::Remove);
        let running = Evidence {
            cgroup: CgroupState::Populated,
            ..gone
        };
        assert_eq!(reconcile(LeaseState::Pending, running), Fate::Keep);
    }

    #[test]
    fn another_boot_voids_every_lease() {
        for state in [LeaseState::Pending, LeaseState::Held, LeaseState::Releasing] {
            let evidence = Evidence {
                this_boot: false,
                ..LIVING
            };
            assert_eq!(reconcile(state, evidence), Fate::Remove);
            assert_eq!(announced_end(state, evidence), Fate::Remove);
        }
    }

    #[test]
    fn an_announced_end_never_frees_what_still_runs() {
        let gone = |cgroup| Evidence {
            process: ProcessState::Gone,
            cgroup,
            ..LIVING
        };
        assert_eq!(
            announced_end(LeaseState::Held, gone(CgroupState::Empty)),
            Fate::Remove
        );
        assert_eq!(
            announced_end(LeaseState::Held, gone(CgroupState::Populated)),
            Fate::Release
        );
        assert_eq!(
            announced_end(
                LeaseState::Held,
                Evidence {
                    cgroup: CgroupState::None,
                    ..LIVING
                }
            ),
            Fate::Release
        );
        // It may be the end of another of that id and lease, in another pid namespace.
        let unseen = |cgroup| Evidence {
            process: ProcessState::Unknown,
            cgroup,
            ..LIVING
        };
        assert_eq!(
            announced_end(LeaseState::Held, unseen(CgroupState::None)),
            Fate::Release
        );
        assert_eq!(
            announced_end(LeaseState::Held, unseen(CgroupState::Empty)),
            Fate::Remove
        );
        let engine_lives = Evidence {
            cgroup: CgroupState::Empty,
            ..LIVING
        };
        assert_eq!(announced_end(LeaseState::Pending, engine_lives), Fate::Remove);
        assert_eq!(announced_end(LeaseState::Pending, LIVING), Fate::Keep);
    }
}
