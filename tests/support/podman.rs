//! Podman, with a store, a state and a configuration of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::bundle::FIRST_ID;
use super::cgroups::View;
use super::log;
use super::machine::{CONFIG_VARIABLE, INTERPOSED, Machine};
use super::process::{Outcome, Running, find, quietly, run, start, until};
use super::rootfs::{self, SLEEP};
use super::runtime::{Runtime, program};
use super::scratch::{self, Scratch};

/// The image that every store has: the shared root filesystem.
pub const IMAGE: &str = "localhost/busybox";

/// One Podman, as root. When this is dropped its containers are gone.
#[derive(Debug)]
pub struct Podman {
    pub runtime: Runtime,
    pub view: View,
    /// The runtime's program, or what is called in its stead.
    program: PathBuf,
    folder: Scratch,
}

impl Podman {
    /// With these hooks folders and no other.
    pub fn new(runtime: Runtime, view: View, hooks: &[&Path]) -> Self {
        let podman = Self {
            runtime,
            view,
            program: runtime.program(),
            folder: Scratch::new("podman"),
        };
        podman.configure(hooks);
        run(podman
            .command("import")
            .arg("--quiet")
            .arg(rootfs::archive())
            .arg(IMAGE))
        .ok();
        podman
    }

    /// The same with oci-mig-runtime before its runtime. Podman calls its runtime with next to no environment, itself
    /// and through conmon, so a script names the configuration.
    pub fn interposed(mut self, machine: &Machine) -> Self {
        machine.stand_before(&self.runtime.program());
        let config = machine.config();
        let script = format!(
            "#!/bin/sh\n{CONFIG_VARIABLE}={} exec {INTERPOSED} \"$@\"\n",
            config.display()
        );
        self.program = self.folder.program("oci-mig-runtime", &script);
        self
    }

    /// A `podman` command that is this Podman's, beginning with `subcommand`.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = self.podman();
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.folder.join(name));
        }
        command.args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs"]);
        command.arg("--runtime").arg(&self.program).arg(subcommand);
        command
    }

    /// containers.conf.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("containers.conf")
    }

    /// `run` or `create`, with what every container of the tests has: no network, and a control group among ours.
    pub fn container(&self, subcommand: &str) -> Command {
        let mut command = self.command(subcommand);
        command
            .args(["--network=none", "--cgroup-parent"])
            .arg(format!("/{}", scratch::name()));
        // Where the unified hierarchy has no pids controller, Podman's default limit can't be set.
        command.arg("--pids-limit=0");
        command
    }

    /// Runs a script in a fresh container; `options` come before the image. What the script says is read from the
    /// container's log: on a busy machine an attached Podman misses the end of a short container's output.
    pub fn run(&self, options: &[&str], script: &str) -> Outcome {
        self.run_image(IMAGE, options, script)
    }

    /// The same of another image.
    pub fn run_image(&self, image: &str, options: &[&str], script: &str) -> Outcome {
        let log = self.folder.join(format!("log.{}", scratch::number()));
        let mut command = self.container("run");
        command.arg("--rm").args(options).arg("--log-driver=k8s-file");
        command.arg(format!("--log-opt=path={}", log.display()));
        let mut outcome = run(command.args([image, "sh", "-c", script]));
        outcome.stdout = fs::read_to_string(&log)
            .map(|log| log::said(&log))
            .unwrap_or_default();
        outcome
    }

    /// A container that sleeps until it is told to end; its id.
    #[track_caller]
    pub fn sleeper(&self, options: &[&str]) -> String {
        run(self
            .container("run")
            .arg("--detach")
            .args(options)
            .args([IMAGE, "sh", "-c", SLEEP]))
        .ok()
        .stdout
        .trim()
        .to_owned()
    }

    /// A container's config.json, as its runtime got it.
    #[track_caller]
    pub fn config(&self, id: &str) -> Value {
        let path = self
            .call(&["inspect", "--format={{.OCIConfigPath}}", id])
            .ok()
            .stdout;
        let text = fs::read_to_string(path.trim()).expect("config.json");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The process of the low-level runtime, or of ours before it, that creates a container of this Podman now.
    #[track_caller]
    pub fn runtime_at_work(&self) -> i32 {
        let ours = self.folder.path().to_str().expect("a path of ours");
        let program = self.runtime.program();
        let found = find(|words| {
            [program.as_path(), Path::new(INTERPOSED)].contains(&Path::new(words[0]))
                && words.contains(&"create")
                && words.iter().any(|word| word.contains(ours))
        });
        *found
            .first()
            .unwrap_or_else(|| panic!("no {} is creating a container of {ours}", self.runtime))
    }

    /// One subcommand with its arguments.
    pub fn call(&self, args: &[&str]) -> Outcome {
        run(self.command(args[0]).args(&args[1..]))
    }

    /// The options for a user namespace in which root is [`FIRST_ID`].
    pub fn user_namespace() -> [String; 2] {
        ["uid", "gid"].map(|kind| format!("--{kind}map=0:{FIRST_ID}:65536"))
    }

    /// `podman system service`, answering.
    pub fn service(&self) -> Service<'_> {
        let socket = self.folder.join("api.sock");
        let url = format!("unix://{}", socket.display());
        let process = start(self.command("system").args(["service", "--time=0", &url]), None);
        until("podman's API socket", || socket.exists());
        Service {
            podman: self,
            process,
            url,
        }
    }

    fn podman(&self) -> Command {
        let mut command = self.view.command(program("podman"));
        command.env("CONTAINERS_CONF", self.config_file());
        // Podman 5 says with every command that v1 is on its way out.
        command.env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
        command.env("CONTAINERS_REGISTRIES_CONF", "/dev/null");
        command
    }

    fn configure(&self, hooks: &[&Path]) {
        // The limits are those that a root without CAP_SYS_RESOURCE may set. Locks in files: the default ones are
        // in a segment that all of a machine's Podmans share, and a second one with other folders resets it.
        let text = format!(
            "[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]\n\
             [engine]\nevents_logger = \"file\"\nlock_type = \"file\"\nhooks_dir = {hooks:?}\n"
        );
        self.folder.file("containers.conf", &text);
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        quietly(self.command("rm").args(["--all", "--force", "--time=0"]));
        let _ = fs::remove_file(self.folder.join("api.sock"));
    }
}

/// Podman's API service.
pub struct Service<'a> {
    podman: &'a Podman,
    pub process: Running,
    url: String,
}

impl Service<'_> {
    /// A `podman` that does nothing itself and asks the service.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = self.podman.podman();
        command.args(["--remote", "--url", &self.url, subcommand]);
        command
    }
}
