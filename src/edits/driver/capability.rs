//! Driver capabilities: the groups in which NVIDIA gives its driver's files to containers, and the variable by which an
//! image or its user asks for them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The variable, in the container's environment.
pub const VARIABLE: &str = "NVIDIA_DRIVER_CAPABILITIES";

/// One group of the driver's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// CUDA and OpenCL.
    Compute,
    /// The 32-bit libraries of the other groups.
    Compat32,
    /// OpenGL and Vulkan.
    Graphics,
    /// nvidia-smi and NVML.
    Utility,
    /// The Video Codec SDK.
    Video,
    /// X11.
    Display,
    /// NGX.
    Ngx,
    /// What carries the driver's version and is in no group that this program knows: it comes with `all`.
    #[serde(skip)]
    Unlisted,
}

/// Each under its name.
const NAMES: [(&str, Capability); 7] = [
    ("compute", Capability::Compute),
    ("compat32", Capability::Compat32),
    ("graphics", Capability::Graphics),
    ("utility", Capability::Utility),
    ("video", Capability::Video),
    ("display", Capability::Display),
    ("ngx", Capability::Ngx),
];

/// Some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(u8);

impl Capabilities {
    /// Every one.
    pub const ALL: Capabilities = Capabilities(u8::MAX);

    /// What a container has that doesn't say: `compute,utility`.
    pub const USUAL: Capabilities = Capabilities(Capability::Compute.bit() | Capability::Utility.bit());

    /// Whether that one is among them.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// Whether both have one in common.
    pub const fn meet(self, other: Capabilities) -> bool {
        self.0 & other.0 != 0
    }

    /// All that either has.
    #[must_use]
    pub const fn or(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }

    /// What the environment asks for: entries as `NAME=VALUE`, of which the last of that name counts, as it does to
    /// NVIDIA's toolkit. Unset and empty are [`Capabilities::USUAL`].
    ///
    /// # Errors
    /// A usage failure that names the word which is none.
    pub fn asked<'a>(environment: impl Iterator<Item = &'a str>) -> Result<Capabilities, Failure> {
        let pairs = environment.filter_map(|entry| entry.split_once('='));
        let values = pairs.filter_map(|(name, value)| (name == VARIABLE).then_some(value));
        match values.last() {
            Some(value) if !value.trim().is_empty() => value.parse().map_err(refused),
            _ => Ok(Capabilities::USUAL),
        }
    }
}

impl Capability {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(all: I) -> Capabilities {
        Capabilities(all.into_iter().fold(0, |bits, one| bits | one.bit()))
    }
}

/// `compute,utility`; `all`; the error is the word that is none.
impl FromStr for Capabilities {
    type Err = String;

    fn from_str(text: &str) -> Result<Capabilities, String> {
        let mut words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.try_fold(Capabilities::default(), |so_far, word| {
            let one = match word {
                "all" => Capabilities::ALL,
                word => {
                    let known = NAMES.iter().find(|(name, _)| *name == word);
                    let (_, capability) = known.ok_or_else(|| word.to_owned())?;
                    Capabilities(capability.bit())
                }
            };
            Ok(so_far.or(one))
        })
    }
}

fn refused(word: String) -> Failure {
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    Failure::usage(
        format!("variable {VARIABLE}"),
        format!("'{word}' is no driver capability"),
    )
    .remedy(format!("there are {}, and all", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn asked(entries: &[&str]) -> Result<Capabilities, Failure> {
        Capabilities::asked(entries.iter().copied())
    }

    #[test]
    fn the_environment_says_it_in_nvidias_words() {
        for unset in [&[][..], &["PATH=/bin"], &["NVIDIA_DRIVER_CAPABILITIES="]] {
            assert_eq!(asked(unset).unwrap(), Capabilities::USUAL);
        }
        let video = asked(&["NVIDIA_DRIVER_CAPABILITIES= video, compute ,"]).unwrap();
        assert!(video.has(Capability::Video) && video.has(Capability::Compute));
        assert!(!video.has(Capability::Utility) && !video.has(Capability::Unlisted));
        let all = asked(&[
            "NVIDIA_DRIVER_CAPABILITIES=video",
            "NVIDIA_DRIVER_CAPABILITIES=utility,all",
        ])
        .unwrap();
        assert_eq!(all, Capabilities::ALL);
    }

    #[test]
    fn a_word_that_is_none_is_named() {
        for (value, word) in [("compute,cuda", "cuda"), ("ALL", "ALL"), ("unlisted", "unlisted")] {
            let failure = asked(&[&format!("NVIDIA_DRIVER_CAPABILITIES={value}")]).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage);
            assert_eq!(
                failure.to_string(),
                format!(
                    "variable NVIDIA_DRIVER_CAPABILITIES: '{word}' is no driver capability; there are compute, \
                     compat32, graphics, utility, video, display, ngx, and all"
                )
            );
        }
    }
}
