//! The names that things have: UUIDs, ids, minors and bus ids, each its own type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A GPU's UUID as NVML writes it: `GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GpuUuid(String);

/// A MIG device's UUID: `MIG-<uuid>` since driver R470, `MIG-GPU-<uuid>/<gi>/<ci>` before.
///
/// A name, not a proof of what it names: after a repartition the same UUID can be another profile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MigUuid(String);

/// The N of `/dev/nvidiaN` and of `/proc`'s `gpuN`. Not the NVML index: an excluded GPU uses up a minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceMinor(pub u32);

/// A GPU instance's id on its GPU. Reused after destroy, and shared between profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GpuInstanceId(pub u32);

/// A compute instance's id in its GPU instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ComputeInstanceId(pub u32);

/// Where a GPU sits on the PCI bus. NVML writes eight digits of domain, the kernel four: both parse, the kernel's
/// form prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciBusId {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// A name that doesn't have the form it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadId {
    expected: &'static str,
    found: String,
}

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not of the form {}", self.found, self.expected)
    }
}

impl std::error::Error for BadId {}

const GPU_FORM: &str = "GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
const MIG_FORM: &str = "MIG-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
const BUS_FORM: &str = "0000:00:00.0";

impl FromStr for GpuUuid {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        match text.strip_prefix("GPU-") {
            Some(uuid) if is_uuid(uuid) => Ok(GpuUuid(format!("GPU-{}", uuid.to_ascii_lowercase()))),
            _ => Err(bad(GPU_FORM, text)),
        }
    }
}

impl FromStr for MigUuid {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let rest = text.strip_prefix("MIG-").ok_or_else(|| bad(MIG_FORM, text))?;
        if is_uuid(rest) {
            return Ok(MigUuid(format!("MIG-{}", rest.to_ascii_lowercase())));
        }
        let mut parts = rest.split('/');
        let gpu = parts.next().and_then(|part| part.parse::<GpuUuid>().ok());
        let gi = parts.next().and_then(|part| part.parse::<u16>().ok());
        let ci = parts.next().and_then(|part| part.parse::<u16>().ok());
        match (gpu, gi, ci, parts.next()) {
            (Some(gpu), Some(gi), Some(ci), None) => Ok(MigUuid(format!("MIG-{gpu}/{gi}/{ci}"))),
            _ => Err(bad(MIG_FORM, text)),
        }
    }
}

impl FromStr for PciBusId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        parse_bus_id(text).ok_or_else(|| bad(BUS_FORM, text))
    }
}

fn parse_bus_id(text: &str) -> Option<PciBusId> {
    let (rest, function) = text.split_once('.')?;
    let mut parts = rest.split(':');
    let (domain, bus, device) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |digits: &str, width: std::ops::RangeInclusive<usize>| {
        let plain = width.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    };
    if parts.next().is_some() {
        return None;
    }
    Some(PciBusId {
        domain: hex(domain, 4..=8)?,
        bus: u8::try_from(hex(bus, 2..=2)?).ok()?,
        device: u8::try_from(hex(device, 2..=2)?).ok()?,
        function: u8::try_from(hex(function, 1..=1)?).ok()?,
    })
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn bad(expected: &'static str, found: &str) -> BadId {
    BadId {
        expected,
        found: found.to_owned(),
    }
}

impl fmt::Display for GpuUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MigUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PciBusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04x}:{:02x}:{:02x}.{:x}",
            self.domain, self.bus, self.device, self.function
        )
    }
}

impl TryFrom<String> for GpuUuid {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl TryFrom<String> for MigUuid {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl TryFrom<String> for PciBusId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<GpuUuid> for String {
    fn from(uuid: GpuUuid) -> String {
        uuid.0
    }
}

impl From<MigUuid> for String {
    fn from(uuid: MigUuid) -> String {
        uuid.0
    }
}

impl From<PciBusId> for String {
    fn from(id: PciBusId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_mig_uuid_parse() {
        for text in [
            "MIG-1a2b3c4d-0000-5000-8000-0123456789ab",
            "MIG-GPU-1a2b3c4d-0000-4000-8000-0123456789ab/7/0",
        ] {
            assert_eq!(text.parse::<MigUuid>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "MIG-",
            "GPU-1a2b3c4d-0000-5000-8000-0123456789ab",
            "MIG-GPU-x/1/2",
            "MIG-../../x",
        ] {
            assert!(text.parse::<MigUuid>().is_err(), "{text}");
        }
    }

    #[test]
    fn nvmls_bus_id_is_the_kernels() {
        let nvml: PciBusId = "00000000:0F:00.0".parse().unwrap();
        assert_eq!(nvml, "0000:0f:00.0".parse().unwrap());
        assert_eq!(nvml.to_string(), "0000:0f:00.0");
        for text in [
            "",
            "0f:00.0",
            "0000:0f:00",
            "0000:0f:00.0:1",
            "0000:+f:00.0",
            "0000:0f:00.10",
        ] {
            assert!(text.parse::<PciBusId>().is_err(), "{text}");
        }
    }
}
