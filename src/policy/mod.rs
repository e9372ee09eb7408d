//! The choice: which devices serve a request. Pure and deterministic: the same node, leases and request always
//! give the same devices, in whatever order the node was listed.
//!
//! 1. Devices that serve: of the request's profile, or large enough, on a GPU that it accepts and of a profile that
//!    the limits allow, and that meets what the image requires; and of these the free ones.
//! 2. For a request by size, the smallest: least memory, then fewest compute slices, then no suffix.
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
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

pub use fit::Shortfall;
pub use kept::{Earlier, keep};
pub use refusal::{GpuName, HeldBy, Limit, Refusal};

use crate::mig::{Gpu, Inventory, MigDevice, MigMode, MigUuid, Profile};
use crate::request::{Request, Want};

/// A device that serves, with its GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// The GPU.
    pub gpu: &'a Gpu,
    /// The device on it.
    pub device: &'a MigDevice,
}

/// What any one container may take, whatever it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most devices (`limits.devices`).
    pub devices: u32,
    /// Longest wait (`limits.wait`).
    pub wait: Duration,
    /// The profiles that may be handed out, compared as a request's profile is (`limits.profiles`); all where absent.
    pub profiles: Option<Vec<Profile>>,
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
pub struct Held(BTreeMap<MigUuid, String>);

impl Held {
    /// The same, and this one held as well.
    fn hold(&mut self, device: &MigUuid, by: &str) {
        self.0.insert(device.clone(), by.to_owned());
    }

    /// Who holds this device; `None` where it is free.
    pub fn by(&self, device: &MigUuid) -> Option<&str> {
        self.0.get(device).map(String::as_str)
    }
}

impl FromIterator<(MigUuid, String)> for Held {
    fn from_iter<I: IntoIterator<Item = (MigUuid, String)>>(held: I) -> Self {
        Held(held.into_iter().collect())
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
) -> Result<Vec<Chosen<'a>>, Refusal> {
    let candidates = candidates(request, node, limits)?;
    let exist = candidates.len();
    let taken = candidates
        .iter()
        .filter_map(|candidate| refusal::holder(candidate, held))
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
) -> Result<Vec<Chosen<'a>>, Refusal> {
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

/// The GPUs that the request accepts and that are in MIG mode, by PCI bus id.
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
    let is_on = |gpu: &&Gpu| matches!(gpu.mig, MigMode::Enabled { .. });
    if !accepted.iter().any(is_on) {
        let which = |mode: &MigMode| {
            accepted
                .iter()
                .filter(|gpu| gpu.mig == *mode)
                .map(|gpu| gpu.index)
                .collect()
        };
        return Err(Refusal::MigOff {
            disabled: which(&MigMode::Disabled),
            unsupported: which(&MigMode::Unsupported),
            left_out: refusal::left_out(node),
        });
    }
    Ok(accepted.into_iter().filter(is_on).collect())
}

/// The devices of `gpus` that would do if they were free.
fn serving<'a>(request: &Request, node: &Inventory, gpus: &[&'a Gpu]) -> Result<Vec<Chosen<'a>>, Refusal> {
    let all = gpus
        .iter()
        .flat_map(|gpu| gpu.devices().iter().map(|device| Chosen { gpu, device }));
    let mut serving: Vec<Chosen> = all
        .filter(|candidate| fit::serves(request.want(), candidate))
        .collect();
    serving.sort_by_key(|candidate| (candidate.gpu.pci, candidate.device.gi, candidate.device.ci));
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
        Want::Device(device) => Refusal::NoSuchDevice {
            device: device.clone(),
            exist: gpus.iter().map(|gpu| gpu.devices().len()).sum(),
            left_out,
        },
    })
}

/// Those of `serving` whose profile the limits allow.
fn allowed<'a>(
    request: &Request,
    serving: Vec<Chosen<'a>>,
    limits: &Limits,
) -> Result<Vec<Chosen<'a>>, Refusal> {
    let Some(profiles) = &limits.profiles else {
        return Ok(serving);
    };
    let is_allowed = |candidate: &Chosen| profiles.iter().any(|profile| fit::is_of(*profile, candidate));
    let allowed: Vec<Chosen> = serving.into_iter().filter(is_allowed).collect();
    if allowed.is_empty() {
        let limit = Limit::Profiles {
            request: Box::new(request.clone()),
            allowed: profiles.clone(),
        };
        return Err(Refusal::OverLimit(limit));
    }
    Ok(allowed)
}
