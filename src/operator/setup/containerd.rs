//! containerd: the runtime `mig` of its CRI plugin, which pods name through a RuntimeClass. `ctr` and nerdctl take the
//! runtime's path on their command lines and need none of this; nor does Docker.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

use super::containerd_file::ConfigFile;
use super::file::Found;
use super::plan::{Change, Plan};
use super::toml_file::Toml;
use super::{RUNTIME, Setup, program};
use crate::failure::Failure;

const USUAL: &str = "/etc/containerd/config.toml";
const RESTART: &str = "systemctl restart containerd (running containers go on)";

/// What to change in config.toml.
pub fn plan(order: &Setup, runtime: Option<&Path>) -> Result<Plan, Failure> {
    let found = Found::look(order.engine_config.as_deref().unwrap_or(Path::new(USUAL)))?;
    match order.undo {
        true => undo(&found, runtime),
        false => put_in(order, &found, runtime),
    }
}

fn put_in(order: &Setup, found: &Found, runtime: Option<&Path>) -> Result<Plan, Failure> {
    let wrapper = program::wrapper(runtime)?;
    let text = found.says();
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
    if let Some(config) = &order.config {
        plan.next.push(program::environment("containerd", config)?);
    } else if after != text {
        plan.next.push(RESTART.to_owned());
    }
    plan.next.push(super::RUNTIME_CLASS.to_owned());
    if after != text {
        plan.changes = vec![Change::put_in(found.clone(), after, is_ours)?];
    }
    Ok(plan)
}

fn undo(found: &Found, runtime: Option<&Path>) -> Result<Plan, Failure> {
    let mut plan = Plan {
        already: format!("{} has no runtime '{RUNTIME}'", found.path.display()),
        ..Plan::default()
    };
    let text = found.says();
    let toml = Toml::read(&found.path, text)?;
    if toml.integer(&["version"]).unwrap_or(1) < 2 {
        // We have no entry in such a file.
        return Ok(plan);
    }
    let file = ConfigFile::new(&found.path, &toml, || Ok(2))?;
    let Some(wrapper) = file.entry(runtime).wrapper(&toml)? else {
        return Ok(plan);
    };
    file.has_another_default()?;
    let again = |before: &str| {
        let toml = Toml::read(&found.path, before)?;
        ConfigFile::new(&found.path, &toml, || Ok(file.version))?.with(before, &wrapper, runtime)
    };
    let left = file.without();
    let says_nothing = file.is_new(&left);
    plan.changes = vec![Change::take_out(found.clone(), again, left, says_nothing)?];
    plan.notes.push(super::PODS_LOST.to_owned());
    plan.next.push(RESTART.to_owned());
    Ok(plan)
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
