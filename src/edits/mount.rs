//! A file of the host's that is mounted into a container, and the mark by which its entry in a config.json is known again.
//!
//! Dozens of files go into a container, and what is written there has to be taken out again exactly. To repeat each with
//! its place on the host would make a hook entry of several kilobytes; a mark has 16 characters.

use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Value, json};

/// One file of the host's, mounted into the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where the container has it: absolute. What stands there in the image is the image's: resolve it inside the rootfs.
    pub path: PathBuf,
    /// Where it really lies on the host: absolute, and no part of it a link.
    pub host_path: PathBuf,
    /// What it is.
    pub kind: MountKind,
}

/// What is mounted, and so what may be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A library, a program, firmware: read and run, never written.
    File,
    /// A socket, or a folder with sockets in it: spoken to, which takes the right to write, and never run.
    Socket,
}

impl MountKind {
    /// As an OCI spec's mount options have it. `private`, so that nothing that is mounted later shows on the other side.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            MountKind::File => &["bind", "ro", "nosuid", "nodev", "private"],
            MountKind::Socket => &["bind", "nosuid", "nodev", "noexec", "private"],
        }
    }
}

/// As config.json has it.
pub(super) fn entry(mount: &Mount) -> Value {
    json!({
        "destination": mount.path.to_string_lossy(),
        "type": "bind",
        "source": mount.host_path.to_string_lossy(),
        "options": mount.kind.options(),
    })
}

/// What a mount's entry in a config.json is known by: place, source and options, whatever the order of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    /// The mark of a mount that is to be written.
    pub fn of(mount: &Mount) -> Mark {
        Mark::of_entry(&entry(mount))
    }

    /// The mark of an entry that stands in a config.json.
    pub fn of_entry(entry: &Value) -> Mark {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let member = |key: &str| entry.get(key).map(text).unwrap_or_default();
        let options = entry.get("options").and_then(Value::as_array);
        let words = ["destination", "type", "source"].into_iter().map(member);
        Mark(fnv(words.chain(options.into_iter().flatten().map(text))))
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Mark {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Mark, Self::Err> {
        u64::from_str_radix(text, 16).map(Mark)
    }
}

/// The marks of all of them: `8c04...,19fe...`.
pub(super) fn print_marks(mounts: &[Mount]) -> String {
    let marks = mounts.iter().map(|mount| Mark::of(mount).to_string());
    marks.collect::<Vec<_>>().join(",")
}

/// The same read back.
pub(super) fn parse_marks(text: &str) -> Option<Vec<Mark>> {
    text.split(',').map(|mark| mark.parse().ok()).collect()
}

/// FNV-1a, each word ended by a byte that no path has. Whoever makes a collision takes a mount out of his own container.
fn fnv(words: impl Iterator<Item = String>) -> u64 {
    let bytes = words.flat_map(|word| word.into_bytes().into_iter().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount() -> Mount {
        Mount {
            path: "/usr/lib64/libcuda.so.1".into(),
            host_path: "/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15".into(),
            kind: MountKind::File,
        }
    }

    #[test]
    fn a_mark_goes_by_what_is_mounted_where_and_how() {
        let socket = Mount {
            kind: MountKind::Socket,
            ..mount()
        };
        let elsewhere = Mount {
            path: "/usr/lib/libcuda.so.1".into(),
            ..mount()
        };
        for other in [&socket, &elsewhere] {
            assert_ne!(Mark::of(other), Mark::of(&mount()));
        }
        // As Go writes it.
        let podmans: Value = serde_json::from_str(
            r#"{"destination":"/usr/lib64/libcuda.so.1","type":"bind","source":"/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15","options":["bind","ro","nosuid","nodev","private"]}"#,
        )
        .unwrap();
        assert_eq!(Mark::of_entry(&podmans), Mark::of(&mount()));
    }

    #[test]
    fn marks_are_read_back_as_they_are_printed() {
        let mounts = [mount(), mount()];
        assert_eq!(
            parse_marks(&print_marks(&mounts)),
            Some(vec![Mark::of(&mount()); 2])
        );
        for broken in ["", "x", "12,", "1 2"] {
            assert_eq!(parse_marks(broken), None, "{broken}");
        }
    }
}
