//! dockerd, with folders and sockets of the test's own, over a containerd of the test's own, and `docker`, its client.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cgroups::View;
use super::containerd::{self, Containerd};
use super::daemon::Daemon;
use super::process::{Outcome, run, until};
use super::rootfs::{self, SLEEP};
use super::runtime::{Runtime, everywhere_with, program};
use super::scratch::Scratch;

/// The image that every store has: the shared root filesystem.
const IMAGE: &str = "localhost/busybox";

/// The first version of the API that passes annotations on.
const ANNOTATIONS: [u32; 2] = [1, 43];

/// The first version of the API whose devices may be CDI's.
const CDI: [u32; 2] = [1, 44];

/// Every runtime in every view that Docker works in. It writes a blockIO that is empty, for which crun wants io.
pub fn everywhere() -> impl Iterator<Item = (Runtime, View)> {
    everywhere_with("Docker", |runtime| (runtime == Runtime::Crun).then_some("io"))
}

/// A dockerd that runs. When this is dropped it has ended, with its containers and mounts.
#[derive(Debug)]
pub struct Docker {
    pub containerd: Containerd,
    /// The runtime `mig`, where the command line has it.
    runtime: Option<PathBuf>,
    /// Containers live on without the daemon.
    live_restore: bool,
    folder: Scratch,
    daemon: Daemon,
}

impl Docker {
    /// Over a containerd that is set up like this; `runtime` runs its containers, under the name `mig`.
    #[track_caller]
    pub fn start(setup: containerd::Setup, runtime: &Path) -> Self {
        Self::begin(setup, Some(runtime), false)
    }

    /// The same, with containers that live on while the daemon doesn't run.
    #[track_caller]
    pub fn start_with_live_restore(setup: containerd::Setup, runtime: &Path) -> Self {
        Self::begin(setup, Some(runtime), true)
    }

    /// The same, without any runtime but Docker's own: `config_file` is there to have one.
    #[track_caller]
    pub fn start_plain(setup: containerd::Setup) -> Self {
        Self::begin(setup, None, false)
    }

    #[track_caller]
    fn begin(setup: containerd::Setup, runtime: Option<&Path>, live_restore: bool) -> Self {
        let folder = Scratch::new("docker");
        folder.file("daemon.json", "{}");
        let docker = Self {
            containerd: setup.start(),
            runtime: runtime.map(Path::to_owned),
            live_restore,
            folder,
            daemon: Daemon::new("dockerd"),
        };
        docker.start_again();
        run(docker.client().arg("import").arg(rootfs::archive()).arg(IMAGE)).ok();
        docker
    }

    pub fn view(&self) -> View {
        self.containerd.view()
    }

    /// `docker`, of this daemon.
    pub fn client(&self) -> Command {
        let mut command = self.view().command(program("docker"));
        command.env("DOCKER_CONFIG", self.folder.join("client"));
        command.args(["--host", &self.address()]);
        command
    }

    /// `docker ARGS`
    pub fn call(&self, args: &[&str]) -> Outcome {
        run(self.client().args(args))
    }

    /// `run` or `create` as far as the options.
    pub fn container(&self, subcommand: &str) -> Command {
        let mut command = self.client();
        command.args([subcommand, "--network=none", "--runtime=mig"]);
        command
    }

    /// Runs a script in a fresh container.
    pub fn run(&self, options: &[&str], script: &str) -> Outcome {
        self.run_program(options, &["sh", "-c", script])
    }

    /// Runs a program in a fresh container.
    pub fn run_program(&self, options: &[&str], args: &[&str]) -> Outcome {
        run(&mut self.foreground(options, args))
    }

    /// Runs a script in a fresh container of another image.
    pub fn run_image(&self, image: &str, options: &[&str], script: &str) -> Outcome {
        let mut command = self.container("run");
        command.arg("--rm").args(options);
        run(command.args([image, "sh", "-c", script]))
    }

    /// `docker run --rm`
    pub fn foreground(&self, options: &[&str], args: &[&str]) -> Command {
        let mut command = self.container("run");
        command.arg("--rm").args(options).arg(IMAGE).args(args);
        command
    }

