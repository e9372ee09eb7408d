//! Annotations to [`Request`], and the words for what is wrong with them.

use std::collections::BTreeMap;

use super::value::{self, BadValue, bad};
use super::{Count, Request, Want, keys};
use crate::failure::Failure;
use crate::mig::{MigUuid, Profile};

/// Most characters of a key or a value that an error repeats: it only has to be recognised.
const SHOWN: usize = 64;

/// Reads annotations into a request, waiting included.
pub(super) fn request<K, V>(annotations: impl IntoIterator<Item = (K, V)>) -> Result<Option<Request>, Failure>
where
    K: AsRef<str>,
    V: AsRef<str>,
{
    let mut ours = BTreeMap::new();
    for (key, value) in annotations {
        let key = key.as_ref();
        if key != keys::LEASE && keys::is_ours(key) {
            ours.insert(key.to_owned(), value.as_ref().to_owned());
        }
    }
    if ours.is_empty() {
        return Ok(None);
    }
    for key in ours.keys() {
        known(key)?;
    }
    Asked::read(&ours)?.request().map(Some)
}

/// Refuses a key of ours that this version can't read.
fn known(key: &str) -> Result<(), Failure> {
    let Some(parts) = keys::split(key) else {
        return Ok(());
    };
    let shown = shown(key);
    if parts.name == keys::LEASE {
        let why = "mig.lease is written by oci-mig-hook alone";
        return Err(Failure::usage(shown, why).remedy("remove it"));
    }
    if !keys::ALL.contains(&parts.name) {
        let failure = Failure::usage(shown, "no such annotation");
        return Err(failure.remedy(match keys::nearest(parts.name) {
            Some(meant) => format!("did you mean {meant}? There are {}", keys::ALL.join(", ")),
            None => format!("there are {}", keys::ALL.join(", ")),
        }));
    }
    if parts.container.is_some() {
        let why = "an annotation for one container of a pod is not available in this version";
        return Err(Failure::usage(shown, why).remedy(format!("use {} on the container itself", parts.name)));
    }
    Ok(())
}

/// The annotations, each by itself read and found right.
struct Asked {
    profile: Option<Profile>,
    memory: Option<value::Memory>,
    compute: Option<std::num::NonZeroU8>,
    count: Option<Count>,
    gpu: Option<super::GpuConstraint>,
    device: Option<MigUuid>,
    wait: Option<value::Wait>,
}

impl Asked {
    /// Reads in the order of the keys' names, so that of several wrong ones always the same is reported.
    fn read(ours: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let compute = read(ours, keys::COMPUTE, value::compute)?;
        let count = read(ours, keys::COUNT, str::parse)?;
        let device = read(ours, keys::DEVICE, device)?;
        let gpu = read(ours, keys::GPU, str::parse)?;
        let memory = read(ours, keys::MEMORY, str::parse)?;
        let profile = read(ours, keys::PROFILE, profile)?;
        let wait = read(ours, keys::WAIT, str::parse)?;
        Ok(Asked {
            profile,
            memory,
            compute,
            count,
            gpu,
            device,
            wait,
        })
    }

    fn request(self) -> Result<Request, Failure> {
        let given = self.given();
        let want = if let Some(device) = self.device {
            excludes(
                keys::DEVICE,
                &given,
                &[keys::COMPUTE, keys::COUNT, keys::GPU, keys::MEMORY, keys::PROFILE],
            )?;
            Want::Device(device)
        } else if let Some(profile) = self.profile {
            excludes(keys::PROFILE, &given, &[keys::COMPUTE, keys::MEMORY])?;
            Want::Profile(profile)
        } else if given == [keys::WAIT] {
            let failure = Failure::usage(keys::WAIT, "says how long to wait, and nothing says for what");
            return Err(failure.remedy("add mig.profile, mig.memory, mig.compute or mig.device"));
        } else {
            Want::AtLeast {
                memory: self.memory,
                compute: self.compute,
            }
        };
        let count = self.count.unwrap_or(Count::ONE);
        Ok(Request {
            want,
            count,
            gpu: self.gpu,
            wait: self.wait,
        })
    }

    /// The keys that are there.
    fn given(&self) -> Vec<&'static str> {
        let there = [
            (keys::COMPUTE, self.compute.is_some()),
            (keys::COUNT, self.count.is_some()),
            (keys::DEVICE, self.device.is_some()),
            (keys::GPU, self.gpu.is_some()),
            (keys::MEMORY, self.memory.is_some()),
            (keys::PROFILE, self.profile.is_some()),
            (keys::WAIT, self.wait.is_some()),
        ];
        there
            .into_iter()
            .filter_map(|(key, given)| given.then_some(key))
            .collect()
    }
}

/// One annotation's value, where it is there.
fn read<T>(
    ours: &BTreeMap<String, String>,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, BadValue>,
) -> Result<Option<T>, Failure> {
    let Some(value) = ours.get(key) else {
        return Ok(None);
    };
    let parsed = match value.trim() {
        "" => bad("is empty"),
        bare if bare != value => bad("has white space around it"),
        _ => parse(value),
    };
    parsed.map(Some).map_err(|BadValue(why)| {
        Failure::usage(format!("{key}={}", shown(value)), why).remedy(format!("write {}", right(key)))
    })
}

/// What a key's value should look like.
fn right(key: &str) -> &'static str {
    match key {
        keys::COMPUTE => "a number of compute slices: 1, 2, 3",
        keys::COUNT => "a number of devices: 1 to 64",
        keys::DEVICE => {
            "the device's UUID: MIG-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, as nvidia-smi -L prints it"
        }
        keys::GPU => {
            "a GPU's UUID (GPU-...), its PCI bus id (0000:0f:00.0) or its product name, with * for any part"
        }
        keys::MEMORY => "a whole number and a unit: 10GB, 9GiB, 9984MiB",
        keys::PROFILE => "a profile: 1g.10gb, 1c.3g.40gb, 1g.10gb+me",
        _ => "a whole number and a unit: 30s, 5m, 2h; at most 24h",
    }
}

fn profile(text: &str) -> Result<Profile, BadValue> {
    if text == "gpu" {
        return bad("a whole GPU is not available in this version");
    }
    let name = text.strip_prefix("mig-").unwrap_or(text);
    name.parse()
        .or_else(|_| match name.to_ascii_lowercase().parse::<Profile>() {
            Ok(meant) if text.len() <= SHOWN => bad(format!("is not in lower case: {meant}")),
            _ => bad("is not a profile"),
        })
}

fn device(text: &str) -> Result<MigUuid, BadValue> {
    text.parse().or_else(|_| bad("is not a MIG device's UUID"))
}

/// Refuses what can't stand beside `key`.
fn excludes(key: &str, given: &[&str], excluded: &[&str]) -> Result<(), Failure> {
    let beside: Vec<&str> = given
        .iter()
        .copied()
        .filter(|other| excluded.contains(other))
        .collect();
    if beside.is_empty() {
        return Ok(());
    }
    let why = match key {
        keys::DEVICE => "names one device, and nothing but mig.wait goes with it",
        _ => "a profile says both memory and compute",
    };
    let what = format!("{key} and {}", beside.join(", "));
    Err(Failure::usage(what, why).remedy(format!("remove {key}, or {}", beside.join(" and "))))
}

/// The beginning of a hostile text.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
