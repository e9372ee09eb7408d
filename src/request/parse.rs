//! Annotations to [`Request`], and the words for what is wrong with them.

use super::given::Given;
use super::value::{self, BadValue, bad};
use super::{Count, Request, Want, keys};
use crate::failure::Failure;
use crate::mig::{DeviceName, Kind, Profile};
use crate::require::Requirements;

/// Most characters of a key or a value that an error repeats: it only has to be recognised.
const SHOWN: usize = 64;

/// The request that these annotations make, waiting included.
pub(super) fn request(given: &Given) -> Result<Request, Failure> {
    Asked::read(given)?.request(given)
}

/// The annotations, each by itself read and found right.
struct Asked {
    profile: Option<Kind>,
    memory: Option<value::Memory>,
    compute: Option<std::num::NonZeroU8>,
    count: Option<Count>,
    gpu: Option<super::GpuConstraint>,
    device: Option<DeviceName>,
    wait: Option<value::Wait>,
}

impl Asked {
    /// Reads in the order of the keys' names, so that of several wrong ones always the same is reported.
    fn read(given: &Given) -> Result<Self, Failure> {
        let compute = read(given, keys::COMPUTE, value::compute)?;
        let count = read(given, keys::COUNT, str::parse)?;
        let device = read(given, keys::DEVICE, device)?;
        let gpu = read(given, keys::GPU, str::parse)?;
        let memory = read(given, keys::MEMORY, str::parse)?;
        let profile = read(given, keys::PROFILE, profile)?;
        let wait = read(given, keys::WAIT, str::parse)?;
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

    fn request(self, given: &Given) -> Result<Request, Failure> {
        let words = self.given();
        let excludes =
            |word: &str, excluded: &[&str], why: &str| excludes(given, word, (&words, excluded), why);
        let want = if let Some(device) = self.device {
            let others = [keys::COMPUTE, keys::COUNT, keys::GPU, keys::MEMORY, keys::PROFILE];
            let why = "names one device, and nothing but mig.wait goes with it";
            excludes(keys::DEVICE, &others, why)?;
            Want::Device(device)
        } else if let Some(Kind::Mig(profile)) = self.profile {
            let why = "a profile says both memory and compute";
            excludes(keys::PROFILE, &[keys::COMPUTE, keys::MEMORY], why)?;
            Want::Profile(profile)
        } else if let Some(Kind::Gpu) = self.profile {
            let why = "a whole GPU is cut into no compute slices";
            excludes(keys::PROFILE, &[keys::COMPUTE], why)?;
            Want::Gpu { memory: self.memory }
        } else if words == [keys::WAIT] {
            let why = "says how long to wait, and nothing says for what";
            let failure = Failure::usage(shown(given.key(keys::WAIT)), why);
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
            requirements: Requirements::default(),
        })
    }

    /// The words that are there.
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
    given: &Given,
    word: &'static str,
    parse: impl FnOnce(&str) -> Result<T, BadValue>,
) -> Result<Option<T>, Failure> {
    let Some(value) = given.value(word) else {
        return Ok(None);
    };
    let parsed = match value.trim() {
        "" => bad("is empty"),
        bare if bare != value => bad("has white space around it"),
        _ => parse(value),
    };
    parsed.map(Some).map_err(|BadValue(why)| {
        let what = format!("{}={}", shown(given.key(word)), shown(value));
        Failure::usage(what, why).remedy(format!("write {}", right(word)))
    })
}

/// What a key's value should look like.
fn right(key: &str) -> &'static str {
    match key {
        keys::COMPUTE => "a number of compute slices: 1, 2, 3",
        keys::COUNT => "a number of devices: 1 to 64",
        keys::DEVICE => {
            "the device's UUID, as nvidia-smi -L prints it: MIG-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, or GPU-... for a whole GPU"
        }
        keys::GPU => {
            "a GPU's UUID (GPU-...), its PCI bus id (0000:0f:00.0) or its product name, with * for any part"
        }
        keys::MEMORY => "a whole number and a unit: 10GB, 9GiB, 9984MiB",
        keys::PROFILE => "a profile: 1g.10gb, 1c.3g.40gb, 1g.10gb+me; or gpu, for a whole GPU",
        _ => "a whole number and a unit: 30s, 5m, 2h; at most 24h",
    }
}

fn profile(text: &str) -> Result<Kind, BadValue> {
    if let Ok(Kind::Gpu) = text.parse() {
        return Ok(Kind::Gpu);
    }
    let name = text.strip_prefix("mig-").unwrap_or(text);
    name.parse()
        .map(Kind::Mig)
        .or_else(|_| match name.to_ascii_lowercase().parse::<Profile>() {
            Ok(meant) if text.len() <= SHOWN => bad(format!("is not in lower case: {meant}")),
            _ => bad("is not a profile"),
        })
}

fn device(text: &str) -> Result<DeviceName, BadValue> {
    text.parse().or_else(|_| bad("is no device's UUID"))
}

/// Refuses those of the `words` that can't stand beside `word`, and says why.
fn excludes(
    given: &Given,
    word: &str,
    (words, excluded): (&[&'static str], &[&str]),
    why: &str,
) -> Result<(), Failure> {
    let beside = words.iter().filter(|other| excluded.contains(other));
    let beside: Vec<String> = beside.map(|other| shown(given.key(other))).collect();
    if beside.is_empty() {
        return Ok(());
    }
    let key = shown(given.key(word));
    let what = format!("{key} and {}", beside.join(", "));
    Err(Failure::usage(what, why).remedy(format!("remove {key}, or {}", beside.join(" and "))))
}

/// The beginning of a hostile text.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