    /// A container that sleeps until it is told to end; its id.
    #[track_caller]
    pub fn sleeper(&self, options: &[&str]) -> String {
        let mut command = self.container("run");
        command
            .arg("--detach")
            .args(options)
            .args([IMAGE, "sh", "-c", SLEEP]);
        run(&mut command).ok().stdout.trim().to_owned()
    }

    /// The options that ask for a device as far as this daemon lets them through: an annotation, or where it has
    /// none yet a variable, which wants `requests.environment = true`.
    pub fn ask(&self, word: &str, value: &str) -> String {
        match self.has_annotations() {
            true => format!("--annotation=mig.{word}={value}"),
            false => format!("--env=MIG_{}={value}", word.to_uppercase()),
        }
    }

    fn has_annotations(&self) -> bool {
        self.is_since(ANNOTATIONS)
    }

    /// Whether it reads CDI files.
    pub fn reads_cdi(&self) -> bool {
        self.is_since(CDI)
    }

    fn is_since(&self, api: [u32; 2]) -> bool {
        let version = self
            .call(&["version", "--format={{.Server.APIVersion}}"])
            .ok()
            .stdout;
        let numbers: Vec<u32> = version
            .trim()
            .split('.')
            .filter_map(|part| part.parse().ok())
            .collect();
        numbers[..] >= api[..]
    }

    /// Whether the container runs, as the daemon sees it.
    pub fn is_running(&self, id: &str) -> bool {
        let inspected = self.call(&["inspect", "--format={{.State.Running}}", id]);
        inspected.stdout.trim() == "true"
    }

    /// The container's first process; 0 while it doesn't run.
    #[track_caller]
    pub fn pid(&self, id: &str) -> i32 {
        let inspected = self.call(&["inspect", "--format={{.State.Pid}}", id]).ok();
        inspected.stdout.trim().parse().expect("a pid")
    }

    /// Waits for the container's end.
    #[track_caller]
    pub fn await_end(&self, id: &str) {
        until(&format!("the end of {id}"), || !self.is_running(id));
    }

    /// `kill -9` of dockerd; containerd, shims and containers live on.
    pub fn kill(&self) {
        self.daemon.kill();
    }

    /// Starts the daemon again, over what it left.
    #[track_caller]
    pub fn start_again(&self) {
        // A daemon that was killed can't take its pid with it, and that pid may be another's by now.
        let _ = std::fs::remove_file(self.folder.join("pid"));
        let answers = || self.call(&["version"]).status.success();
        self.daemon.begin(&mut self.command(), answers);
    }

    /// daemon.json.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("daemon.json")
    }

    /// Lets the daemon read daemon.json again, as `systemctl reload docker` does.
    #[track_caller]
    pub fn reload(&self) {
        let count = || self.daemon.words().matches("Reloaded configuration").count();
        let before = count();
        let pid = self.daemon.pid().and_then(rustix::process::Pid::from_raw);
        let pid = pid.expect("a daemon");
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("SIGHUP");
        until("dockerd's new configuration", || count() > before);
    }

    fn address(&self) -> String {
        format!("unix://{}", self.folder.join("api.sock").display())
    }

    /// dockerd
    fn command(&self) -> Command {
        let group = format!("{}/dockerd", self.containerd.cgroup_parent());
        let mut command = self.view().daemon(program("dockerd"), &group);
        let folders = [
            ("--config-file", "daemon.json"),
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
        ];
        for (option, name) in folders {
            command.arg(option).arg(self.folder.join(name));
        }
        command.args(["--host", &self.address()]);
        command.arg("--containerd").arg(self.containerd.socket());
        command.arg(format!("--cgroup-parent={}", self.containerd.cgroup_parent()));
        if let Some(runtime) = &self.runtime {
            command.arg(format!("--add-runtime=mig={}", runtime.display()));
        }
        command.args(["--storage-driver=vfs", "--exec-opt=native.cgroupdriver=cgroupfs"]);
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        if self.live_restore {
            command.arg("--live-restore");
        }
        command
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.daemon.end();
        // What it left in the group goes with containerd's; its mounts are its own.
        self.view().clear(&self.containerd.cgroup_parent());
        self.view().unmount_below(self.folder.path());
    }
}
