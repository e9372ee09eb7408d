//! CRI-O: a drop-in of our own with the runtime `mig`; CRI-O merges drop-ins, so that no other file is touched.

#![forbid(unsafe_code)]

use std::path::Path;

use super::crio_others::{Inherited, Others};
use super::file::Found;
use super::plan::{Change, Plan};
use super::toml_entry::Entry;
use super::toml_file::{Toml, quoted};
use super::{RUNTIME, Setup, program, toml_list};
use crate::failure::Failure;

const USUAL: &str = "/etc/crio/crio.conf.d/50-oci-mig-hook.conf";
const NEW: &str = include_str!("../../../hooks/crio/50-oci-mig-hook.conf");
/// The keys that lead to our table.
pub const TABLE: [&str; 4] = ["crio", "runtime", "runtimes", RUNTIME];
/// Those that lead to the environment of conmon, whose child the wrapper is.
const ENVIRONMENT: [&str; 5] = ["crio", "runtime", "runtimes", RUNTIME, "monitor_env"];
const RESTART: &str = "systemctl restart crio (running containers go on)";

/// What to change in our drop-in.
pub fn plan(order: &Setup, runtime: Option<&Path>) -> Result<Plan, Failure> {
    let found = Found::look(order.engine_config.as_deref().unwrap_or(Path::new(USUAL)))?;
    match order.undo {
        true => undo(&found, runtime),
        false => put_in(order, &found, runtime),
    }
}

fn entry<'a>(file: &'a Path, named: Option<&'a Path>) -> Entry<'a> {
    Entry {
        file,
        table: &TABLE,
        program: &["runtime_path"],
        named,
    }
}

fn put_in(order: &Setup, found: &Found, runtime: Option<&Path>) -> Result<Plan, Failure> {
    let wrapper = program::wrapper(runtime)?;
    let others = Others::look(&found.path)?;
    if let Some(path) = others.with_our_name()? {
        return Err(Failure::refused(
            format!("{} has a runtime 'mig' too", path.display()),
            "CRI-O would merge it with ours",
        )
        .remedy("remove that one first; nothing was changed"));
    }
    let text = found.says();
    let is_ours = entry(&found.path, runtime)
        .wrapper(&Toml::read(&found.path, text)?)?
        .is_some();
    let variable = order.config.as_deref().map(program::variable).transpose()?;
    let after = with(
        &found.path,
        text,
        &wrapper,
        runtime,
        &others.inherited(variable.as_deref())?,
    )?;
    let mut plan = Plan {
        already: format!("{} has the runtime '{RUNTIME}' already", found.path.display()),
        notes: others.runtime_note()?.into_iter().collect(),
        ..Plan::default()
    };
    if let Some(config) = &order.config {
        // For the calls that CRI-O makes itself; those through conmon get theirs from the drop-in.
        plan.next.push(program::environment("crio", config)?);
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
    let Some(wrapper) = entry(&found.path, runtime).wrapper(&toml)? else {
        return Ok(plan);
    };
    let others = Others::look(&found.path)?;
    if others.default_runtime()?.as_deref() == Some(RUNTIME) {
        let what = format!("{} was left alone", found.path.display());
        return Err(Failure::refused(what, "CRI-O's default_runtime is mig")
            .remedy("name another default_runtime first"));
    }
    let inherited = others.inherited(variable(&toml))?;
    let again = |before: &str| with(&found.path, before, &wrapper, runtime, &inherited);
    let left = toml.without(&TABLE, NEW);
    let says_nothing = left.trim().is_empty();
    plan.changes = vec![Change::take_out(found.clone(), again, left, says_nothing)?];
    plan.notes.push(super::PODS_LOST.to_owned());
    plan.next.push(RESTART.to_owned());
    Ok(plan)
}

/// The text with our entry calling `wrapper`.
fn with(
    path: &Path,
    text: &str,
    wrapper: &str,
    runtime: Option<&Path>,
    inherited: &Inherited,
) -> Result<String, Failure> {
    let new = NEW.replace("\"/usr/bin/oci-mig-runtime\"", &quoted(wrapper));
    let new = inherited.written_into(&new);
    let block = match new.split_once("\n\n") {
        Some((_, block)) if !text.is_empty() => block,
        _ => &new,
    };
    let after = entry(path, runtime).put_in(text, block, wrapper)?;
    match &inherited.environment {
        Some(variable) => with_variable(path, &after, variable),
        None => Ok(after),
    }
}

/// Our variable in our entry's environment.
fn variable(toml: &Toml) -> Option<&str> {
    let variables = toml.strings(&ENVIRONMENT)?;
    variables
        .into_iter()
        .find(|variable| variable.starts_with(program::VARIABLE))
}

/// The text with this variable in our entry's environment, in the place of another value of it.
fn with_variable(path: &Path, text: &str, new: &str) -> Result<String, Failure> {
    let toml = Toml::read(path, text)?;
    let after = match variable(&toml) {
        Some(old) if old == new => None,
        old => toml.with_list(&ENVIRONMENT, |list| {
            old.inspect(|old| toml_list::remove(list, old));
            toml_list::add(list, new);
        }),
    };
    Ok(after.unwrap_or(text.to_owned()))
}
