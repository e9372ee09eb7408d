//! What belongs to which driver capability: `files.toml`, read only when the driver's files are looked for anew.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Daemon;
use crate::edits::driver::{Capabilities, Capability};
use crate::failure::Failure;

const TEXT: &str = include_str!("files.toml");

/// The table, by what is looked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    says_version: Vec<String>,
    group: BTreeMap<Capability, Group>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Group {
    includes: Vec<Capability>,
    libraries: Vec<String>,
    named: Vec<String>,
    links: BTreeMap<String, String>,
    programs: Vec<String>,
    firmware: Option<Firmware>,
    files: Vec<String>,
    sockets: BTreeMap<Daemon, String>,
}

/// Which files of the firmware's folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firmware {
    /// How their names begin.
    pub begin: String,
    /// How they end.
    pub end: String,
}

/// Where a daemon of the driver's listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Socket {
    /// The daemon.
    pub daemon: Daemon,
    /// The socket.
    pub path: PathBuf,
    /// The capabilities that bring it in.
    pub for_any: Capabilities,
}

/// Something that is looked for, and the capabilities that bring it in.
type For<T> = (T, Capabilities);

impl Table {
    /// The table of this program.
    ///
    /// # Errors
    /// A host failure that can't be: a test reads it.
    pub fn read() -> Result<Table, Failure> {
        toml::from_str(TEXT).map_err(|error| {
            Failure::host("files.toml can't be read", error.message()).remedy("report this as a bug")
        })
    }

    /// Library names, without `.so` and what follows.
    pub fn libraries(&self) -> Vec<For<&str>> {
        self.each(|group| group.libraries.iter().map(String::as_str).collect())
    }

    /// Libraries by their whole name.
    pub fn named(&self) -> Vec<For<&str>> {
        self.each(|group| group.named.iter().map(String::as_str).collect())
    }

    /// Further names, each with the library that it stands for.
    pub fn links(&self) -> Vec<For<(&str, &str)>> {
        self.each(|group| {
            let links = group.links.iter();
            links.map(|(name, of)| (name.as_str(), of.as_str())).collect()
        })
    }

    /// Programs.
    pub fn programs(&self) -> Vec<For<&str>> {
        self.each(|group| group.programs.iter().map(String::as_str).collect())
    }

    /// Whether a program of the right driver has the driver's version in its text.
    pub fn says_version(&self, program: &str) -> bool {
        self.says_version.iter().any(|name| name == program)
    }

    /// Firmware.
    pub fn firmware(&self) -> Vec<For<&Firmware>> {
        self.each(|group| group.firmware.iter().collect())
    }

    /// Configuration, by its path.
    pub fn files(&self) -> Vec<For<&str>> {
        self.each(|group| group.files.iter().map(String::as_str).collect())
    }

    /// Sockets, by their daemon, with their path.
    pub fn sockets(&self) -> Vec<Socket> {
        let all = self.each(|group| group.sockets.iter().collect());
        let socket = |((daemon, path), for_any): For<(&Daemon, &String)>| Socket {
            daemon: *daemon,
            path: path.into(),
            for_any,
        };
        all.into_iter().map(socket).collect()
    }

    /// What stands in any group, once, with all the capabilities that bring it in.
    fn each<'a, T: PartialEq + 'a>(&'a self, of: impl Fn(&'a Group) -> Vec<T>) -> Vec<For<T>> {
        let mut found: Vec<For<T>> = Vec::new();
        for (capability, group) in &self.group {
            for thing in of(group) {
                let for_any = self.that_bring(*capability);
                match found.iter_mut().find(|(known, _)| *known == thing) {
                    Some((_, known)) => *known = known.or(for_any),
                    None => found.push((thing, for_any)),
                }
            }
        }
        found
    }

    /// The capability itself, and those that include it.
    fn that_bring(&self, capability: Capability) -> Capabilities {
        let include = |group: &Group| group.includes.contains(&capability);
        let others = self.group.iter().filter(|(_, group)| include(group));
        others.map(|(other, _)| *other).chain([capability]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn for_any(of: &[For<&str>], name: &str) -> Capabilities {
        of.iter().find(|(found, _)| *found == name).unwrap().1
    }

    #[test]
    fn a_file_of_two_groups_stands_once_for_both() {
        let table = Table::read().unwrap();
        let libraries = table.libraries();
        let compute = for_any(&libraries, "libcuda");
        assert!(compute.has(Capability::Compute) && compute.has(Capability::Video));
        assert!(!compute.has(Capability::Graphics));
        let shared = for_any(&libraries, "libnvidia-gpucomp");
        assert!(shared.has(Capability::Compute) && shared.has(Capability::Display));
        assert_eq!(
            for_any(&table.programs(), "nvidia-smi"),
            [Capability::Utility].into_iter().collect()
        );
        assert_eq!(table.firmware().len(), 1);
    }

    #[test]
    fn every_link_stands_for_a_library_of_its_group() {
        let table = Table::read().unwrap();
        for group in table.group.values() {
            for library in group.links.values() {
                assert!(group.libraries.contains(library), "{library}");
            }
        }
    }
}
