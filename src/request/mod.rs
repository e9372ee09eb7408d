//! What a container asks for: its `mig.*` annotations, read into a [`Request`], or into the one line that says
//! which of them is wrong and what would be right. Pure.
//!
//! | annotation | value | meaning |
//! |---|---|---|
//! | `mig.profile` | `1g.10gb`, `mig-1g.10gb`, `1c.3g.40gb`, `1g.10gb+me`; `gpu` | this profile; a GPU that is not in MIG mode, whole |
//! | `mig.memory` | `10GB`, `9GiB`, `9984MiB`, `500MB` | at least this much memory |
//! | `mig.compute` | 1 to 255 | at least this many compute slices |
//! | `mig.count` | 1 to 64 | that many devices, all or none; 1 where absent |
//! | `mig.gpu` | GPU UUID, PCI bus id, product name with `*` | only on this GPU |
//! | `mig.device` | `MIG-<uuid>`, `GPU-<uuid>` | exactly this device |
//! | `mig.wait` | `30s`, `5m`, `2h` | wait that long for one to come free |
//!
//! Memory and compute exclude a profile, and a device excludes all but a wait. `gpu` is no profile with figures of its own:
//! memory goes with it, and compute doesn't, since a whole GPU is cut into no compute slices and nobody could say what the
//! number would count. Without `gpu` no whole GPU is ever given. Any other subset is a request:
//! where neither profile nor size is given (`mig.gpu` or `mig.count` alone) any device will do, the smallest
//! first. Only `mig.wait` alone asks for nothing, and is an error.
//!
//! A pod's annotations reach all of its containers. `mig.profile/web`, and every other key with `/<container>` behind
//! it, speaks to the container `web` alone, and wins there over the same key without a name. Where a container is told
//! by name which devices would do (profile, memory, compute or device), none of these four counts without a name: of
//! `mig.profile=1g.10gb` and `mig.memory/web=20GB`, `web` gets 20 GB and every other container a 1g.10gb.

#![forbid(unsafe_code)]

mod given;
mod gpu;
pub mod keys;
mod parse;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

pub use gpu::{GpuConstraint, ProductPattern};
pub use value::{BadValue, Count, Memory, Wait};

use crate::failure::Failure;
use crate::mig::{DeviceName, Kind, Profile};
use crate::require::Requirements;
use given::Given;

/// What a container asks for. A container without our annotations has none.
///
/// It comes only from annotations, so that every one there is can be met by some node, and prints back to them in
/// one canonical way: that is how a lease stores it, and how the same request is recognised. What its image requires of the
/// machine besides is no part of that.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Request {
    want: Want,
    count: Count,
    gpu: Option<GpuConstraint>,
    wait: Option<Wait>,
    requirements: Requirements,
}

/// Which devices would do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// Those of this profile.
    Profile(Profile),
    /// Those that are large enough; with neither figure, any.
    AtLeast {
        /// Memory of the GPU instance.
        memory: Option<Memory>,
        /// Compute slices of the compute instance.
        compute: Option<NonZeroU8>,
    },
    /// GPUs that are not in MIG mode, whole.
    Gpu {
        /// With at least this much memory.
        memory: Option<Memory>,
    },
    /// This one.
    Device(DeviceName),
}

impl Request {
    /// Reads a container's annotations, in any order. `container` is its name in its pod, where it is in one and its
    /// engine says it. `None` where none of the annotations is ours and speaks to it; [`keys::LEASE`] is not looked at.
    ///
    /// # Errors
    /// Exit 2, naming the key, its value and what would be right, for an unknown word, a value that doesn't parse
    /// or keys that contradict each other. Of several, the first by name.
    pub fn from_annotations<K, V>(
        annotations: impl IntoIterator<Item = (K, V)>,
        container: Option<&str>,
    ) -> Result<Option<Self>, Failure>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        Given::of(annotations, container)?
            .map(Request::of_given)
            .transpose()
    }

    /// Reads a container's environment (`NAME=VALUE`, each): `MIG_PROFILE=1g.10gb` asks as `mig.profile` does, and so on
    /// for each key. Of several of one name the last counts, as for the container's program.
    ///
    /// # Errors
    /// As [`Request::from_annotations`], naming the variable.
    pub fn from_environment<'a>(entries: impl Iterator<Item = &'a str>) -> Result<Option<Self>, Failure> {
        Given::of_environment(entries).map(Request::of_given).transpose()
    }

    fn of_given(given: Given) -> Result<Self, Failure> {
        parse::request(&given)
    }

    /// Which devices would do.
    pub fn want(&self) -> &Want {
        &self.want
    }

    /// How many of them.
    pub fn count(&self) -> Count {
        self.count
    }

    /// On which GPUs; on any where absent.
    pub fn gpu(&self) -> Option<&GpuConstraint> {
        self.gpu.as_ref()
    }

    /// How long to wait for them; not at all where absent.
    pub fn wait(&self) -> Option<Wait> {
        self.wait
    }

    /// What its image requires of the machine and the GPU.
    pub fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    /// The same request, of an image that requires this.
    #[must_use]
    pub fn requiring(self, requirements: Requirements) -> Request {
        Request { requirements, ..self }
    }

    /// The annotations that say the same, each value in its canonical form. Never empty.
    pub fn to_annotations(&self) -> BTreeMap<&'static str, String> {
        let mut annotations = BTreeMap::new();
        match &self.want {
            Want::Profile(profile) => {
                annotations.insert(keys::PROFILE, profile.to_string());
            }
            Want::Gpu { memory } => {
                annotations.insert(keys::PROFILE, Kind::Gpu.to_string());
                annotations.extend(memory.map(|memory| (keys::MEMORY, memory.to_string())));
            }
            Want::AtLeast { memory, compute } => {
                annotations.extend(memory.map(|memory| (keys::MEMORY, memory.to_string())));
                annotations.extend(compute.map(|compute| (keys::COMPUTE, compute.to_string())));
            }
            Want::Device(device) => {
                annotations.insert(keys::DEVICE, device.to_string());
            }
        }
        annotations.extend(self.gpu.as_ref().map(|gpu| (keys::GPU, gpu.to_string())));
        if self.count != Count::ONE || annotations.is_empty() {
            annotations.insert(keys::COUNT, self.count.to_string());
        }
        annotations.extend(self.wait.map(|wait| (keys::WAIT, wait.to_string())));
        annotations
    }
}

/// `mig.count=2 mig.profile=1g.10gb`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, value)) in self.to_annotations().iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{key}={value}")?;
        }
        Ok(())
    }
}

impl From<Request> for BTreeMap<String, String> {
    fn from(request: Request) -> Self {
        let annotations = request.to_annotations().into_iter();
        annotations.map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl TryFrom<BTreeMap<String, String>> for Request {
    type Error = Failure;

    fn try_from(annotations: BTreeMap<String, String>) -> Result<Self, Failure> {
        let variables = annotations
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        let requirements = Requirements::of_variables(variables)?;
        match Given::of(annotations, None)? {
            Some(given) => Ok(parse::request(&given)?.requiring(requirements)),
            None => Err(Failure::usage("no request", "none of our annotations is there")),
        }
    }
}
