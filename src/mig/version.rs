//! Versions, as drivers, CUDA and compute capabilities have them.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most numbers that a version has. No driver's has more than three.
const MOST_NUMBERS: usize = 8;

/// Numbers with dots between them: `550.54.15`. Last ones that are missing count as 0, so that `12` is `12.0`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(Vec<u64>);

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadVersion(String);

impl fmt::Display for BadVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a version like 12.4", self.0)
    }
}

impl std::error::Error for BadVersion {}

impl Version {
    /// `major.minor`.
    pub fn new(major: u64, minor: u64) -> Version {
        Version(vec![major, minor])
    }

    /// What counts when it is compared.
    fn significant(&self) -> &[u64] {
        let last = self.0.iter().rposition(|number| *number != 0);
        self.0.get(..last.map_or(0, |last| last + 1)).unwrap_or_default()
    }
}

impl FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Version, BadVersion> {
        // `u64` alone would take a sign.
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse().ok(),
            false => None,
        };
        let numbers: Option<Vec<u64>> = text.split('.').take(MOST_NUMBERS + 1).map(number).collect();
        match numbers {
            Some(numbers) if numbers.len() <= MOST_NUMBERS => Ok(Version(numbers)),
            _ => Err(BadVersion(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = BadVersion;

    fn try_from(text: String) -> Result<Version, BadVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, number) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            write!(f, "{dot}{number}")?;
        }
        Ok(())
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        self.significant() == other.significant()
    }
}

impl Eq for Version {}

impl std::hash::Hash for Version {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.significant().hash(state);
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        self.significant().cmp(other.significant())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_missing_ones_are_zero() {
        assert!(version("12.4") < version("12.10"));
        assert!(version("470") < version("470.57.02"));
        assert!(version("9.0") < version("10"));
        assert_eq!(version("12"), version("12.0.0"));
        assert_eq!(version("535.104.05"), version("535.104.5"));
        assert_eq!(version("0"), version("0.0"));
        assert_eq!(version("550.54.15").to_string(), "550.54.15");
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in [
            "",
            ".",
            "12.",
            ".4",
            "12..4",
            "+1",
            "-1",
            "12.x",
            "1 2",
            "v12",
            "1e3",
            "12.4-rc1",
            "99999999999999999999",
            "1.2.3.4.5.6.7.8.9",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
