//! Docker: the runtime `mig` in dockerd's daemon.json. Its default runtime is never touched.

#![forbid(unsafe_code)]

use std::path::Path;

use serde_json::{Value, json};

use super::file::Found;
use super::json_text::Object;
use super::plan::{Change, Plan, as_it_was};
use super::{RUNTIME, Setup, program, spliced};
use crate::failure::Failure;

/// The file where there is none yet.
const NEW: &str = include_str!("../../../hooks/docker/daemon.json");
const USUAL: &str = "/etc/docker/daemon.json";

/// What to change in daemon.json.
pub fn plan(order: &Setup, runtime: Option<&Path>) -> Result<Plan, Failure> {
    let found = Found::look(order.engine_config.as_deref().unwrap_or(Path::new(USUAL)))?;
    let file = Daemon::read(&found.path, found.text.as_deref().unwrap_or_default())?;
    let ours = file.program()?;
    if let Some(other) = ours.filter(|path| !program::is_wrapper(path, runtime)) {
        return Err(not_ours(&found.path, &other));
    }
    match order.undo {
        true => undo(&found, &file),
        false => put_in(order, found.clone(), &file, &program::wrapper(runtime)?),
    }
}

fn put_in(order: &Setup, found: Found, file: &Daemon<'_>, wrapper: &str) -> Result<Plan, Failure> {
    let name = found.path.display().to_string();
    let mut plan = Plan {
        already: format!("{name} has the runtime '{RUNTIME}' already"),
        ..Plan::default()
    };
    let after = file.with(wrapper)?;
    if found.text.as_ref() != Some(&after) {
        let is_ours = file.program()?.is_some();
        plan.changes = vec![Change::put_in(found, after, is_ours)?];
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
    if file.default_runtime().as_deref() == Some(RUNTIME) {
        return Err(
            Failure::refused(format!("{name} was left alone"), "its default-runtime is mig")
                .remedy("name another default-runtime first"),
        );
    }
    let again = |text: Option<&str>| Daemon::read(&found.path, text.unwrap_or_default())?.with(&wrapper);
    let after = match as_it_was(found, again)? {
        Some(before) => before,
        None => {
            let left = file.without()?;
            let is_nothing = left.trim().trim_matches(['{', '}']).trim().is_empty();
            (!is_nothing || found.backup()?.is_some()).then_some(left)
        }
    };
    plan.notes
        .push("containers that were made with --runtime mig can't be started any more".to_owned());
    let reload = match after.as_deref().is_some_and(|left| left.contains("\"runtimes\"")) {
        true => "systemctl reload docker",
        // A reload leaves the runtimes as they are where the file has none.
        false => {
            "systemctl restart docker when it suits (containers stop, but with live-restore): until then it still knows mig"
        }
    };
    plan.next.push(reload.to_owned());
    plan.changes = vec![Change::take_out(found.clone(), after)?];
    Ok(plan)
}

/// daemon.json, read.
struct Daemon<'t> {
    path: &'t Path,
    text: &'t str,
    /// `None` in an empty file.
    all: Option<Object>,
    runtimes: Option<Object>,
    /// Our entry in `runtimes`.
    entry: Option<Object>,
}

impl<'t> Daemon<'t> {
    fn read(path: &'t Path, text: &'t str) -> Result<Self, Failure> {
        let bad = |what: &str, why: &dyn std::fmt::Display| {
            Failure::host(format!("{} {what}", path.display()), why)
                .remedy("correct it first; nothing was changed")
        };
        let not_an_object = |name: &str| bad("can't be added to", &format!("its {name} is not an object"));
        let member = |of: &Option<Object>, name: &str| match of {
            Some(object) => object.object(text, name),
            None => Ok(None),
        };
        let all = match text.trim() {
            "" => None,
            _ => Some(Object::outermost(text).map_err(|error| bad("is not JSON", &error))?),
        };
        let runtimes = member(&all, "runtimes").map_err(|_| not_an_object("runtimes"))?;
        let entry = member(&runtimes, RUNTIME).map_err(|_| not_an_object("runtimes.mig"))?;
        Ok(Daemon {
            path,
            text,
            all,
            runtimes,
            entry,
        })
    }

    fn string(&self, of: Option<&Object>, name: &str) -> Option<String> {
        let value = of?.value(name)?;
        serde_json::from_str(&self.text[value]).ok()
    }

    /// The program of our entry; nothing where there is no entry of that name.
    fn program(&self) -> Result<Option<String>, Failure> {
        let Some(entry) = &self.entry else {
            return Ok(None);
        };
        match self.string(Some(entry), "path") {
            Some(path) => Ok(Some(path)),
            None => Err(not_ours(self.path, "another kind of runtime")),
        }
    }

    fn default_runtime(&self) -> Option<String> {
        self.string(self.all.as_ref(), "default-runtime")
    }

    /// The text with our entry calling `wrapper`.
    fn with(&self, wrapper: &str) -> Result<String, Failure> {
        let entry = json!({ "path": wrapper });
        let span = self.entry.as_ref().and_then(|entry| entry.value("path"));
        Ok(match (&self.all, &self.runtimes, span) {
            (_, _, Some(path)) => match self.program()?.as_deref() == Some(wrapper) {
                true => self.text.to_owned(),
                false => spliced(self.text, path, &Value::from(wrapper).to_string()),
            },
            (_, Some(runtimes), None) => runtimes.with(self.text, 1, RUNTIME, &entry),
            (Some(all), None, None) => all.with(self.text, 0, "runtimes", &json!({ RUNTIME: entry })),
            (None, None, None) => {
                NEW.replace("\"/usr/bin/oci-mig-runtime\"", &Value::from(wrapper).to_string())
            }
        })
    }

    /// The text without our entry, and without a list of runtimes that had only that.
    fn without(&self) -> Result<String, Failure> {
        let Some(runtimes) = &self.runtimes else {
            return Ok(self.text.to_owned());
        };
        let left = runtimes.without(self.text, RUNTIME);
        let again = Daemon::read(self.path, &left)?;
        match (&again.all, &again.runtimes) {
            (Some(all), Some(runtimes)) if runtimes.is_empty() => Ok(all.without(&left, "runtimes")),
            _ => Ok(left),
        }
    }
}

fn not_ours(path: &Path, what: &str) -> Failure {
    Failure::refused(
        format!("{} has a runtime 'mig' that is not ours", path.display()),
        format!("it is {what}"),
    )
    .remedy("rename or remove that one first; nothing was changed")
}
