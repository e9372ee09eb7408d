//! Which of the devices that would do comes first.

use std::collections::{BTreeMap, BTreeSet};

use super::{Chosen, Held};
use crate::mig::{Gpu, MigDevice, MigUuid, Suffix};
use crate::request::{Request, Want};

/// What is not free: devices under a lease, and those chosen so far.
struct Taken<'a> {
    held: &'a Held,
    chosen: BTreeSet<&'a MigUuid>,
}

impl Taken<'_> {
    fn has(&self, device: &MigDevice) -> bool {
        self.held.by(&device.uuid).is_some() || self.chosen.contains(&device.uuid)
    }

    /// The memory slices of a GPU's instances that have none of their devices taken.
    fn free_slices(&self, gpu: &Gpu) -> u32 {
        let mut instances = BTreeMap::new();
        for device in gpu.devices() {
            let free = instances.entry(device.gi).or_insert(device.placement.size);
            if self.has(device) {
                *free = 0;
            }
        }
        instances.values().sum()
    }
}

/// Picks as many as the request asks for, each the first of those still free. The caller has counted: there are
/// enough.
pub(super) fn pick<'a>(request: &Request, candidates: &[Chosen<'a>], held: &Held) -> Vec<Chosen<'a>> {
    let mut taken = Taken {
        held,
        chosen: BTreeSet::new(),
    };
    let mut picked = Vec::new();
    for _ in 0..request.count().get() {
        let free = candidates
            .iter()
            .copied()
            .filter(|candidate| !taken.has(candidate.device));
        let Some(first) = free.min_by_key(|candidate| rank(request.want(), candidate, &taken)) else {
            break;
        };
        taken.chosen.insert(&first.device.uuid);
        picked.push(first);
    }
    picked
}

/// The rules in their order; the lowest comes first, and no two devices are equal.
fn rank(want: &Want, candidate: &Chosen, taken: &Taken) -> impl Ord + use<> {
    let Chosen { gpu, device } = candidate;
    let size = match want {
        Want::AtLeast { .. } => Some(size(device)),
        Want::Profile(_) | Want::Device(_) => None,
    };
    (size, taken.free_slices(gpu), gpu.pci, device.gi, device.ci)
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
