//! Which devices, of those that nobody holds.

use super::known::Known;
use super::places::Places;
use crate::failure::Failure;
use crate::lease::transition::{self, Checks};
use crate::lease::{Lease, LeasedDevice, LeasedGpu, LeasedMig};
use crate::mig::{Device, DeviceName, Gpus};
use crate::policy::{self, Earlier, Held, Limits};
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
            match chosen.iter().map(|chosen| self.leased(*chosen)).collect() {
                Ok(devices) => return Ok(devices),
                Err((unusable, failure)) => {
                    first.get_or_insert(failure);
                    known.forget(&unusable);
                }
            }
        }
    }

    /// Which of the node's devices are not free, and who has them.
    fn held(&self, known: &Known) -> Held {
        let places = Places::of(&self.held);
        let holder = |device: Device<'_>| {
            let lease = places.lease_on(device);
            match transition::is_free(lease.map(|lease| lease.state).into_iter(), Checks::ALL) {
                true => known.used().by(&device.name()),
                false => lease.map(|lease| lease.holder.short_name()),
            }
        };
        let devices = known.inventory().devices();
        devices
            .filter_map(|device| Some((device.name(), holder(device)?)))
            .collect()
    }

    fn leased(&self, chosen: Device<'_>) -> Result<LeasedDevice, (DeviceName, Failure)> {
        let nodes = self
            .gpus
            .nodes(chosen)
            .map_err(|failure| (chosen.name(), failure))?;
        Ok(match chosen {
            Device::Mig { gpu, device } => LeasedDevice::Mig(LeasedMig {
                uuid: device.uuid.clone(),
                gpu: gpu.uuid.clone(),
                pci: Some(gpu.pci),
                minor: Some(gpu.minor),
                gi: device.gi,
                ci: device.ci,
                profile: device.profile,
                nodes,
            }),
            Device::Whole { gpu, .. } => LeasedDevice::Gpu(LeasedGpu {
                uuid: gpu.uuid.clone(),
                pci: gpu.pci,
                minor: gpu.minor,
                nodes,
            }),
        })
    }
}
