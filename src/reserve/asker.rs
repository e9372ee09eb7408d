//! Who asks for devices, and which leases are its own already.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::lease::{Container, Lease, LeaseState};
use crate::request::Request;

/// Who asks, for what, and how.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The container, with the process whose end is to be the lease's.
    pub container: Container,
    /// Pending where the container is yet to be made, Held where it exists.
    pub state: LeaseState,
    /// What it asks for.
    pub request: Request,
}

impl Asker {
    /// Whether that lease is the asker's own: the same container, and the same process behind it.
    pub(super) fn holds(&self, lease: &Lease) -> bool {
        let holder = lease.holder.container();
        holder.id == self.container.id && holder.process == self.container.process
    }

    /// Whether that lease is of a container of its very name that lives. Its runtime will not make it anew: the device
    /// would be out of use until that one ends.
    pub(super) fn is_another_run_of(&self, lease: &Lease) -> bool {
        let holder = lease.holder.container();
        let (ours, theirs) = (&self.container, holder);
        // Ids repeat: where the runtimes' state roots weren't named, bundles must tell.
        let same_place = match (&ours.state_root, &theirs.state_root) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, None) => ours.bundle == theirs.bundle,
            _ => false,
        };
        let same = ours.id == theirs.id && same_place;
        same && self.state == LeaseState::Pending && lease.state == LeaseState::Held
    }

    /// Whether that lease is what it asks for now.
    pub(super) fn asked_for(&self, lease: &Lease) -> bool {
        self.holds(lease) && self.is_served_by(lease)
    }

    /// Whether that lease, which the container itself names, is what it asks for now: whoever reserved it for this
    /// container, be it another of its makers.
    pub fn is_served_by(&self, lease: &Lease) -> bool {
        let asked: BTreeMap<String, String> = self.request.clone().into();
        lease.holder.container().id == self.container.id
            && lease.state == self.state
            && lease.request == asked
    }

    /// The container's process, where it exists. It may have been put into the cgroup of its own earlier run, and is
    /// no evidence that that run lives.
    pub(super) fn own_process(&self) -> Option<i32> {
        (self.state == LeaseState::Held).then_some(self.container.process.pid)
    }
}

/// The refusal of one whose container runs already.
pub(super) fn runs_already(container: &Container) -> Failure {
    let why = "a container of that id runs, and has its device";
    Failure::refused(format!("container {} is not made again", container.id), why)
        .remedy("delete it first, or choose another id")
}
