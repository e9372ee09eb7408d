//! Docker: the runtime `mig` in dockerd's daemon.json. Its default runtime is never touched.

#![forbid(unsafe_code)]

use std::path::Path;

use serde_json::{Map, Value, json};

use super::file::Found;
use super::plan::{Change, Plan};
use super::{RUNTIME, Setup, json_text, program};
use crate::failure::Failure;

/// The file where there is none yet.
const NEW: &str = include_str!("../../../hooks/docker/daemon.json");
const USUAL: &str = "/etc/docker/daemon.json";

/// What to change in daemon.json.
pub fn plan(order: &Setup, runtime: Option<&Path>) -> Result<Plan, Failure> {
    let found = Found::look(order.engine_config.as_deref().unwrap_or(Path::new(USUAL)))?;
    let file = Daemon::read(&found.path, found.says())?;
    let ours = file.program()?;
    if let Some(other) = ours.filter(|path| !program::is_wrapper(path, runtime)) {
        return Err(program::not_ours(&found.path, Some(other)));
    }
    match order.undo {
        true => undo(&found, &file),
        false => put_in(order, &found, &file, &program::wrapper(runtime)?),
    }
}

fn put_in(order: &Setup, found: &Found, file: &Daemon<'_>, wrapper: &str) -> Result<Plan, Failure> {
    let name = found.path.display().to_string();
    let mut plan = Plan {
        already: format!("{name} has the runtime '{RUNTIME}' already"),
        ..Plan::default()
    };
    let after = file.with(wrapper)?;
    if found.text.as_ref() != Some(&after) {
        let is_ours = file.program()?.is_some();
        plan.changes = vec![Change::put_in(found.clone(), after, is_ours)?];
        plan.next
            .push("systemctl reload docker (running containers go on)".to_owned());
    }
    if let Some(config) = &order.config {
        // dockerd's shims are containerd's children, and the wrapper is theirs.
        plan.next.push(program::environment(
            "containerd (docker, where dockerd starts its own containerd)",
            config,
        )?);
    }
    plan.next
        .push("docker run --runtime mig --annotation mig.profile=1g.10gb IMAGE COMMAND".to_owned());
    Ok(plan)
}

fn undo(found: &Found, file: &Daemon<'_>) -> Result<Plan, Failure> {
    let name = found.path.display().to_string();
    let mut plan = Plan {
        already: format!("{name} has no runtime '{RUNTIME}'"),
        ..Plan::default()
    };
    let Some(wrapper) = file.program()? else {
        return Ok(plan);
    };
    if file.all.get("default-runtime") == Some(&json!(RUNTIME)) {
        return Err(
            Failure::refused(format!("{name} was left alone"), "its default-runtime is mig")
                .remedy("name another default-runtime first"),
        );
    }
    let again = |before: &str| Daemon::read(&found.path, before)?.with(wrapper);
    let left = file.without()?;
    let says_nothing = left.trim().trim_matches(['{', '}']).trim().is_empty();
    let change = Change::take_out(found.clone(), again, left, says_nothing)?;
    plan.notes
        .push("containers that were made with --runtime mig can't be started any more".to_owned());
    let reload = match change
        .after
        .as_deref()
        .is_some_and(|left| left.contains("\"runtimes\""))
    {
        true => "systemctl reload docker",
        // A reload leaves the runtimes as they are where the file has none.
        false => {
            "systemctl restart docker when it suits (containers stop, but with live-restore): until then it still knows mig"
        }
    };
    plan.next.push(reload.to_owned());
    plan.changes = vec![change];
    Ok(plan)
}

/// daemon.json, read.
struct Daemon<'t> {
    path: &'t Path,
    text: &'t str,
    /// Nothing in an empty file.
    all: Map<String, Value>,
}

impl<'t> Daemon<'t> {
    fn read(path: &'t Path, text: &'t str) -> Result<Self, Failure> {
        let all = match text.trim() {
            "" => Map::new(),
            _ => serde_json::from_str(text).map_err(|error| not_json(path, &error))?,
        };
        let daemon = Daemon { path, text, all };
        for (name, value) in [("runtimes", daemon.runtimes()), ("runtimes.mig", daemon.entry())] {
            if value.is_some_and(|value| !value.is_object()) {
                return Err(Failure::host(
                    format!("{} can't be added to", path.display()),
                    format!("its {name} is not an object"),
                )
                .remedy("correct it first; nothing was changed"));
            }
        }
        Ok(daemon)
    }

    fn runtimes(&self) -> Option<&Value> {
        self.all.get("runtimes")
    }

    fn entry(&self) -> Option<&Value> {
        self.runtimes()?.get(RUNTIME)
    }

    /// The program of our entry; nothing where there is no entry of that name.
    fn program(&self) -> Result<Option<&str>, Failure> {
        match self.entry().map(|entry| entry["path"].as_str()) {
            None => Ok(None),
            Some(Some(path)) => Ok(Some(path)),
            Some(None) => Err(program::not_ours(self.path, None)),
        }
    }

    /// The text with our entry calling `wrapper`.
    fn with(&self, wrapper: &str) -> Result<String, Failure> {
        if self.text.trim().is_empty() {
            return Ok(NEW.replace("\"/usr/bin/oci-mig-runtime\"", &json!(wrapper).to_string()));
        }
        if self.program()? == Some(wrapper) {
            return Ok(self.text.to_owned());
        }
        json_text::with(self.text, &["runtimes", RUNTIME, "path"], &json!(wrapper))
            .map_err(|error| not_json(self.path, &error))
    }

    /// The text without our entry, and without a list of runtimes that had only that.
    fn without(&self) -> Result<String, Failure> {
        let is_alone = self
            .runtimes()
            .and_then(Value::as_object)
            .is_some_and(|all| all.len() == 1);
        let gone: &[&str] = if is_alone {
            &["runtimes"]
        } else {
            &["runtimes", RUNTIME]
        };
        json_text::without(self.text, gone).map_err(|error| not_json(self.path, &error))
    }
}

fn not_json(path: &Path, error: &serde_json::Error) -> Failure {
    Failure::host(format!("{} is not JSON", path.display()), error)
        .remedy("correct it first; nothing was changed")
}
