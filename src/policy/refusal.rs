//! Why no device was chosen, each reason with its evidence. What it says is in [`super::words`].

use std::num::NonZeroU8;
use std::time::Duration;

use super::Held;
use super::fit::{self, Shortfall};
use crate::mig::{Device, DeviceName, Gpu, GpuProfile, GpuUuid, Inventory, Kind, LeftOut, Profile};
use crate::request::{GpuConstraint, Memory, Request, Wait};
use crate::require::Unmet;

/// Why a request can't be met now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Config allows no container this much.
    OverLimit(Limit),
    /// No GPU answers.
    NoGpu {
        /// What there is that doesn't.
        left_out: Vec<LeftOut>,
    },
    /// The request accepts none of the GPUs.
    NoAcceptedGpu {
        /// Which it would accept.
        constraint: GpuConstraint,
        /// Which there are.
        gpus: Vec<GpuName>,
        /// And which don't answer.
        left_out: Vec<LeftOut>,
    },
    /// None of the GPUs that the request accepts is in MIG mode.
    MigOff {
        /// NVML indexes of those that could be.
        disabled: Vec<u32>,
        /// NVML indexes of those that can't.
        unsupported: Vec<u32>,
        /// Those that don't answer, or whose mode is about to change.
        left_out: Vec<LeftOut>,
    },
    /// All of the GPUs that the request accepts are in MIG mode, and it wants a whole one.
    NoWholeGpu {
        /// Which it accepts.
        constraint: Option<GpuConstraint>,
        /// Their NVML indexes.
        enabled: Vec<u32>,
        /// Those that don't answer, or whose mode is about to change.
        left_out: Vec<LeftOut>,
    },
    /// The GPU that is wanted whole is in MIG mode.
    InMigMode {
        /// Which.
        gpu: GpuUuid,
        /// Its NVML index.
        index: u32,
    },
    /// No device of that profile exists.
    NoSuchProfile {
        /// What was asked.
        wanted: Profile,
        /// On which GPUs.
        gpu: Option<GpuConstraint>,
        /// Which exist, and how many of each.
        exist: Vec<(Profile, usize)>,
        /// Which the GPUs offer that have no device.
        offered: Vec<Profile>,
        /// The existing one most like what was asked; where none exists, the offered one.
        nearest: Option<Profile>,
        /// What can't be seen: it may have one.
        left_out: Vec<LeftOut>,
    },
    /// Every device is too small.
    NothingLargeEnough {
        /// What was asked.
        request: Box<Request>,
        /// The device that lacks least; none where no device exists.
        nearest: Option<Shortfall>,
        /// Which profiles would be large enough, and are offered by a GPU and have no device.
        creatable: Vec<Profile>,
        /// What can't be seen: it may be large enough.
        left_out: Vec<LeftOut>,
    },
    /// Every whole GPU has too little memory.
    NoGpuLargeEnough {
        /// What was asked.
        request: Box<Request>,
        /// The one that lacks least, and how many MiB; none where NVML tells the memory of none.
        nearest: Option<(GpuName, u64)>,
        /// What can't be seen: it may be large enough.
        left_out: Vec<LeftOut>,
    },
    /// There is no device of that UUID.
    NoSuchDevice {
        /// What was asked.
        device: DeviceName,
        /// How many others there are of its kind.
        exist: usize,
        /// What can't be seen.
        left_out: Vec<LeftOut>,
    },
    /// Enough would serve, were it not for what the image requires.
    Unmet {
        /// What was asked.
        request: Box<Request>,
        /// NVML index of the first GPU that serves and doesn't meet it.
        gpu: u32,
        /// What isn't met there.
        unmet: Box<Unmet>,
        /// How many serve and meet it.
        meet: usize,
        /// What can't be seen: it may meet it.
        left_out: Vec<LeftOut>,
    },
    /// So many devices would never be free at once.
    TooFew {
        /// What was asked.
        request: Box<Request>,
        /// How many would do, held or free.
        exist: usize,
        /// What can't be seen: some of it might do too.
        left_out: Vec<LeftOut>,
    },
    /// Too many of those that would do are held.
    Held {
        /// What was asked.
        request: Box<Request>,
        /// How many would do, held or free.
        exist: usize,
        /// Who has those that are held.
        holders: Vec<HeldBy>,
        /// What can't be seen, which might do.
        left_out: Vec<LeftOut>,
    },
}

impl Refusal {
    /// Whether it is a matter of time: every other reason stands as long as the node is as it is.
    pub fn may_pass(&self) -> bool {
        matches!(self, Refusal::Held { .. })
    }
}

