//! The transaction: take back what is free, decide, record. Two reservations never get one device, and a request
//! for several gets all or none.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use crate::failure::Failure;
use crate::lease::liveness::{self, Here};
use crate::lease::transition::{self, Checks, Fate};
use crate::lease::{
    self, Container, Holder, Judged, Lease, LeaseId, LeaseState, LeasedDevice, LeasedMig, Ledger,
    LockedLedger, VERSION,
};
use crate::mig::{Gpu, Gpus, Inventory, MigDevice, MigUuid};
use crate::policy::{self, Chosen, Held, Limits};
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

/// What a reservation works with.
pub struct Reserver<'a> {
    /// This node's GPUs.
    pub gpus: &'a dyn Gpus,
    /// The leases.
    pub ledger: &'a Ledger,
    /// Where we stand, to judge other holders from.
    pub here: &'a Here,
    /// What any one container may take.
    pub limits: &'a Limits,
    /// How long a lease may wait for its container.
    pub pending: Duration,
}

impl Reserver<'_> {
    /// Reserves devices for `asker`. One that asks again for the same gets its lease again.
    ///
    /// # Errors
    /// A refusal with its evidence; a host failure of the driver or the ledger. Nothing is reserved then.
    pub fn reserve(&self, asker: Asker) -> Result<Lease, Failure> {
        // The slow part first, without the lock. A device that goes meanwhile has no access files any more, and
        // those are read below.
        let mut inventory = self.gpus.inventory()?;
        let mut ledger = self.ledger.lock()?;
        let living = self.living(&mut ledger, &asker)?;
        if living.iter().any(|lease| asker.is_another_run_of(lease)) {
            return Err(runs_already(&asker.container));
        }
        let (own, others): (Vec<_>, Vec<_>) = living.into_iter().partition(|lease| asker.holds(lease));
        if let Some(same) = own.iter().find(|lease| asker.asked_for(lease)) {
            return renew(&mut ledger, same.clone(), asker.container);
        }
        // A container isn't made twice at once: what it reserved for an earlier try is void once this one is served.
        let (void, own): (Vec<_>, Vec<_>) = own
            .into_iter()
            .partition(|lease| lease.state == LeaseState::Pending);
        let held: Vec<&Lease> = own.iter().chain(&others).collect();
        let lease = Lease {
            version: VERSION,
            id: LeaseId::random()?,
            state: asker.state,
            devices: self.choose(&asker.request, &mut inventory, &held)?,
            holder: Holder::Container(asker.container),
            request: asker.request.into(),
            boot_id: self.here.boot_id.clone(),
            driver: inventory.driver,
            written: liveness::now(),
        };
        for earlier in &void {
            ledger.remove(earlier)?;
        }
        ledger.put(&lease)?;
        Ok(lease)
    }

    /// The leases that stand after those of gone holders are taken back. One that can't be read stands for its devices,
    /// as far as they are known.
    fn living(&self, ledger: &mut LockedLedger<'_>, asker: &Asker) -> Result<Vec<Lease>, Failure> {
        let judgement = lease::judge(ledger.contents()?, self.here, self.pending, asker.own_process());
        if let Some(unknown) = judgement.unknown.first() {
            return Err(unknown.failure());
        }
        for judged in &judgement.leases {
            ledger.carry_out_judged(judged)?;
        }
        let stands = |judged: Judged| (judged.fate != Fate::Remove).then_some(judged.lease);
        Ok(judgement.leases.into_iter().filter_map(stands).collect())
    }

    /// Devices that serve the request, with the nodes that are the right to them. One whose nodes can't be had is
    /// passed over; where no other serves, that is the failure.
    fn choose(
        &self,
        request: &Request,
        inventory: &mut Inventory,
        held: &[&Lease],
    ) -> Result<Vec<LeasedDevice>, Failure> {
        let mut first = None;
        loop {
            let held = held_devices(inventory, held);
            let chosen = match policy::choose(request, inventory, &held, self.limits) {
                Ok(chosen) => chosen,
                Err(refusal) => return Err(first.unwrap_or_else(|| refusal.into())),
            };
            match chosen.iter().map(|chosen| self.leased(chosen)).collect() {
                Ok(devices) => return Ok(devices),
                Err((unusable, failure)) => {
                    first.get_or_insert(failure);
                    inventory.forget(&unusable);
                }
            }
        }
    }

    fn leased(&self, chosen: &Chosen<'_>) -> Result<LeasedDevice, (MigUuid, Failure)> {
        let Chosen { gpu, device } = chosen;
        let nodes = self
            .gpus
            .nodes(gpu, device)
            .map_err(|failure| (device.uuid.clone(), failure))?;
        Ok(LeasedDevice::Mig(LeasedMig {
            uuid: device.uuid.clone(),
            gpu: gpu.uuid.clone(),
            gi: device.gi,
            ci: device.ci,
            profile: device.profile,
            nodes,
        }))
    }
}

impl Asker {
    /// Whether that lease is the asker's own: the same container, and the same process behind it.
    fn holds(&self, lease: &Lease) -> bool {
        let holder = lease.holder.container();
        holder.id == self.container.id && holder.process == self.container.process
    }

    /// Whether that lease is of a container of its very name that lives. Its runtime will not make it anew: the device
    /// would be out of use until that one ends.
    fn is_another_run_of(&self, lease: &Lease) -> bool {
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
    fn asked_for(&self, lease: &Lease) -> bool {
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
    fn own_process(&self) -> Option<i32> {
        (self.state == LeaseState::Held).then_some(self.container.process.pid)
    }
}

fn runs_already(container: &Container) -> Failure {
    let why = "a container of that id runs, and has its device";
    Failure::refused(format!("container {} is not made again", container.id), why)
        .remedy("delete it first, or choose another id")
}

/// Gives a pending lease its whole time again, bound to who makes its container now. Any other stays as it is.
///
/// # Errors
/// A host failure where the ledger can't be changed.
pub fn renew(
    ledger: &mut LockedLedger<'_>,
    mut lease: Lease,
    container: Container,
) -> Result<Lease, Failure> {
    if lease.state == LeaseState::Pending {
        lease.holder = Holder::Container(container);
        lease.written = liveness::now();
        ledger.put(&lease)?;
    }
    Ok(lease)
}

/// Which of the node's devices are under a lease. By name or by place: an instance that was made anew where a leased
/// one was has another UUID, and the device nodes that the lease's holder still has.
fn held_devices(inventory: &Inventory, leases: &[&Lease]) -> Held {
    let holder = |gpu: &Gpu, device: &MigDevice| {
        let holding = || leases.iter().filter(|lease| lease.holds(gpu, device));
        if transition::is_free(holding().map(|lease| lease.state), Checks::ALL) {
            return None;
        }
        holding()
            .next()
            .map(|lease| (device.uuid.clone(), lease.holder.short_name()))
    };
    inventory
        .devices()
        .filter_map(|(gpu, device)| holder(gpu, device))
        .collect()
}
