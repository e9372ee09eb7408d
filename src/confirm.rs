//! Pending to Held, once the container exists. Fails the container on anything it doesn't know: that is what makes
//! it safe for others to take an abandoned reservation back.

#![forbid(unsafe_code)]

use crate::failure::Failure;
use crate::lease::liveness::{self, Here};
use crate::lease::transition::{self, Checks, Objection};
use crate::lease::{Container, Holder, Lease, LeaseId, LeaseState, LockedLedger};
use crate::mig::DeviceName;

/// What a container that exists says of itself, and of the devices that it was given.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The lease it names.
    pub lease: LeaseId,
    /// The devices that were edited into it.
    pub devices: Vec<DeviceName>,
    /// Itself.
    pub container: Container,
}

/// A claim that is right: its lease is there, is this container's, and names these devices.
#[derive(Debug)]
pub struct Confirmed {
    lease: Lease,
    container: Container,
}

/// Checks `claim` against the ledger. Changes nothing.
///
/// # Errors
/// A host failure where there is no such lease (it was taken back), or it is another container's, or names other
/// devices.
pub fn confirm(ledger: &LockedLedger<'_>, here: &Here, claim: Claim) -> Result<Confirmed, Failure> {
    let lease = ledger.get(&claim.lease)?;
    let facts = lease.as_ref().map(|lease| facts(lease, here, &claim));
    transition::claim(facts, Checks::ALL).map_err(|objection| failure(objection, lease.as_ref()))?;
    Ok(Confirmed {
        lease: lease.ok_or_else(taken_back)?,
        container: claim.container,
    })
}

impl Confirmed {
    /// Whose it is.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Turns the lease into a held one, and gives it where it wasn't that before. Harmless twice.
    ///
    /// # Errors
    /// A host failure where the ledger can't be changed: the container must not start.
    pub fn hold(self, ledger: &mut LockedLedger<'_>) -> Result<Option<Lease>, Failure> {
        if self.lease.state == LeaseState::Held {
            return Ok(None);
        }
        // What only its reservation knew stays known.
        let state_root = self.lease.holder.container().state_root.clone();
        let held = Lease {
            state: LeaseState::Held,
            holder: Holder::Container(Container {
                state_root,
                ..self.container
            }),
            written: liveness::now(),
            ..self.lease
        };
        ledger.put(&held)?;
        Ok(Some(held))
    }
}

fn facts(lease: &Lease, here: &Here, claim: &Claim) -> transition::Claim {
    let holder = lease.holder.container();
    transition::Claim {
        this_boot: lease.boot_id == here.boot_id,
        same_container: holder.id == claim.container.id,
        same_devices: lease.names().eq(claim.devices.iter().cloned()),
        state: lease.state,
        same_process: holder.process == claim.container.process,
    }
}

fn failure(objection: Objection, lease: Option<&Lease>) -> Failure {
    let Some(lease) = lease else {
        return taken_back();
    };
    let id = &lease.id;
    match objection {
        Objection::TakenBack => taken_back(),
        Objection::Anothers => {
            not_its_own(format!("lease {id} is container {}'s", lease.holder.short_name()))
        }
        Objection::OtherDevices => not_its_own(format!(
            "lease {id} is for other devices than this container was given"
        )),
        Objection::EarlierRun => not_its_own(format!("lease {id} is held by an earlier run of it")),
    }
}

/// The failure of a container whose reservation isn't there any more.
pub fn taken_back() -> Failure {
    Failure::host(
        "this container's reservation is gone",
        "its engine was gone, it took longer than lease.pending to come into being, or somebody released it",
    )
    .remedy("start it again; if it happens again, raise lease.pending")
}

fn not_its_own(why: String) -> Failure {
    Failure::host("this container's reservation is not its own", why)
        .remedy("start it anew from its engine; mig.lease is never set by hand")
}
