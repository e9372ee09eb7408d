//! containerd: the runtime `mig` of its CRI plugin, which pods name through a RuntimeClass. `ctr` and nerdctl take the
//! runtime's path on their command lines and need none of this; nor does Docker.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

use super::containerd_imports::imports_note;
use super::file::Found;
use super::plan::{Change, Plan, as_it_was};
use super::toml_entry::Entry;
use super::toml_text::{Toml, quoted};
use super::{RUNTIME, Setup, program};
use crate::failure::Failure;

const USUAL: &str = "/etc/containerd/config.toml";

/// What CRI's plugin is called in files of version 2, and from version 3 on.
pub const CRI: [&str; 2] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];
const NEW: [&str; 2] = [
    include_str!("../../../hooks/containerd/config-v2.toml"),
    include_str!("../../../hooks/containerd/config-v3.toml"),
];

/// What a pod may ask with; `*` stands for anything but a slash.
const ANNOTATIONS: [&str; 2] = ["mig.*", "mig.*/*"];

/// What to change in config.toml.
pub fn plan(order: &Setup, runtime: Option<&Path>) -> Result<Plan, Failure> {
    let found = Found::look(order.engine_config.as_deref().unwrap_or(Path::new(USUAL)))?;
    match order.undo {
        true => undo(found, runtime),
        false => put_in(order, found, runtime),
    }
}

fn put_in(order: &Setup, found: Found, runtime: Option<&Path>) -> Result<Plan, Failure> {
    let wrapper = program::wrapper(runtime)?;
    let text = found.text.as_deref().unwrap_or_default();
    let toml = Toml::read(&found.path, text)?;
    let file = ConfigFile::new(&found.path, &toml, || installed_version(&found.path))?;
    let entry = file.entry(runtime);
    let is_ours = entry.wrapper(&toml)?.is_some();
    if is_ours {
        file.lets_annotations_through()?;
    }
    let after = file.with(text, &wrapper, runtime)?;
    let mut plan = Plan {
        already: format!("{} has the runtime '{RUNTIME}' already", found.path.display()),
        notes: file.notes(),
        ..Plan::default()
    };
    let restart = "systemctl restart containerd (running containers go on)";
    if let Some(config) = &order.config {
        plan.next.push(program::environment("containerd", config)?);
    } else if after != text {
        plan.next.push(restart.to_owned());
    }
    plan.next.push(super::RUNTIME_CLASS.to_owned());
    if after != text {
        plan.changes = vec![Change::put_in(found.clone(), after, is_ours)?];
    }
    Ok(plan)
}

fn undo(found: Found, runtime: Option<&Path>) -> Result<Plan, Failure> {
    let mut plan = Plan {
        already: format!("{} has no runtime '{RUNTIME}'", found.path.display()),
        ..Plan::default()
    };
    let text = found.text.as_deref().unwrap_or_default();
    let toml = Toml::read(&found.path, text)?;
    if toml.is_empty() {
        return Ok(plan);
    }
    let file = ConfigFile::new(&found.path, &toml, || Ok(2))?;
    let Some(wrapper) = file.entry(runtime).wrapper(&toml)? else {
        return Ok(plan);
    };
    if toml.string(&file.containerd("default_runtime_name")) == Some(RUNTIME) {
        let what = format!("{} was left alone", found.path.display());
        return Err(Failure::refused(what, "its default_runtime_name is mig")
            .remedy("name another default runtime first"));
    }
    let again = |before: Option<&str>| {
        let before = before.unwrap_or_default();
        let toml = Toml::read(&found.path, before)?;
        ConfigFile::new(&found.path, &toml, || Ok(file.version))?.with(before, &wrapper, runtime)
    };
    let after = match as_it_was(&found, again)? {
        Some(before) => before,
        None => {
            let left = file.without(&toml);
            let is_nothing = left.trim() == format!("version = {}", file.version);
            (!is_nothing || found.backup()?.is_some()).then_some(left)
        }
    };
    plan.changes = vec![Change::take_out(found.clone(), after)?];
    plan.notes
        .push("pods of the RuntimeClass with the handler mig can't be started here any more".to_owned());
    plan.next
        .push("systemctl restart containerd (running containers go on)".to_owned());
    Ok(plan)
}

/// config.toml, read.
struct ConfigFile<'a, 't> {
    path: &'a Path,
    toml: &'a Toml<'t>,
    version: i64,
    /// The keys that lead to our table.
    table: Vec<&'static str>,
}

impl<'a, 't> ConfigFile<'a, 't> {
    /// `installed`: the version of a file that says nothing yet.
    fn new(
        path: &'a Path,
        toml: &'a Toml<'t>,
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

    fn entry<'b>(&'b self, runtime: Option<&'b Path>) -> Entry<'b> {
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
    fn with(&self, text: &str, wrapper: &str, runtime: Option<&Path>) -> Result<String, Failure> {
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

    fn without(&self, toml: &Toml<'_>) -> String {
        let marks: Vec<&str> = self
            .template()
            .lines()
            .filter(|line| line.starts_with('#'))
            .collect();
        toml.without(&self.table, &marks)
    }

    /// What the runtime that pods have so far says of systemd's cgroups: a node has one cgroup driver.
    fn systemd_cgroup(&self) -> Option<bool> {
        let default = self.toml.string(&self.containerd("default_runtime_name"));
        let mut names = [default, Some("runc")].into_iter().flatten();
        names.find_map(|name| {
            let keys = [&self.table[..4], &[name, "options", "SystemdCgroup"]].concat();
            self.toml.value(&keys)?.get_ref().as_bool()
        })
    }

    /// An entry of ours from which somebody took the annotations would start every container without a device.
    fn lets_annotations_through(&self) -> Result<(), Failure> {
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

    fn notes(&self) -> Vec<String> {
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

/// The version of the configuration that the installed containerd writes.
fn installed_version(path: &Path) -> Result<i64, Failure> {
    let failure = |why: &dyn std::fmt::Display| {
        Failure::host(format!("{} says no version", path.display()), why).remedy(
            "write 'version = 2' (containerd 1.x) or 'version = 3' (2.x) into it, then run this again",
        )
    };
    let output = Command::new("containerd").arg("--version").output();
    let output = output.map_err(|error| failure(&format!("containerd --version: {error}")))?;
    // containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().nth(2).unwrap_or_default();
    match number.trim_start_matches('v').split('.').next() {
        Some("1") => Ok(2),
        Some("2") => Ok(3),
        _ => Err(failure(&format!("'containerd --version' says: {}", text.trim()))),
    }
}
