//! What a device is called that a container can be given, and of which kind it is: a MIG device, or a GPU as a whole.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::BadId;
use super::profile::BadProfile;
use super::{GpuUuid, MigUuid, Profile};

/// A device's name to CUDA and to `NVIDIA_VISIBLE_DEVICES`. Its first letters tell which of both it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// A MIG device.
    Mig(MigUuid),
    /// A whole GPU.
    Gpu(GpuUuid),
}

impl FromStr for DeviceName {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        match text.starts_with("GPU-") {
            true => text.parse().map(DeviceName::Gpu),
            false => text.parse().map(DeviceName::Mig),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceName::Mig(uuid) => uuid.fmt(f),
            DeviceName::Gpu(uuid) => uuid.fmt(f),
        }
    }
}

impl TryFrom<String> for DeviceName {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> String {
        name.to_string()
    }
}

impl From<MigUuid> for DeviceName {
    fn from(uuid: MigUuid) -> DeviceName {
        DeviceName::Mig(uuid)
    }
}

impl From<GpuUuid> for DeviceName {
    fn from(uuid: GpuUuid) -> DeviceName {
        DeviceName::Gpu(uuid)
    }
}

/// The kind of a device, as a request and a configuration name it: a profile, or `gpu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Kind {
    /// A MIG device of that profile.
    Mig(Profile),
    /// A whole GPU.
    Gpu,
}

/// The word for a whole GPU.
const GPU: &str = "gpu";

impl FromStr for Kind {
    type Err = BadProfile;

    fn from_str(text: &str) -> Result<Self, BadProfile> {
        match text {
            GPU => Ok(Kind::Gpu),
            profile => profile.parse().map(Kind::Mig),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Mig(profile) => profile.fmt(f),
            Kind::Gpu => f.write_str(GPU),
        }
    }
}

impl TryFrom<String> for Kind {
    type Error = BadProfile;

    fn try_from(text: String) -> Result<Self, BadProfile> {
        text.parse()
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> String {
        kind.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_mig_devices_or_a_gpus() {
        for text in [
            "MIG-1a2b3c4d-0000-5000-8000-0123456789ab",
            "MIG-GPU-1a2b3c4d-0000-4000-8000-0123456789ab/7/0",
            "GPU-1a2b3c4d-0000-4000-8000-0123456789ab",
        ] {
            let name: DeviceName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(matches!(name, DeviceName::Gpu(_)), text.starts_with("GPU-"));
        }
        for text in [
            "",
            "all",
            "0",
            "GPU-1a2b",
            "GPU-1a2b3c4d-0000-4000-8000-0123456789ab/7/0",
        ] {
            assert!(text.parse::<DeviceName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_kind_is_a_profile_or_the_word_gpu() {
        for text in ["1g.10gb", "1c.3g.40gb", "gpu"] {
            assert_eq!(text.parse::<Kind>().unwrap().to_string(), text);
        }
        assert!("GPU".parse::<Kind>().is_err());
    }
}
