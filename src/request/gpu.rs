//! Which GPUs a request accepts: one by its UUID or bus id, or those of a product name.

use std::fmt;
use std::str::FromStr;

use super::value::{BadValue, bad};
use crate::mig::{Gpu, GpuUuid, PciBusId};

/// Which GPUs a request accepts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GpuConstraint {
    /// This one.
    Uuid(GpuUuid),
    /// The one that sits there.
    Bus(PciBusId),
    /// Those whose product name matches.
    Product(ProductPattern),
}

/// A product name, where `*` stands for any run of characters, or none. It matches whole names, whatever the
/// case: `NVIDIA A100-SXM4-40GB`, `*a100*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProductPattern(String);

/// NVML's names have at most 95 characters (`NVML_DEVICE_NAME_V2_BUFFER_SIZE`).
const LONGEST_PATTERN: usize = 128;

impl GpuConstraint {
    /// Whether a device may be taken from this GPU.
    pub fn accepts(&self, gpu: &Gpu) -> bool {
        match self {
            GpuConstraint::Uuid(uuid) => gpu.uuid == *uuid,
            GpuConstraint::Bus(bus) => gpu.pci == *bus,
            GpuConstraint::Product(pattern) => pattern.matches(&gpu.model),
        }
    }
}

impl FromStr for GpuConstraint {
    type Err = BadValue;

    /// What begins like a UUID must be one, what has a colon must be a bus id, the rest is a product name.
    fn from_str(text: &str) -> Result<Self, BadValue> {
        if starts_with(text, "GPU-") {
            return text
                .parse()
                .map(GpuConstraint::Uuid)
                .or_else(|_| bad("is not a whole GPU UUID"));
        }
        if starts_with(text, "MIG-") {
            return bad("names a MIG device; that is mig.device's");
        }
        if text.contains(':') {
            return text
                .parse()
                .map(GpuConstraint::Bus)
                .or_else(|_| bad("is not a whole PCI bus id"));
        }
        text.parse().map(GpuConstraint::Product)
    }
}

/// Whatever the case: `gpu-1a2b...` is a UUID written wrong, not a product's name.
fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

impl fmt::Display for GpuConstraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GpuConstraint::Uuid(uuid) => uuid.fmt(f),
            GpuConstraint::Bus(bus) => bus.fmt(f),
            GpuConstraint::Product(pattern) => f.write_str(&pattern.0),
        }
    }
}

impl ProductPattern {
    /// Whether the whole of `name` matches. Takes at most as many steps as pattern and name have characters
    /// multiplied: on a mismatch only the last `*` takes one more.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        let mut star = None;
        while n < name.len() {
            if pattern.get(p) == Some(&b'*') {
                star = Some((p, n));
                p += 1;
            } else if pattern
                .get(p)
                .is_some_and(|byte| byte.eq_ignore_ascii_case(&name[n]))
            {
                p += 1;
                n += 1;
            } else if let Some((at, taken)) = star {
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

impl FromStr for ProductPattern {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text.is_empty() {
            return bad("is empty");
        }
        if text.len() > LONGEST_PATTERN {
            return bad(format!("is longer than {LONGEST_PATTERN} characters"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') || text.trim() != text {
            return bad("is not a product name in plain characters");
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return bad("is an index, which names another GPU after the next reboot");
        }
        Ok(ProductPattern(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern.parse::<ProductPattern>().unwrap().matches(name)
    }

    #[test]
    fn a_product_name_is_matched_whole_and_in_any_case() {
        let name = "NVIDIA A100-SXM4-40GB";
        for pattern in [
            name,
            "nvidia a100-sxm4-40gb",
            "*",
            "**",
            "*A100*",
            "NVIDIA*",
            "*40GB",
            "*a*0*0*gb*",
        ] {
            assert!(matches(pattern, name), "{pattern}");
        }
        for pattern in [
            "A100",
            "A100*",
            "*A100",
            "NVIDIA A100-SXM4-40G",
            "*80GB",
            "*A100*A100*",
            "x",
        ] {
            assert!(!matches(pattern, name), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_of_nothing_but_stars_ends_soon() {
        let pattern = "*a".repeat(64);
        assert!(!matches(&pattern, &"a".repeat(63)));
        assert!(!matches(&pattern, &format!("{}b", "a".repeat(20_000))));
    }

    #[test]
    fn each_kind_is_told_by_its_look() {
        for (text, printed) in [
            (
                "GPU-1A2B3C4D-0000-4000-8000-0123456789ab",
                "GPU-1a2b3c4d-0000-4000-8000-0123456789ab",
            ),
            ("00000000:0F:00.0", "0000:0f:00.0"),
            ("*H100*", "*H100*"),
        ] {
            assert_eq!(text.parse::<GpuConstraint>().unwrap().to_string(), printed);
        }
        for (text, why) in [
            ("GPU-1a2b", "is not a whole GPU UUID"),
            ("gpu-1a2b", "is not a whole GPU UUID"),
            ("0f:00.0", "is not a whole PCI bus id"),
            (
                "MIG-1a2b3c4d-0000-5000-8000-0123456789ab",
                "names a MIG device; that is mig.device's",
            ),
            ("0", "is an index, which names another GPU after the next reboot"),
            ("", "is empty"),
            ("A100\n", "is not a product name in plain characters"),
        ] {
            assert_eq!(
                text.parse::<GpuConstraint>().unwrap_err().to_string(),
                why,
                "{text}"
            );
        }
    }
}
