//! Marks by which entries in a config.json are known again that this program wrote there and that don't name it.
//!
//! Dozens of files go into a container, and what is written there has to be taken out again exactly. To repeat each with
//! its place on the host would make a hook entry of several kilobytes; a mark has 16 characters.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde_json::Value;

/// What an entry is known by, whatever the order of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    /// The mark of a mount: place, source and options.
    pub fn of_mount(entry: &Value) -> Mark {
        let words = ["destination", "type", "source"].map(|key| member(entry, key));
        Mark(fnv(words.into_iter().chain(list(entry, "options"))))
    }

    /// The mark of a hook: its program, arguments and environment.
    pub fn of_hook(entry: &Value) -> Mark {
        let path = std::iter::once(member(entry, "path"));
        let between = std::iter::once(String::new());
        Mark(fnv(path
            .chain(list(entry, "args"))
            .chain(between)
            .chain(list(entry, "env"))))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn member(entry: &Value, key: &str) -> String {
    entry.get(key).map(text).unwrap_or_default()
}

fn list(entry: &Value, key: &str) -> Vec<String> {
    let values = entry.get(key).and_then(Value::as_array);
    values.into_iter().flatten().map(text).collect()
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Mark {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Mark, Self::Err> {
        u64::from_str_radix(text, 16).map(Mark)
    }
}

/// All of them: `8c04...,19fe...`.
pub fn print(marks: impl Iterator<Item = Mark>) -> String {
    let marks = marks.map(|mark| mark.to_string());
    marks.collect::<Vec<_>>().join(",")
}

/// The same read back.
pub fn parse(text: &str) -> Option<Vec<Mark>> {
    text.split(',').map(|mark| mark.parse().ok()).collect()
}

/// FNV-1a, each word ended by a byte that no path has. Whoever makes a collision takes an entry out of his own container.
fn fnv(words: impl Iterator<Item = String>) -> u64 {
    let bytes = words.flat_map(|word| word.into_bytes().into_iter().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edits::mount::{self, Mount, MountKind};
    use serde_json::json;

    fn mount() -> Mount {
        Mount {
            path: "/usr/lib64/libcuda.so.1".into(),
            host_path: "/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15".into(),
            kind: MountKind::File,
        }
    }

    fn of(mount: &Mount) -> Mark {
        Mark::of_mount(&mount::entry(mount))
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
            assert_ne!(of(other), of(&mount()));
        }
        // As Go writes it.
        let podmans: Value = serde_json::from_str(
            r#"{"destination":"/usr/lib64/libcuda.so.1","type":"bind","source":"/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15","options":["bind","ro","nosuid","nodev","private"]}"#,
        )
        .unwrap();
        assert_eq!(Mark::of_mount(&podmans), of(&mount()));
    }

    #[test]
    fn a_hook_is_known_by_its_program_arguments_and_environment() {
        let hook = json!({"path": "/usr/bin/x", "args": ["x", "y"], "env": ["A=b"]});
        let as_written = json!({"env": ["A=b"], "args": ["x", "y"], "path": "/usr/bin/x", "timeout": 5});
        assert_eq!(Mark::of_hook(&as_written), Mark::of_hook(&hook));
        for (key, other) in [
            ("path", json!("/x")),
            ("args", json!(["x"])),
            ("env", json!(["y", "A=b"])),
        ] {
            let mut changed = hook.clone();
            changed[key] = other;
            assert_ne!(Mark::of_hook(&changed), Mark::of_hook(&hook), "{key}");
        }
    }

    #[test]
    fn marks_are_read_back_as_they_are_printed() {
        let marks = vec![of(&mount()); 2];
        assert_eq!(parse(&print(marks.iter().copied())), Some(marks));
        for broken in ["", "x", "12,", "1 2"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }
}
