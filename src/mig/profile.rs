//! A MIG profile's name, as nvidia-smi writes it: `1g.10gb`, `1c.3g.40gb`, `1g.10gb+me`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A profile: the CI's slices, the GI's slices, the memory in the name, and the attribute suffix.
///
/// The number of gigabytes is a name, not a size: drivers round it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Profile {
    /// Compute slices of the compute instance; equal to `gi_slices` where the name has no `c` part.
    pub ci_slices: u8,
    /// Compute slices of the GPU instance.
    pub gi_slices: u8,
    /// The figure before `gb`.
    pub memory_gb: u16,
    /// Media engines, graphics, or their absence.
    pub suffix: Suffix,
}

/// What a profile has beyond (or less than) the plain one of its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suffix {
    /// The plain profile.
    Plain,
    /// `+me`: with a JPEG and OFA engine.
    Me,
    /// `+me.all`: with every media engine.
    MeAll,
    /// `+gfx`: graphics too.
    Gfx,
    /// `-me`: without media engines.
    NoMe,
}

impl Suffix {
    const ALL: [Suffix; 5] = [
        Suffix::Plain,
        Suffix::Me,
        Suffix::MeAll,
        Suffix::Gfx,
        Suffix::NoMe,
    ];

    fn text(self) -> &'static str {
        match self {
            Suffix::Plain => "",
            Suffix::Me => "+me",
            Suffix::MeAll => "+me.all",
            Suffix::Gfx => "+gfx",
            Suffix::NoMe => "-me",
        }
    }
}

impl fmt::Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Text that is no profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadProfile(String);

impl fmt::Display for BadProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not a profile like 1g.10gb, 1c.3g.40gb or 1g.10gb+me",
            self.0
        )
    }
}

impl std::error::Error for BadProfile {}

impl FromStr for Profile {
    type Err = BadProfile;

    fn from_str(text: &str) -> Result<Self, BadProfile> {
        parse(text).ok_or_else(|| BadProfile(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Profile> {
    let (sizes, suffix) = text.split_once("gb")?;
    let suffix = Suffix::ALL.into_iter().find(|known| known.text() == suffix)?;
    let mut parts = sizes.split('.');
    let first = parts.next()?;
    let (ci_slices, gi_slices) = match first.strip_suffix('c') {
        Some(ci) => (Some(number(ci)?), parts.next()?.strip_suffix('g')?),
        None => (None, first.strip_suffix('g')?),
    };
    let gi_slices: u8 = number(gi_slices)?;
    let memory_gb = number(parts.next()?)?;
    let ci_slices = ci_slices.unwrap_or(gi_slices);
    let whole = parts.next().is_none() && ci_slices <= gi_slices;
    whole.then_some(Profile {
        ci_slices,
        gi_slices,
        memory_gb,
        suffix,
    })
}

/// A positive number written in plain digits: no sign, no leading zero.
fn number<N: FromStr>(digits: &str) -> Option<N> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    plain.then(|| digits.parse().ok()).flatten()
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ci_slices != self.gi_slices {
            write!(f, "{}c.", self.ci_slices)?;
        }
        write!(
            f,
            "{}g.{}gb{}",
            self.gi_slices,
            self.memory_gb,
            self.suffix.text()
        )
    }
}

impl TryFrom<String> for Profile {
    type Error = BadProfile;

    fn try_from(text: String) -> Result<Self, BadProfile> {
        text.parse()
    }
}

impl From<Profile> for String {
    fn from(profile: Profile) -> String {
        profile.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for text in [
            "1g.10gb",
            "1c.3g.40gb",
            "1g.10gb+me",
            "1c.2g.20gb+me",
            "1g.24gb-me",
            "4g.96gb+gfx",
            "1g.24gb+me.all",
        ] {
            assert_eq!(text.parse::<Profile>().unwrap().to_string(), text);
        }
        assert_eq!("3c.3g.40gb".parse::<Profile>(), "3g.40gb".parse());
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        for text in [
            "",
            "1g",
            "g.10gb",
            "1g.10",
            "1g.10gbx",
            "0g.10gb",
            "+1g.10gb",
            "01g.10gb",
            "4c.3g.40gb",
            "1g.1c.10gb",
            "1g.10gb.1",
            "1g.99999gb",
            "1c.1c.1g.5gb",
        ] {
            assert!(text.parse::<Profile>().is_err(), "{text}");
        }
    }
}
