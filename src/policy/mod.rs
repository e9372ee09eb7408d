//! The choice: which devices serve a request. Pure and deterministic: the same node, leases and request always
//! give the same devices, in whatever order the node was listed.
//!
//! 1. Devices that serve: of the request's profile, or large enough, on a GPU that it accepts and of a profile that
//!    the limits allow, and that meets what the image requires; and of these the free ones. A whole GPU serves who asks
//!    for one, and nobody else.
//! 2. For a request by size, the smallest: least memory, then fewest compute slices, then no suffix. Of whole GPUs always
//!    the one with the least memory; those whose memory isn't known come last.
//! 3. The GPU with the least free memory slices, so that large instances elsewhere stay whole. An instance is free
//!    when none of its devices is held: devices that share a GPU instance are held one by one.
//! 4. The GPU first by PCI bus id, then the device first by (GI, CI).
//!
//! Several devices are chosen one after another by these rules, each seeing those before it as held. What earlier waiters
//! could be served with is as good as held to whoever comes later ([`keep`]).
//!
//! Memory is NVML's figure for the GPU instance. Where that is cut into several compute instances (`1c.3g.40gb`)
//! each of them sees all of it and shares it with its siblings, and it counts in full for each.

#![forbid(unsafe_code)]

mod fit;
mod kept;
mod meet;
mod phrases;
mod rank;
mod refusal;
mod whole;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

pub use fit::Shortfall;
pub use kept::{Earlier, keep};
pub use refusal::{GpuName, HeldBy, Limit, Refusal};

use crate::mig::{Device, DeviceName, Gpu, GpuUuid, Inventory, Kind, MigMode, MigUuid};
use crate::request::{Request, Want};

/// What any one container may take, whatever it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most devices (`limits.devices`).
    pub devices: u32,
    /// Longest wait (`limits.wait`).
    pub wait: Duration,
    /// The profiles that may be handed out, compared as a request's profile is, and whether whole GPUs may
    /// (`limits.profiles`); all where absent.
    pub profiles: Option<Vec<Kind>>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            devices: 8,
            wait: Duration::from_secs(24 * 60 * 60),
            profiles: None,
        }
    }
}

/// The devices that are under a lease, whatever its state, each with the short name of who holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    devices: BTreeMap<MigUuid, String>,
    gpus: BTreeMap<GpuUuid, String>,
}

impl Held {
    /// The same, and this one held as well.
    fn hold(&mut self, device: &DeviceName, by: &str) {
        match device {
            DeviceName::Mig(uuid) => self.devices.insert(uuid.clone(), by.to_owned()),
            DeviceName::Gpu(uuid) => self.gpus.insert(uuid.clone(), by.to_owned()),
        };
    }

    /// Who holds this device; `None` where it is free.
    pub fn by(&self, device: Device<'_>) -> Option<&str> {
        let by = match device {
            Device::Mig { device, .. } => self.devices.get(&device.uuid),
            Device::Whole { gpu, .. } => self.gpus.get(&gpu.uuid),
        };
        by.map(String::as_str)
    }
}

impl FromIterator<(DeviceName, String)> for Held {
    fn from_iter<I: IntoIterator<Item = (DeviceName, String)>>(listed: I) -> Self {
        let mut held = Held::default();
        for (device, by) in listed {
            held.hold(&device, &by);
        }
        held
    }
}

/// Chooses the devices that serve `request`: as many as it asks for, or none.
///
/// # Errors
/// A [`Refusal`], for the first reason met on the way from the limits and the GPUs to the free devices.
pub fn choose<'a>(
    request: &Request,
    node: &'a Inventory,
    held: &Held,
    limits: &Limits,
) -> Result<Vec<Device<'a>>, Refusal> {
    let candidates = candidates(request, node, limits)?;
    let exist = candidates.len();
    let taken = candidates
        .iter()
        .filter_map(|candidate| refusal::holder(*candidate, held))
        .collect::<Vec<_>>();
    if exist - taken.len() < request.count().get().into() {
        return Err(Refusal::Held {
            request: Box::new(request.clone()),
            exist,
            holders: taken,
            left_out: refusal::left_out(node),
        });
    }
    Ok(rank::pick(request, &candidates, held))
}

/// The devices that would do if they were free: as many as the request asks for, or more.
///
/// # Errors
/// A [`Refusal`] that no waiting would change.
fn candidates<'a>(
    request: &Request,
    node: &'a Inventory,
    limits: &Limits,
) -> Result<Vec<Device<'a>>, Refusal> {
    let asked = request.count().get();
    if u32::from(asked) > limits.devices {
        return Err(Refusal::OverLimit(Limit::Devices {
            asked,
            allowed: limits.devices,
        }));
    }
    if let Some(asked) = request.wait().filter(|wait| wait.duration() > limits.wait) {
        return Err(Refusal::OverLimit(Limit::Wait {
            asked,
            allowed: limits.wait,
        }));
    }
    let gpus = usable_gpus(request, node)?;
    let serving = serving(request, node, &gpus)?;
    let allowed = allowed(request, serving, limits)?;
    let allowed = meet::meeting(request, node, allowed)?;
    match allowed.len() < asked.into() {
        true => Err(Refusal::TooFew {
            request: Box::new(request.clone()),
            exist: allowed.len(),
            left_out: refusal::left_out(node),
        }),
        false => Ok(allowed),
    }
}

