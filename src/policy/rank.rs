//! Which of the devices that would do comes first.

use std::collections::BTreeMap;

use super::Held;
use crate::mig::{ComputeInstanceId, Device, Gpu, GpuInstanceId, MigDevice, PciBusId, Suffix};
use crate::request::{Request, Want};

/// What is not free: devices under a lease, and those chosen so far.
struct Taken<'held, 'node> {
    held: &'held Held,
    chosen: Vec<Device<'node>>,
}

impl Taken<'_, '_> {
    fn has(&self, device: Device<'_>) -> bool {
        let is_it = |chosen: &Device<'_>| place(*chosen) == place(device);
        self.held.by(device).is_some() || self.chosen.iter().any(is_it)
    }

    /// The memory slices of a GPU's instances that have none of their devices taken.
    fn free_slices(&self, gpu: &Gpu) -> u32 {
        let mut instances = BTreeMap::new();
        for device in gpu.devices() {
            let free = instances.entry(device.gi).or_insert(device.placement.size);
            if self.has(Device::Mig { gpu, device }) {
                *free = 0;
            }
        }
        instances.values().sum()
    }
}

/// Picks as many as the request asks for, each the first of those still free. The caller has counted: there are
/// enough.
pub(super) fn pick<'a>(request: &Request, candidates: &[Device<'a>], held: &Held) -> Vec<Device<'a>> {
    let mut taken = Taken {
        held,
        chosen: Vec::new(),
    };
    for _ in 0..request.count().get() {
        let free = candidates
            .iter()
            .copied()
            .filter(|candidate| !taken.has(*candidate));
        let Some(first) = free.min_by_key(|candidate| rank(request.want(), *candidate, &taken)) else {
            break;
        };
        taken.chosen.push(first);
    }
    taken.chosen
}

/// The rules in their order; the lowest comes first, and no two devices are equal.
fn rank(want: &Want, candidate: Device<'_>, taken: &Taken<'_, '_>) -> impl Ord + use<> {
    let size = match (want, candidate) {
        (Want::AtLeast { .. }, Device::Mig { device, .. }) => Some(size(device)),
        (_, Device::Mig { .. }) => None,
        (_, Device::Whole { whole, .. }) => Some((whole.memory_mib.unwrap_or(u64::MAX), 0, false)),
    };
    (size, taken.free_slices(candidate.gpu()), place(candidate))
}

/// Where a device is. No two are in one place.
pub(super) fn place(device: Device<'_>) -> (PciBusId, Option<(GpuInstanceId, ComputeInstanceId)>) {
    match device {
        Device::Mig { gpu, device } => (gpu.pci, Some((device.gi, device.ci))),
        Device::Whole { gpu, .. } => (gpu.pci, None),
    }
}

/// What makes one device smaller than another: memory, then compute slices, then no suffix.
fn size(device: &MigDevice) -> (u64, u32, bool) {
    let has = device.attributes;
    (
        has.memory_mib,
        has.ci_slices,
        device.profile.suffix != Suffix::Plain,
    )
}
