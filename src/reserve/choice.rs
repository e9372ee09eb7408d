//! Which devices, of those that nobody holds.

use std::collections::BTreeMap;

use super::known::Known;
use crate::failure::Failure;
use crate::lease::transition::{self, Checks};
use crate::lease::{Lease, LeasedDevice, LeasedMig};
use crate::mig::{Gpu, Gpus, MigDevice, MigUuid};
use crate::policy::{self, Chosen, Earlier, Held, Limits};
use crate::request::Request;

/// What a choice goes by, besides the node.
pub struct Chooser<'a> {
    /// For the devices' nodes.
    pub gpus: &'a dyn Gpus,
    /// What any one container may take.
    pub limits: &'a Limits,
    /// The leases of others.
    pub held: Vec<&'a Lease>,
    /// Those who have waited longer.
    pub earlier: Vec<Earlier>,
}

impl Chooser<'_> {
    /// Devices that serve the request, with the nodes that are the right to them. One whose nodes can't be had is
    /// passed over; where no other serves, that is the failure.
    ///
    /// # Errors
    /// A refusal, or the failure of the first such node; and whether it is a matter of time.
    pub fn choose(&self, request: &Request, known: &mut Known) -> Result<Vec<LeasedDevice>, (Failure, bool)> {
        let mut first = None;
        loop {
            let node = known.inventory();
            let held = policy::keep(&self.earlier, node, self.held(known), self.limits);
            let chosen = match policy::choose(request, node, &held, self.limits) {
                Ok(chosen) => chosen,
                Err(refusal) => {
                    let may_pass = refusal.may_pass();
                    return Err((first.unwrap_or_else(|| refusal.into()), may_pass));
                }
            };
            match chosen.iter().map(|chosen| self.leased(chosen)).collect() {
                Ok(devices) => return Ok(devices),
                Err((unusable, failure)) => {
                    first.get_or_insert(failure);
                    known.forget(&unusable);
                }
            }
        }
    }

    /// Which of the node's devices are not free, and who has them. By name or by place: an instance that was made anew
    /// where a leased one was has another UUID, and the device nodes that the lease's holder still has.
    fn held(&self, known: &Known) -> Held {
        // A full node has as many leases as devices: each is looked up, not searched for.
        let (mut by_name, mut by_place) = (BTreeMap::new(), BTreeMap::new());
        for lease in &self.held {
            for LeasedDevice::Mig(device) in &lease.devices {
                by_name.insert(&device.uuid, *lease);
                by_place.insert((&device.gpu, device.gi, device.ci), *lease);
            }
        }
        let holder = |gpu: &Gpu, device: &MigDevice| {
            let place = (&gpu.uuid, device.gi, device.ci);
            let lease = by_name.get(&device.uuid).or_else(|| by_place.get(&place));
            match transition::is_free(lease.map(|lease| lease.state).into_iter(), Checks::ALL) {
                true => known.used().by(&device.uuid),
                false => lease.map(|lease| lease.holder.short_name()),
            }
        };
        let devices = known.inventory().devices();
        devices
            .filter_map(|(gpu, device)| Some((device.uuid.clone(), holder(gpu, device)?)))
            .collect()
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
            pci: Some(gpu.pci),
            minor: Some(gpu.minor),
            gi: device.gi,
            ci: device.ci,
            profile: device.profile,
            nodes,
        }))
    }
}