/// A limit that a request exceeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `limits.devices`.
    Devices {
        /// How many were asked for.
        asked: u8,
        /// How many one container may have.
        allowed: u32,
    },
    /// `limits.wait`.
    Wait {
        /// How long it was to wait.
        asked: Wait,
        /// How long one may.
        allowed: Duration,
    },
    /// `limits.profiles`.
    Profiles {
        /// What was asked.
        request: Box<Request>,
        /// Which profiles are handed out.
        allowed: Vec<Kind>,
    },
}

/// Who holds a device, as a refusal names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBy {
    /// NVML index of the device's GPU.
    pub gpu: u32,
    /// The holder's short name.
    pub name: String,
}

/// A GPU as people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuName {
    /// Its NVML index.
    pub index: u32,
    /// Its product name.
    pub model: String,
    /// Where it sits.
    pub bus: String,
    /// Its memory in MiB, where it can be had whole and NVML tells it.
    pub memory_mib: Option<u64>,
}

impl GpuName {
    pub(super) fn of(gpu: &Gpu) -> Self {
        GpuName {
            index: gpu.index,
            model: gpu.model.clone(),
            bus: gpu.pci.to_string(),
            memory_mib: gpu.whole().and_then(|whole| whole.memory_mib),
        }
    }
}

/// Who holds this device, if anyone does.
pub(super) fn holder(candidate: Device<'_>, held: &Held) -> Option<HeldBy> {
    let name = held.by(candidate)?.to_owned();
    Some(HeldBy {
        gpu: candidate.gpu().index,
        name,
    })
}

/// What the node has that can't be used, in an order of its own.
pub(super) fn left_out(node: &Inventory) -> Vec<LeftOut> {
    let mut left_out = node.left_out.clone();
    left_out.sort_by(|a, b| (&a.what, &a.reason).cmp(&(&b.what, &b.reason)));
    left_out
}

/// The refusal of a profile that no device on `gpus` has.
pub(super) fn no_such_profile(
    request: &Request,
    wanted: Profile,
    gpus: &[&Gpu],
    left_out: Vec<LeftOut>,
) -> Refusal {
    let exist = existing(gpus);
    let offered = offered(gpus);
    let there: Vec<Profile> = exist.iter().map(|(profile, _)| *profile).collect();
    let nearest = fit::nearest_profile(wanted, &there);
    Refusal::NoSuchProfile {
        wanted,
        gpu: request.gpu().cloned(),
        nearest: nearest.or_else(|| fit::nearest_profile(wanted, &offered)),
        exist,
        offered,
        left_out,
    }
}

/// The profiles of which devices exist, smallest first, and how many of each.
fn existing(gpus: &[&Gpu]) -> Vec<(Profile, usize)> {
    let mut exist: Vec<(Profile, usize)> = Vec::new();
    for device in gpus.iter().flat_map(|gpu| gpu.devices()) {
        match exist.iter_mut().find(|(profile, _)| *profile == device.profile) {
            Some((_, count)) => *count += 1,
            None => exist.push((device.profile, 1)),
        }
    }
    exist.sort_by_key(|(profile, _)| in_order(*profile));
    exist
}

/// The profiles that these GPUs offer and that no device on them is an instance of, smallest first.
fn offered(gpus: &[&Gpu]) -> Vec<Profile> {
    without_device(gpus, |_| true)
}

/// Those of them that are large enough.
pub(super) fn creatable(memory: Option<Memory>, compute: Option<NonZeroU8>, gpus: &[&Gpu]) -> Vec<Profile> {
    without_device(gpus, |offered| {
        let enough_memory = memory.is_none_or(|memory| memory.mib() <= offered.memory_mib);
        enough_memory && compute.is_none_or(|slices| slices.get() <= offered.profile.gi_slices)
    })
}

fn without_device(gpus: &[&Gpu], wanted: impl Fn(&GpuProfile) -> bool) -> Vec<Profile> {
    let mut found: Vec<Profile> = Vec::new();
    for offered in gpus.iter().flat_map(|gpu| gpu.profiles()) {
        let has_device = gpus.iter().any(|gpu| has_instance(gpu, offered.profile));
        if wanted(offered) && !has_device && !found.contains(&offered.profile) {
            found.push(offered.profile);
        }
    }
    found.sort_by_key(|profile| in_order(*profile));
    found
}

/// Whether a device of this GPU lies in an instance of that profile, whatever its compute slices.
fn has_instance(gpu: &Gpu, profile: Profile) -> bool {
    gpu.devices().iter().any(|device| {
        let named = Profile {
            ci_slices: device.profile.ci_slices,
            ..profile
        };
        fit::is_of(named, gpu, device)
    })
}

fn in_order(profile: Profile) -> impl Ord + use<> {
    (
        profile.memory_gb,
        profile.gi_slices,
        profile.ci_slices,
        profile.suffix,
    )
}
