//! The values of a request's annotations that are numbers: memory, counts, durations. Each parses and prints.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;
use std::time::Duration;

/// Why a value is none of its kind, in words that follow `mig.memory=10XB: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue(pub(super) String);

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadValue {}

pub(super) fn bad<T>(why: impl Into<String>) -> Result<T, BadValue> {
    Err(BadValue(why.into()))
}

/// An amount of memory, in whole MB or MiB, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Memory {
    bytes: u64,
}

const MIB: u64 = 1 << 20;

/// Units in the order in which printing prefers them. Every [`Memory`] is a multiple of one of the last two.
const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", MIB),
    ("MB", 1_000_000),
];

impl Memory {
    /// The amount in bytes.
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// The smallest number of MiB that is at least this much: NVML counts in MiB.
    pub fn mib(self) -> u64 {
        self.bytes.div_ceil(MIB)
    }
}

impl FromStr for Memory {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let (digits, unit) = split_number(text);
        if unit.is_empty() {
            return bad("has no unit");
        }
        let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return bad("is not a whole number and one of the units GB, GiB, MB, MiB");
        };
        match number(digits)?.checked_mul(*size) {
            Some(0) => bad("asks for no memory"),
            Some(bytes) => Ok(Memory { bytes }),
            None => bad("is more memory than can be counted"),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = UNITS
            .into_iter()
            .find(|(_, size)| self.bytes % size == 0)
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.bytes / size)
    }
}

/// How many devices: 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Count(NonZeroU8);

impl Count {
    /// One device: what a request means that doesn't say.
    pub const ONE: Count = Count(NonZeroU8::MIN);
    /// The most that a request can ask for: a node's 8 GPUs with 7 devices each, and some.
    pub const MAX: u8 = 64;

    /// The number.
    pub fn get(self) -> u8 {
        self.0.get()
    }
}

impl FromStr for Count {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let count = u8::try_from(number(text)?)
            .ok()
            .filter(|count| *count <= Count::MAX);
        match count.and_then(NonZeroU8::new) {
            Some(count) => Ok(Count(count)),
            None => bad(format!("is not between 1 and {}", Count::MAX)),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of compute slices: 1 to 255, though no GPU has more than a handful.
pub(super) fn compute(text: &str) -> Result<NonZeroU8, BadValue> {
    match u8::try_from(number(text)?).ok().and_then(NonZeroU8::new) {
        Some(slices) => Ok(slices),
        None => bad(format!("is not between 1 and {}", u8::MAX)),
    }
}

/// How long to wait: whole seconds, at least one, at most a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wait {
    seconds: u32,
}

impl Wait {
    const LONGEST: u64 = 24 * 60 * 60;
    const UNITS: [(&'static str, u32); 3] = [("h", 3600), ("m", 60), ("s", 1)];

    /// The same as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

impl FromStr for Wait {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let (digits, unit) = split_number(text);
        if unit.is_empty() {
            return bad("has no unit");
        }
        let Some((_, size)) = Wait::UNITS.iter().find(|(name, _)| *name == unit) else {
            return bad("is not a whole number and one of the units s, m, h");
        };
        let seconds = number(digits)?.saturating_mul(u64::from(*size));
        match u32::try_from(seconds) {
            Ok(0) => bad("is no time at all"),
            Ok(seconds) if u64::from(seconds) <= Wait::LONGEST => Ok(Wait { seconds }),
            _ => bad("is more than 24h"),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = Wait::UNITS
            .into_iter()
            .find(|(_, size)| self.seconds % size == 0)
            .unwrap_or(("s", 1));
        write!(f, "{}{unit}", self.seconds / size)
    }
}

/// The digits that `text` begins with, and the rest.
fn split_number(text: &str) -> (&str, &str) {
    text.split_at(
        text.bytes()
            .position(|byte| !byte.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// A whole number written in plain digits: no sign, no leading zero, so that one number has one spelling.
fn number(digits: &str) -> Result<u64, BadValue> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return bad("is not a whole number");
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return bad("is a number with a leading zero");
    }
    digits
        .parse()
        .map_err(|_| BadValue("is a number too large".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gb_is_a_thousand_million_bytes_and_a_gib_is_not() {
        for (text, bytes, mib) in [
            ("10GB", 10_000_000_000, 9537),
            ("9GiB", 9_663_676_416, 9216),
            ("9984MiB", 10_468_982_784, 9984),
            ("500MB", 500_000_000, 477),
        ] {
            let memory: Memory = text.parse().unwrap();
            assert_eq!((memory.bytes(), memory.mib()), (bytes, mib), "{text}");
            assert_eq!(memory.to_string(), text);
        }
        assert_eq!("1024MiB".parse::<Memory>().unwrap().to_string(), "1GiB");
    }

    #[test]
    fn what_is_no_memory_says_why() {
        for (text, why) in [
            ("", "has no unit"),
            ("10", "has no unit"),
            ("0GB", "asks for no memory"),
            (
                "10gb",
                "is not a whole number and one of the units GB, GiB, MB, MiB",
            ),
            (
                "1.5GB",
                "is not a whole number and one of the units GB, GiB, MB, MiB",
            ),
            (
                "-1GB",
                "is not a whole number and one of the units GB, GiB, MB, MiB",
            ),
            ("GB", "is not a whole number"),
            ("010GB", "is a number with a leading zero"),
            ("18446744073709551615GB", "is more memory than can be counted"),
            ("18446744073709551616GB", "is a number too large"),
        ] {
            assert_eq!(text.parse::<Memory>().unwrap_err().to_string(), why, "{text}");
        }
    }

    #[test]
    fn a_count_is_1_to_64() {
        assert_eq!("64".parse::<Count>().unwrap().get(), 64);
        for text in ["0", "65", "256", "257", "-1", "+1", "01", "", "two", "1 "] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_wait_is_up_to_a_day() {
        for (text, seconds, printed) in [
            ("30s", 30, "30s"),
            ("90m", 5400, "90m"),
            ("24h", 86400, "24h"),
            ("120s", 120, "2m"),
        ] {
            let wait: Wait = text.parse().unwrap();
            assert_eq!(
                (wait.duration().as_secs(), wait.to_string().as_str()),
                (seconds, printed)
            );
        }
        for text in [
            "0s",
            "30",
            "30ms",
            "1h30m",
            "25h",
            "86401s",
            "4294967297s",
            "1193047h",
            "s",
            "",
        ] {
            assert!(text.parse::<Wait>().is_err(), "{text}");
        }
    }
}
