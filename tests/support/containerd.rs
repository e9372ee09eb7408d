//! containerd, with a root, a state, sockets and a configuration of the test's own.
//!
//! Shims keep their sockets in /run/containerd/s and runtimes their state below /run/containerd, whatever the
//! configuration says; each view has a /run/containerd of its own (`cgroups.rs`), so the machine's stays as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cgroups::View;
use super::ctr::Namespace;
use super::daemon::Daemon;
use super::image::{self, IMAGE};
use super::process::{find, run};
use super::runtime::program;
use super::scratch::{self, Scratch};

/// Copies, as no other snapshotter does: it works on every filesystem.
pub const SNAPSHOTTER: &str = "native";

/// What a containerd is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    view: View,
    environment: Vec<(String, PathBuf)>,
    handlers: Vec<(String, PathBuf)>,
}

impl Setup {
    pub fn new(view: View) -> Self {
        Self {
            view,
            environment: Vec::new(),
            handlers: Vec::new(),
        }
    }

    /// A variable of the daemon's environment, which its shims and their runtimes inherit.
    pub fn env(mut self, name: &str, value: &Path) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A runtime handler of the CRI plugin, which is off unless there is one; pods' annotations that are ours reach
    /// its containers.
    pub fn handler(mut self, name: &str, binary: &Path) -> Self {
        self.handlers.push((name.to_owned(), binary.to_owned()));
        self
    }

    /// Starts it.
    #[track_caller]
    pub fn start(self) -> Containerd {
        let folder = Scratch::new("containerd");
        folder.file("config.toml", &self.configuration(&folder));
        let containerd = Containerd {
            setup: self,
            folder,
            daemon: Daemon::new("containerd"),
        };
        containerd.start_again();
        containerd
    }

    fn configuration(&self, folder: &Scratch) -> String {
        let path = |name: &str| folder.join(name);
        let cri = "io.containerd.grpc.v1.cri";
        let disabled = if self.handlers.is_empty() {
            vec![cri]
        } else {
            vec![]
        };
        let head = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = {disabled:?}\n[grpc]\naddress = {:?}\n\
             [ttrpc]\naddress = {:?}\n[plugins.\"io.containerd.internal.v1.opt\"]\npath = {:?}\n",
            path("root"),
            path("state"),
            path("grpc.sock"),
            path("ttrpc.sock"),
            path("opt")
        );
        if self.handlers.is_empty() {
            head
        } else {
            head + &self.cri(cri, folder)
        }
    }

    fn cri(&self, plugin: &str, folder: &Scratch) -> String {
        // No networks: the pods have the host's. And no limits that this machine's root may not set.
        let head = format!(
            "[plugins.{plugin:?}]\nsandbox_image = {IMAGE:?}\nrestrict_oom_score_adj = true\n\
             [plugins.{plugin:?}.cni]\nconf_dir = {:?}\nbin_dir = {:?}\n\
             [plugins.{plugin:?}.containerd]\nsnapshotter = {SNAPSHOTTER:?}\ndefault_runtime_name = {:?}\n",
            folder.join("cni"),
            folder.join("cni"),
            self.handlers[0].0
        );
        let handlers = self.handlers.iter().map(|(name, binary)| {
            format!(
                "[plugins.{plugin:?}.containerd.runtimes.{name}]\nruntime_type = \"io.containerd.runc.v2\"\n\
                 pod_annotations = [\"mig.*\", \"mig.*/*\"]\n\
                 [plugins.{plugin:?}.containerd.runtimes.{name}.options]\nBinaryName = {binary:?}\n"
            )
        });
        head + &handlers.collect::<String>()
    }
}

/// A containerd that runs. When this is dropped it has ended, with its shims, its containers and its mounts.
#[derive(Debug)]
pub struct Containerd {
    setup: Setup,
    folder: Scratch,
    daemon: Daemon,
}

impl Containerd {
    pub fn view(&self) -> View {
        self.setup.view
    }

    /// The socket of its API, CRI's too.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("grpc.sock")
    }

    /// config.toml.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// The control group above those of its containers.
    pub fn cgroup_parent(&self) -> String {
        let name = self.folder.path().file_name().expect("a folder of ours");
        format!("/{}/{}", scratch::name(), name.to_string_lossy())
    }

    /// One containerd namespace, with the image, whose containers `runtime` runs.
    #[track_caller]
    pub fn namespace(&self, name: &str, runtime: &Path) -> Namespace<'_> {
        self.import(name, image::archive());
        Namespace::new(self, name, runtime)
    }

    /// Puts an image into a containerd namespace.
    #[track_caller]
    pub fn import(&self, namespace: &str, image: &Path) {
        let mut command = self.ctr(namespace);
        command.args(["images", "import", "--snapshotter", SNAPSHOTTER]);
        run(command.arg(image)).ok();
    }

    /// `ctr` in this containerd namespace.
    pub fn ctr(&self, namespace: &str) -> Command {
        let mut command = self.setup.view.command(program("ctr"));
        command.arg("--address").arg(self.socket());
        command.args(["--namespace", namespace]);
        command
    }

    /// `kill -9` of the daemon; shims and containers live on.
    pub fn kill(&self) {
        self.daemon.kill();
    }

    /// Starts the daemon again, over what it left.
    #[track_caller]
    pub fn start_again(&self) {
        let group = format!("{}/daemon", self.cgroup_parent());
        let mut command = self.view().daemon(program("containerd"), &group);
        command.arg("--config").arg(self.config_file());
        command.envs(self.setup.environment.iter().cloned());
        let answers = || run(self.ctr("default").arg("version")).status.success();
        self.daemon.begin(&mut command, answers);
    }

    /// What the daemon said.
    pub fn words(&self) -> String {
        self.daemon.words()
    }

    /// The process of the shim of the container with this id.
    #[track_caller]
    pub fn shim(&self, id: &str) -> i32 {
        let socket = self.socket();
        let socket = socket.to_str().expect("a path of ours");
        let found = find(|words| {
            words[0].contains("containerd-shim") && words.contains(&socket) && words.contains(&id)
        });
        *found.first().unwrap_or_else(|| panic!("no shim of {id}"))
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.daemon.end();
        self.setup.view.clear(&self.cgroup_parent());
        self.setup.view.unmount_below(self.folder.path());
    }
}
