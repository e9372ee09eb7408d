//! The transaction: take back what is free, decide, record. Two reservations never get one device, and a request
//! for several gets all or none.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use crate::failure::Failure;
use crate::lease::liveness::Here;
use crate::lease::transition::{self, Fate};
use crate::lease::{
    Container, Holder, Lease, LeaseId, LeaseState, LeasedDevice, LeasedMig, Ledger, LockedLedger, VERSION,
};
use crate::mig::{Gpu, Gpus, Inventory, MigDevice};
use crate::policy::{self, Chosen, Held, Limits};
use crate::request::Request;

/// Who asks, and how.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The container, with the process whose end is to be the lease's.
    pub container: Container,
    /// Pending where the container is yet to be made, Held where it exists.
    pub state: LeaseState,
}

/// Reserves devices for `asker`. One that asks again for the same gets its lease again.
///
/// # Errors
/// A refusal with its evidence; a host failure of the driver or the ledger. Nothing is reserved then.
pub fn reserve(
    gpus: &dyn Gpus,
    ledger: &Ledger,
    here: &Here,
    rules: &Rules,
    request: &Request,
    asker: Asker,
) -> Result<Lease, Failure> {
    // The slow part first, without the lock. Access files, read below, show whether a device has gone meanwhile.
    let inventory = gpus.inventory()?;
    let mut ledger = ledger.lock()?;
    ledger.sweep()?;
    let leases = living(&mut ledger, here, rules.pending, &asker)?;
    if let Some(again) = leases.iter().find(|lease| is_again(lease, &asker)) {
        if again.request == stored(request) && again.state == asker.state {
            return Ok(again.clone());
        }
    }
    // A container can't be made twice at once: what it reserved for an earlier, other try is void.
    for void in leases
        .iter()
        .filter(|lease| is_again(lease, &asker) && lease.state == LeaseState::Pending)
    {
        ledger.remove(&void.id)?;
    }
    let others = leases
        .iter()
        .filter(|lease| !(is_again(lease, &asker) && lease.state == LeaseState::Pending));
    let chosen = policy::choose(request, &inventory, &held(&inventory, others), &rules.limits)?;
    let lease = Lease {
        version: VERSION,
        id: LeaseId::random()?,
        state: asker.state,
        holder: Holder::Container(asker.container),
        devices: chosen
            .iter()
            .map(|chosen| leased(gpus, chosen))
            .collect::<Result<_, _>>()?,
        request: stored(request),
        boot_id: here.boot_id.clone(),
        driver: inventory.driver.clone(),
        written: here.now,
    };
    ledger.put(&lease)?;
    Ok(lease)
}

/// What holds for every reservation on this machine.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What any one container may take.
    pub limits: Limits,
    /// How long a lease may wait for its container.
    pub pending: Duration,
}

/// The leases that stand after those of gone holders are taken back.
fn living(
    ledger: &mut LockedLedger<'_>,
    here: &Here,
    pending: Duration,
    asker: &Asker,
) -> Result<Vec<Lease>, Failure> {
    let contents = ledger.contents()?;
    if let Some(unreadable) = contents.unreadable.first() {
        return Err(unreadable.failure());
    }
    let besides = Some(asker.container.process.pid);
    let mut living = Vec::with_capacity(contents.leases.len());
    for lease in contents.leases {
        let fate = transition::reconcile(lease.state, here.evidence_besides(&lease, pending, besides));
        if fate != Fate::Remove {
            living.push(lease.clone());
        }
        ledger.carry_out(lease, fate, here.now)?;
    }
    Ok(living)
}

/// Whether that lease's holder is the asker itself: the same container, and the same process behind it.
fn is_again(lease: &Lease, asker: &Asker) -> bool {
    let holder = lease.holder.container();
    holder.id == asker.container.id && holder.process == asker.container.process
}

/// Which of the node's devices are under a lease. By name or by place: an instance that was made anew where a leased
/// one was has another UUID, and the device nodes that the lease's holder still has.
fn held<'a>(inventory: &Inventory, leases: impl Iterator<Item = &'a Lease>) -> Held {
    let leased: Vec<_> = leases
        .flat_map(|lease| lease.devices.iter().map(move |device| (lease, device)))
        .collect();
    let holder = |gpu: &Gpu, device: &MigDevice| {
        let found = leased.iter().find(|(_, leased)| leased.is(&gpu.uuid, device));
        found.map(|(lease, _)| (device.uuid.clone(), lease.holder.short_name()))
    };
    inventory
        .devices()
        .filter_map(|(gpu, device)| holder(gpu, device))
        .collect()
}

fn stored(request: &Request) -> BTreeMap<String, String> {
    request
        .to_annotations()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn leased(gpus: &dyn Gpus, chosen: &Chosen<'_>) -> Result<LeasedDevice, Failure> {
    let device = chosen.device;
    Ok(LeasedDevice::Mig(LeasedMig {
        uuid: device.uuid.clone(),
        gpu: chosen.gpu.uuid.clone(),
        gi: device.gi,
        ci: device.ci,
        profile: device.profile,
        nodes: gpus.nodes(chosen.gpu, device)?,
    }))
}
