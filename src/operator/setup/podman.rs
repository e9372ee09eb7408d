//! Podman: our precreate hook in a folder of its own, and that folder in Podman's list of hooks folders.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::file::Found;
use super::plan::Plan;
use super::podman_hook_file::Hook;
use super::podman_hooks_dir::HooksDir;
use super::{Setup, program};
use crate::config::{Config, Guard};
use crate::failure::Failure;

/// A folder of our own: CRI-O and NRI's hook-injector don't start where one that they read has a precreate hook.
pub const USUAL: &str = "/usr/share/oci-mig-hook/podman-hooks.d";

/// Folders that CRI-O reads too.
const SHARED: [&str; 2] = ["/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"];

/// What to change for Podman.
pub fn plan(order: &Setup, hooks_dir: Option<&Path>, guard: bool) -> Result<Plan, Failure> {
    let folder = program::absolute_text(hooks_dir.unwrap_or(Path::new(USUAL)))?;
    if SHARED.contains(&folder.trim_end_matches('/')) {
        return Err(Failure::refused(
            format!("no precreate hook for {folder}"),
            "CRI-O would not start with it",
        )
        .remedy("use a folder that only Podman reads"));
    }
    let list = HooksDir::look(order.engine_config.as_deref(), &folder)?;
    match order.undo {
        true => undo(&folder, &list),
        false => put_in(order, &folder, &list, guard),
    }
}

fn put_in(order: &Setup, folder: &str, list: &HooksDir, guard: bool) -> Result<Plan, Failure> {
    let mut plan = Plan {
        already: format!("Podman has the hook of {folder} already"),
        ..Plan::default()
    };
    let program = program::itself()?;
    let config = order.config.as_deref().map(program::absolute_text).transpose()?;
    if guard && Config::load(order.config.as_deref())?.guard == Guard::Off {
        let note =
            "the guard does nothing yet: set guard = \"warn\", \"refuse\" or \"strip\" in the configuration";
        plan.notes.push(note.to_owned());
    }
    let guard = guard.then_some(Hook::Guard);
    for hook in [Some(Hook::Request), guard].into_iter().flatten() {
        let found = Found::look(&hook.file(folder))?;
        plan.changes
            .extend(hook.put_in(found, &program, config.as_deref())?);
    }
    // The list comes last: it makes the hooks count.
    plan.changes.extend(list.put_in()?);
    if !plan.changes.is_empty() {
        plan.next.push(
            "nothing to restart, but Podman's API service where it runs: systemctl restart podman".to_owned(),
        );
    }
    plan.next
        .push("podman run --annotation mig.profile=1g.10gb IMAGE COMMAND".to_owned());
    Ok(plan)
}

fn undo(folder: &str, list: &HooksDir) -> Result<Plan, Failure> {
    let mut plan = Plan {
        already: format!("Podman has no hook of {folder}"),
        changes: list.take_out()?,
        ..Plan::default()
    };
    for hook in [Hook::Guard, Hook::Request] {
        let found = Found::look(&hook.file(folder))?;
        plan.changes.extend(hook.take_out(found)?);
    }
    if folder == USUAL {
        plan.folders = [Some(Path::new(USUAL)), Path::new(USUAL).parent()]
            .into_iter()
            .flatten()
            .map(PathBuf::from)
            .collect();
    }
    if !plan.changes.is_empty() {
        plan.notes
            .push("running containers keep their devices until they end".to_owned());
    }
    Ok(plan)
}