/// The GPUs that the request accepts and that are in the mode for what it wants, by PCI bus id.
fn usable_gpus<'a>(request: &Request, node: &'a Inventory) -> Result<Vec<&'a Gpu>, Refusal> {
    let mut gpus: Vec<&Gpu> = node.gpus.iter().collect();
    gpus.sort_by_key(|gpu| gpu.pci);
    if gpus.is_empty() {
        return Err(Refusal::NoGpu {
            left_out: refusal::left_out(node),
        });
    }
    let accepted: Vec<&Gpu> = match request.gpu() {
        Some(constraint) => gpus
            .iter()
            .copied()
            .filter(|gpu| constraint.accepts(gpu))
            .collect(),
        None => gpus.clone(),
    };
    if let (Some(constraint), []) = (request.gpu(), accepted.as_slice()) {
        return Err(Refusal::NoAcceptedGpu {
            constraint: constraint.clone(),
            gpus: gpus.iter().map(|gpu| refusal::GpuName::of(gpu)).collect(),
            left_out: refusal::left_out(node),
        });
    }
    in_mode(request, accepted, node)
}

/// Those of `accepted` that are in MIG mode, or, for who wants a whole GPU, those that are not.
fn in_mode<'a>(request: &Request, accepted: Vec<&'a Gpu>, node: &Inventory) -> Result<Vec<&'a Gpu>, Refusal> {
    let wants_whole = match request.want() {
        Want::Gpu { .. } | Want::Device(DeviceName::Gpu(_)) => true,
        Want::Profile(_) | Want::AtLeast { .. } | Want::Device(DeviceName::Mig(_)) => false,
    };
    if let Want::Device(DeviceName::Gpu(uuid)) = request.want() {
        let named = accepted.iter().find(|gpu| gpu.uuid == *uuid);
        if let Some(gpu) = named.filter(|gpu| gpu.whole().is_none()) {
            return Err(Refusal::InMigMode {
                gpu: uuid.clone(),
                index: gpu.index,
            });
        }
    }
    let is_right = |gpu: &&Gpu| gpu.whole().is_some() == wants_whole;
    match (accepted.iter().any(is_right), wants_whole) {
        (true, _) => Ok(accepted.into_iter().filter(is_right).collect()),
        (false, false) => Err(mig_off(&accepted, node)),
        (false, true) => Err(Refusal::NoWholeGpu {
            constraint: request.gpu().cloned(),
            enabled: accepted.iter().map(|gpu| gpu.index).collect(),
            left_out: refusal::left_out(node),
        }),
    }
}

fn mig_off(accepted: &[&Gpu], node: &Inventory) -> Refusal {
    let which = |wanted: fn(&MigMode) -> bool| {
        let gpus = accepted.iter().filter(|gpu| wanted(&gpu.mig));
        gpus.map(|gpu| gpu.index).collect()
    };
    Refusal::MigOff {
        disabled: which(|mode| matches!(mode, MigMode::Disabled(_))),
        unsupported: which(|mode| matches!(mode, MigMode::Unsupported(_))),
        left_out: refusal::left_out(node),
    }
}

/// The devices of `gpus` that would do if they were free.
fn serving<'a>(request: &Request, node: &Inventory, gpus: &[&'a Gpu]) -> Result<Vec<Device<'a>>, Refusal> {
    let all = gpus.iter().flat_map(|gpu| gpu.offers());
    let mut serving: Vec<Device<'_>> = all
        .filter(|candidate| fit::serves(request.want(), *candidate))
        .collect();
    serving.sort_by_key(|candidate| rank::place(*candidate));
    if !serving.is_empty() {
        return Ok(serving);
    }
    let left_out = refusal::left_out(node);
    Err(match request.want() {
        Want::Profile(profile) => refusal::no_such_profile(request, *profile, gpus, left_out),
        Want::AtLeast { memory, compute } => Refusal::NothingLargeEnough {
            request: Box::new(request.clone()),
            nearest: fit::nearest_size(*memory, *compute, gpus),
            creatable: refusal::creatable(*memory, *compute, gpus),
            left_out,
        },
        Want::Gpu { memory } => Refusal::NoGpuLargeEnough {
            request: Box::new(request.clone()),
            nearest: memory
                .and_then(|memory| fit::nearest_gpu(memory, gpus))
                .map(|(gpu, lacks_mib)| (refusal::GpuName::of(gpu), lacks_mib)),
            left_out,
        },
        Want::Device(device) => Refusal::NoSuchDevice {
            device: device.clone(),
            exist: gpus.iter().flat_map(|gpu| gpu.offers()).count(),
            left_out,
        },
    })
}

/// Those of `serving` whose profile the limits allow.
fn allowed<'a>(
    request: &Request,
    serving: Vec<Device<'a>>,
    limits: &Limits,
) -> Result<Vec<Device<'a>>, Refusal> {
    let allowed = serving.into_iter();
    let allowed: Vec<Device<'_>> = allowed
        .filter(|candidate| fit::is_allowed(limits, *candidate))
        .collect();
    match (&limits.profiles, allowed.is_empty()) {
        (Some(kinds), true) => Err(Refusal::OverLimit(Limit::Profiles {
            request: Box::new(request.clone()),
            allowed: kinds.clone(),
        })),
        _ => Ok(allowed),
    }
}
