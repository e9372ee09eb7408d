//! Whether a device would do for a request, and how far one that wouldn't is from it.

use std::num::NonZeroU8;

use super::Limits;
use crate::mig::{Device, Gpu, Kind, MigDevice, Profile};
use crate::request::{Memory, Want};

/// The device that comes nearest to a size, and what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Its profile.
    pub profile: Profile,
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// MiB of memory that it has too few.
    pub lacks_mib: u64,
    /// Compute slices that it has too few.
    pub lacks_slices: u32,
}

/// Whether this device would do, if it were free.
pub(super) fn serves(want: &Want, candidate: Device<'_>) -> bool {
    match (want, candidate) {
        (Want::Profile(profile), Device::Mig { gpu, device }) => is_of(*profile, gpu, device),
        (Want::AtLeast { memory, compute }, Device::Mig { device, .. }) => {
            let lacks = shortfall(*memory, *compute, device);
            lacks.lacks_mib == 0 && lacks.lacks_slices == 0
        }
        // One whose memory nobody knows has none that anybody could promise.
        (Want::Gpu { memory }, Device::Whole { whole, .. }) => {
            memory.is_none_or(|memory| whole.memory_mib.is_some_and(|has| has >= memory.mib()))
        }
        (Want::Device(name), device) => device.is_called(name),
        (Want::Profile(_) | Want::AtLeast { .. }, Device::Whole { .. })
        | (Want::Gpu { .. }, Device::Mig { .. }) => false,
    }
}

/// Whether a device is of a kind that the limits allow.
pub(super) fn is_allowed(limits: &Limits, candidate: Device<'_>) -> bool {
    let is_of_kind = |kind: &Kind| match (kind, candidate) {
        (Kind::Mig(profile), Device::Mig { gpu, device }) => is_of(*profile, gpu, device),
        (Kind::Gpu, Device::Whole { .. }) => true,
        (Kind::Mig(_), Device::Whole { .. }) | (Kind::Gpu, Device::Mig { .. }) => false,
    };
    let kinds = limits.profiles.as_ref();
    kinds.is_none_or(|kinds| kinds.iter().any(is_of_kind))
}

/// Whether a device is of the profile that someone named: slices and suffix exactly; the gb figure exactly or,
/// where no other profile of that GPU is called so, within 1. The figure is a name that drivers round differently
/// (`3g.39gb`, `3g.40gb`), and two instances of one profile may differ in it.
pub(super) fn is_of(named: Profile, gpu: &Gpu, device: &MigDevice) -> bool {
    let own = device.profile;
    let alike = own.ci_slices == named.ci_slices && same_instance_kind(own, named);
    let apart = own.memory_gb.abs_diff(named.memory_gb);
    alike && (apart == 0 || apart == 1 && !is_anothers_name(named, own, gpu))
}

/// Whether the GPU offers a profile by exactly this name that is not the one `own` is an instance of: that is the
/// offered one nearest to it.
fn is_anothers_name(named: Profile, own: Profile, gpu: &Gpu) -> bool {
    let kin = || {
        gpu.profiles()
            .iter()
            .map(|offered| offered.profile)
            .filter(|p| same_instance_kind(*p, own))
    };
    let source = kin().min_by_key(|offered| offered.memory_gb.abs_diff(own.memory_gb));
    kin().any(|offered| offered.memory_gb == named.memory_gb && Some(offered) != source)
}

/// Alike but for the gb figure and the compute instance's share.
pub(super) fn same_instance_kind(one: Profile, other: Profile) -> bool {
    one.gi_slices == other.gi_slices && one.suffix == other.suffix
}

fn shortfall(memory: Option<Memory>, compute: Option<NonZeroU8>, device: &MigDevice) -> Shortfall {
    let has = device.attributes;
    Shortfall {
        profile: device.profile,
        memory_mib: has.memory_mib,
        lacks_mib: memory.map_or(0, Memory::mib).saturating_sub(has.memory_mib),
        lacks_slices: compute
            .map_or(0, |slices| u32::from(slices.get()))
            .saturating_sub(has.ci_slices),
    }
}

/// Of all devices on `gpus` the one that lacks least: memory first, then compute slices.
pub(super) fn nearest_size(
    memory: Option<Memory>,
    compute: Option<NonZeroU8>,
    gpus: &[&Gpu],
) -> Option<Shortfall> {
    let devices = gpus.iter().flat_map(|gpu| gpu.devices());
    let shortfalls = devices.map(|device| shortfall(memory, compute, device));
    let rank = |it: &Shortfall| {
        (
            it.lacks_mib,
            it.lacks_slices,
            it.memory_mib,
            it.profile.to_string(),
        )
    };
    shortfalls.min_by_key(rank)
}

/// Of those of `gpus` that can be had whole, and whose memory is known, the one that lacks least; and how many MiB.
pub(super) fn nearest_gpu<'a>(memory: Memory, gpus: &[&'a Gpu]) -> Option<(&'a Gpu, u64)> {
    let known = gpus
        .iter()
        .filter_map(|gpu| Some((*gpu, gpu.whole()?.memory_mib?)));
    // They come by PCI bus id, and the first of the largest is kept.
    let largest = known.min_by_key(|(_, has)| std::cmp::Reverse(*has));
    largest.map(|(gpu, has)| (gpu, memory.mib().saturating_sub(has)))
}

/// Of `profiles` the one most like `wanted`: by gb figure, then slices, then suffix.
pub(super) fn nearest_profile(wanted: Profile, profiles: &[Profile]) -> Option<Profile> {
    profiles.iter().copied().min_by_key(|profile| {
        (
            profile.memory_gb.abs_diff(wanted.memory_gb),
            profile.gi_slices.abs_diff(wanted.gi_slices),
            profile.ci_slices.abs_diff(wanted.ci_slices),
            profile.suffix != wanted.suffix,
            profile.to_string(),
        )
    })
}

/// Of profiles that a GPU could make, the one that someone means who writes `wanted`.
pub(super) fn same_by_name(wanted: Profile, offered: &[Profile]) -> Option<Profile> {
    let meant = offered.iter().copied().filter(|profile| {
        let whole = profile.ci_slices == wanted.ci_slices && same_instance_kind(*profile, wanted);
        whole && profile.memory_gb.abs_diff(wanted.memory_gb) <= 1
    });
    meant.min_by_key(|profile| profile.memory_gb.abs_diff(wanted.memory_gb))
}
