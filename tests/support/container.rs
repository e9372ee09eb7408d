//! A container of a low-level runtime, from its create to its delete.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::bundle::{Bundle, cgroups_path};
use super::process::{DEADLINE, Outcome, Running, quietly, run, start, until};
use super::runtime::Engine;

/// A container; when this is dropped, it is gone.
pub struct Container<'a> {
    engine: &'a Engine,
    id: String,
    bundle: &'a Bundle,
    creator: Option<Running>,
}

impl<'a> Container<'a> {
    /// The container of this bundle under this id; nothing is run yet.
    pub fn new(engine: &'a Engine, id: &str, bundle: &'a Bundle) -> Self {
        Self {
            engine,
            id: id.to_owned(),
            bundle,
            creator: None,
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// `RUNTIME --root R SUBCOMMAND`, to be given what else it takes.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = self.engine.command(self.bundle.folder());
        command.arg(subcommand);
        command
    }

    /// `run`: create, start, wait and delete.
    pub fn run(&self) -> Outcome {
        run(self
            .command("run")
            .arg("--bundle")
            .arg(self.bundle.folder())
            .arg(&self.id))
    }

    /// Begins `create` and does not wait for it.
    pub fn begin_create(&self) -> Running {
        start(
            self.command("create")
                .arg("--bundle")
                .arg(self.bundle.folder())
                .arg(&self.id),
            None,
        )
    }

    /// `create`; what the container says later is in [`Container::stdout`].
    #[track_caller]
    pub fn create(&mut self) -> Outcome {
        let mut creator = self.begin_create();
        let outcome = creator.wait(DEADLINE);
        self.creator = Some(creator);
        outcome
    }

    pub fn start(&self) -> Outcome {
        run(self.command("start").arg(&self.id))
    }

    pub fn kill(&self, signal: &str) -> Outcome {
        run(self.command("kill").args([&self.id, signal]))
    }

    /// `delete`, with `--force` or without.
    pub fn delete(&self, force: bool) -> Outcome {
        let mut command = self.command("delete");
        if force {
            command.arg("--force");
        }
        run(command.arg(&self.id))
    }

    /// `state`, or nothing where the runtime knows no such container.
    pub fn state(&self) -> Option<Value> {
        let outcome = run(self.command("state").arg(&self.id));
        outcome
            .status
            .success()
            .then(|| serde_json::from_str(&outcome.stdout).expect("a state in JSON"))
    }

    /// The container's status: `created`, `running`, `stopped`; `gone` where the runtime knows it no more.
    pub fn status(&self) -> String {
        self.state().map_or("gone".to_owned(), |state| {
            state["status"].as_str().unwrap_or_default().to_owned()
        })
    }

    /// The host's id of the container's first process.
    pub fn pid(&self) -> i32 {
        let state = self.state().expect("a container");
        state["pid"].as_i64().expect("a pid") as i32
    }

    #[track_caller]
    pub fn await_status(&self, wanted: &str) {
        until(&format!("{} {wanted}", self.id), || self.status() == wanted);
    }

    /// `exec` of a command in the running container.
    pub fn exec(&self, args: &[&str]) -> Outcome {
        run(self.command("exec").arg(&self.id).args(args))
    }

    /// What the container wrote to its standard output so far; empty before create.
    pub fn stdout(&self) -> String {
        self.creator.as_ref().map(Running::stdout).unwrap_or_default()
    }

    /// The folders of the container's control group.
    pub fn groups(&self) -> Vec<PathBuf> {
        self.engine.view.groups(self.group())
    }

    fn group(&self) -> &str {
        self.bundle.config["linux"]["cgroupsPath"]
            .as_str()
            .unwrap_or_default()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        quietly(self.command("delete").args(["--force", &self.id]));
        if self.group().starts_with(&cgroups_path("")) {
            self.engine.view.clear(self.group());
        }
    }
}
