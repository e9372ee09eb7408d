//! Who may have a lease, and who may give it back: a device that is free, a reservation that still stands, a container that
//! says it is its own.

use super::{Check, Checks};
use crate::lease::LeaseState;

/// What is known when a container names a lease as its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The lease was written since the machine last started.
    pub this_boot: bool,
    /// It is a container's of that id.
    pub same_container: bool,
    /// It is for the devices that were edited into the container.
    pub same_devices: bool,
    /// The lease's state.
    pub state: LeaseState,
    /// The lease's process is the container's.
    pub same_process: bool,
}

/// Why a container may not have the lease that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Objection {
    /// There is none any more.
    TakenBack,
    /// It is another container's.
    Anothers,
    /// It is for other devices.
    OtherDevices,
    /// An earlier run of the container holds it.
    EarlierRun,
}

/// Whether a container may have the lease that it names; `claim` is none where there is no such lease.
///
/// # Errors
/// The first objection: the container must not start.
pub fn claim(claim: Option<Claim>, checks: Checks) -> Result<(), Objection> {
    let Some(claim) = claim else {
        return when(checks.has(Check::LeaseStands), Objection::TakenBack);
    };
    when(
        !claim.this_boot && checks.has(Check::ThisBoot),
        Objection::TakenBack,
    )?;
    when(
        !claim.same_container && checks.has(Check::OwnLease),
        Objection::Anothers,
    )?;
    when(
        !claim.same_devices && checks.has(Check::SameDevices),
        Objection::OtherDevices,
    )?;
    match claim.state {
        LeaseState::Pending => Ok(()),
        LeaseState::Held => when(
            !claim.same_process && checks.has(Check::HeldByNoOther),
            Objection::EarlierRun,
        ),
        LeaseState::Releasing => when(checks.has(Check::NotReleasing), Objection::TakenBack),
    }
}

fn when(objects: bool, objection: Objection) -> Result<(), Objection> {
    match objects {
        true => Err(objection),
        false => Ok(()),
    }
}

/// Whether a device may be given, going by the states of the leases that hold it.
pub fn is_free(mut held_by: impl Iterator<Item = LeaseState>, checks: Checks) -> bool {
    held_by.next().is_none() || !checks.has(Check::UnderNoLease)
}

/// Whether a reservation may be handed over to its container, or to who makes it, after the driver was asked about its
/// devices: it may have been taken back in that time, as overdue. `found` is the state of the lease of that id.
pub fn is_still_reserved(found: Option<LeaseState>, checks: Checks) -> bool {
    found == Some(LeaseState::Pending) || !checks.has(Check::StillReserved)
}

/// Whether a stage that fails after it has reserved may take its reservation back, going by whether that is as it left it.
pub fn may_undo(as_left: bool, checks: Checks) -> bool {
    as_left || !checks.has(Check::NotTakenOver)
}

/// Whether the announced end of a container may give back the lease that it names.
pub fn may_end(same_container: bool, checks: Checks) -> bool {
    same_container || !checks.has(Check::EndOfItsOwn)
}
