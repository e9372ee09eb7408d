//! `ctr`, containerd's own client: containers of one containerd namespace.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::containerd::{Containerd, SNAPSHOTTER};
use super::image::IMAGE;
use super::process::{Outcome, quietly, run, until};
use super::rootfs::SLEEP;
use super::scratch;

/// One containerd namespace, as `ctr` works in it.
#[derive(Debug)]
pub struct Namespace<'a> {
    containerd: &'a Containerd,
    name: String,
    runtime: PathBuf,
}

impl<'a> Namespace<'a> {
    /// One that has the image.
    pub fn new(containerd: &'a Containerd, name: &str, runtime: &Path) -> Self {
        Self {
            containerd,
            name: name.to_owned(),
            runtime: runtime.to_owned(),
        }
    }

    /// An id for a container that no other has.
    pub fn fresh_id() -> String {
        format!("omh-{}-{}", std::process::id(), scratch::number())
    }

    /// `ctr ...` in this namespace.
    pub fn call(&self, args: &[&str]) -> Outcome {
        run(self.containerd.ctr(&self.name).args(args))
    }

    /// `ctr SUBCOMMAND`, `run` or `container create`, as far as the image, with what every container of the tests has.
    pub fn container(&self, subcommand: &[&str]) -> Command {
        let mut command = self.containerd.ctr(&self.name);
        command.args(subcommand).args(["--snapshotter", SNAPSHOTTER]);
        command.arg("--runc-binary").arg(&self.runtime);
        // Where the unified hierarchy has no cpu controller, ctr's default shares can't be set.
        command.args(["--cpu-shares", "0"]);
        command
    }

    /// Runs a script in a fresh container.
    pub fn run(&self, options: &[&str], script: &str) -> Outcome {
        self.run_program(options, &["sh", "-c", script])
    }

    /// Runs a program in a fresh container.
    pub fn run_program(&self, options: &[&str], args: &[&str]) -> Outcome {
        run(&mut self.foreground(&Self::fresh_id(), options, args))
    }

    /// Puts another image into this namespace.
    #[track_caller]
    pub fn import(&self, image: &Path) {
        self.containerd.import(&self.name, image);
    }

    /// Runs a script in a fresh container of another image.
    pub fn run_image(&self, image: &str, options: &[&str], script: &str) -> Outcome {
        run(&mut self.foreground_of(image, &Self::fresh_id(), options, &["sh", "-c", script]))
    }

    /// `ctr run --rm`
    pub fn foreground(&self, id: &str, options: &[&str], args: &[&str]) -> Command {
        self.foreground_of(IMAGE, id, options, args)
    }

    fn foreground_of(&self, image: &str, id: &str, options: &[&str], args: &[&str]) -> Command {
        let mut command = self.container(&["run", "--rm"]);
        command.arg("--cgroup").arg(self.group(id));
        command.args(options).args([image, id]).args(args);
        command
    }

    /// A container that sleeps until it is told to end.
    #[track_caller]
    pub fn sleeper(&self, id: &str, options: &[&str]) {
        let mut command = self.container(&["run", "--detach"]);
        command.arg("--cgroup").arg(self.group(id));
        run(command.args(options).args([IMAGE, id, "sh", "-c", SLEEP])).ok();
    }

    /// `RUNNING`, `STOPPED`, or nothing where there is no such task.
    pub fn status(&self, id: &str) -> String {
        let listed = self.call(&["tasks", "list"]).stdout;
        let mut lines = listed
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines
            .find(|words| words.first() == Some(&id))
            .and_then(|words| words.last().map(ToString::to_string))
            .unwrap_or_default()
    }

    /// Waits for the task's end.
    #[track_caller]
    pub fn await_end(&self, id: &str) {
        until(&format!("the end of {id}"), || self.status(id) != "RUNNING");
    }

    fn group(&self, id: &str) -> String {
        format!("{}/{}-{id}", self.containerd.cgroup_parent(), self.name)
    }

    /// Removes a container and its task, whatever they are at.
    pub fn remove(&self, id: &str) {
        quietly(
            self.containerd
                .ctr(&self.name)
                .args(["tasks", "delete", "--force", id]),
        );
        quietly(self.containerd.ctr(&self.name).args(["containers", "delete", id]));
    }
}
