//! containerd's config.toml, read: its version, our entry in it, what that entry needs of the rest.

#![forbid(unsafe_code)]

use std::path::Path;

use super::RUNTIME;
use super::containerd_imports::imports_note;
use super::toml_entry::Entry;
use super::toml_file::{Toml, quoted};
use crate::failure::Failure;

/// What CRI's plugin is called in files of version 2, and from version 3 on.
pub const CRI: [&str; 2] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];
const NEW: [&str; 2] = [
    include_str!("../../../hooks/containerd/config-v2.toml"),
    include_str!("../../../hooks/containerd/config-v3.toml"),
];

/// What a pod may ask with; `*` stands for anything but a slash.
const ANNOTATIONS: [&str; 2] = ["mig.*", "mig.*/*"];

/// config.toml, read.
pub struct ConfigFile<'a> {
    path: &'a Path,
    toml: &'a Toml,
    /// The version it is written in.
    pub version: i64,
    /// The keys that lead to our table.
    table: Vec<&'static str>,
}

impl<'a> ConfigFile<'a> {
    /// `installed`: the version of a file that says nothing yet.
    pub fn new(
        path: &'a Path,
        toml: &'a Toml,
        installed: impl FnOnce() -> Result<i64, Failure>,
    ) -> Result<Self, Failure> {
        let version = match (toml.integer(&["version"]), toml.is_empty()) {
            (Some(version), _) => version,
            (None, true) => installed()?,
            (None, false) => 1,
        };
        if version < 2 {
            return Err(Failure::refused(
                format!("{} has no 'version = 2'", path.display()),
                "containerd reads it as version 1, which has other names for everything",
            )
            .remedy("write what you need of it into the output of 'containerd config default', then run this again"));
        }
        let cri = CRI[usize::from(version > 2)];
        Ok(ConfigFile {
            path,
            toml,
            version,
            table: vec!["plugins", cri, "containerd", "runtimes", RUNTIME],
        })
    }

    /// Our entry in it.
    pub fn entry<'b>(&'b self, runtime: Option<&'b Path>) -> Entry<'b> {
        Entry {
            file: self.path,
            table: &self.table,
            program: &["options", "BinaryName"],
            named: runtime,
        }
    }

    /// The keys that lead to one of `containerd`'s own.
    fn containerd(&self, key: &'static str) -> Vec<&'static str> {
        [&self.table[..3], &[key]].concat()
    }

    fn template(&self) -> &'static str {
        NEW[usize::from(self.version > 2)]
    }

    /// The text with our entry calling `wrapper`.
    pub fn with(&self, text: &str, wrapper: &str, runtime: Option<&Path>) -> Result<String, Failure> {
        let mut new = self
            .template()
            .replace("\"/usr/bin/oci-mig-runtime\"", &quoted(wrapper));
        if let Some(systemd) = self.systemd_cgroup() {
            new += &format!("    SystemdCgroup = {systemd}\n");
        }
        let (version, block) = new.split_once("\n\n").unwrap_or(("", &new));
        let block = match self.toml.is_empty() {
            true => new.replacen(version, &format!("version = {}", self.version), 1),
            false => block.to_owned(),
        };
        self.entry(runtime).put_in(text, &block, wrapper)
    }

    /// The text without our entry.
    pub fn without(&self) -> String {
        self.toml.without(&self.table, self.template())
    }

    /// Whether a text is all that a new file of ours has besides our entry.
    pub fn is_new(&self, text: &str) -> bool {
        text.trim() == format!("version = {}", self.version)
    }

    /// Without our entry containerd would not start where that is the default.
    pub fn has_another_default(&self) -> Result<(), Failure> {
        if self.toml.string(&self.containerd("default_runtime_name")) != Some(RUNTIME) {
            return Ok(());
        }
        let what = format!("{} was left alone", self.path.display());
        let failure = Failure::refused(what, "its default_runtime_name is mig");
        Err(failure.remedy("name another default runtime first"))
    }

    /// What the runtime that pods have so far says of systemd's cgroups: a node has one cgroup driver.
    fn systemd_cgroup(&self) -> Option<bool> {
        let default = self.toml.string(&self.containerd("default_runtime_name"));
        let mut names = [default, Some("runc")].into_iter().flatten();
        names.find_map(|name| {
            let keys = [&self.table[..4], &[name, "options", "SystemdCgroup"]].concat();
            self.toml.item(&keys)?.as_bool()
        })
    }

    /// An entry of ours from which somebody took the annotations would start every container without a device.
    pub fn lets_annotations_through(&self) -> Result<(), Failure> {
        let keys = [&self.table[..], &["pod_annotations"]].concat();
        let lets = self.toml.strings(&keys).unwrap_or_default();
        match ANNOTATIONS.iter().all(|pattern| lets.contains(pattern)) {
            true => Ok(()),
            false => Err(Failure::refused(
                format!(
                    "the runtime 'mig' in {} would never see a request",
                    self.path.display()
                ),
                format!("pod_annotations lacks one of {ANNOTATIONS:?}"),
            )
            .remedy("add both, or run this with --undo and then again; nothing was changed")),
        }
    }

    /// What would keep the entry from counting.
    pub fn notes(&self) -> Vec<String> {
        let disabled = self.toml.strings(&["disabled_plugins"]).unwrap_or_default();
        let off = disabled.iter().find(|name| **name == "cri" || CRI.contains(name));
        let off = off.map(|name| {
            format!(
                "Kubernetes can't use this containerd: disabled_plugins has \"{name}\". Docker, ctr and nerdctl don't need this runtime entry"
            )
        });
        // From version 3 on, which only containerd 2.x reads, files are merged.
        let imports = (self.version == 2).then(|| imports_note(self.path, self.toml));
        off.into_iter().chain(imports.flatten()).collect()
    }
}
