//! A machine with simulated GPUs, and the program under test set up on it in each way that an engine can call it.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use fake_node::{GpuSpec, InstanceSpec, Node, NodeSpec};
use serde_json::{Value, json};

use super::bundle::Bundle;
use super::cgroups::View;
use super::podman::Podman;
use super::process::{DEADLINE, Outcome, find, holds_within, run, run_with, until};
use super::runtime::Runtime;
use super::scratch::Scratch;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_oci-mig-hook");

/// The interposing runtime under test.
pub const INTERPOSED: &str = env!("CARGO_BIN_EXE_oci-mig-runtime");

/// The variable that names its configuration.
pub const CONFIG_VARIABLE: &str = "OCI_MIG_HOOK_CONFIG";

/// A simulated node with a ledger of its own.
pub struct Machine {
    folder: Scratch,
    node: Node,
}

impl Deref for Machine {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Machine {
    /// One of `tests/nodes`.
    pub fn named(name: &str) -> Self {
        let path = fake_node::nodes_dir().join(format!("{name}.json"));
        Self::of(&NodeSpec::read(&path).expect("a node of this repository"))
    }

    /// One A100 80GB with these instances, in this order.
    pub fn with(profiles: &[&str]) -> Self {
        let instance = |profile: &&str| InstanceSpec {
            profile: profile.to_string(),
            ..Default::default()
        };
        let instances = profiles.iter().map(instance).collect();
        let gpu = GpuSpec {
            model: Some("a100-80gb".to_owned()),
            instances,
            ..Default::default()
        };
        Self::of(&NodeSpec {
            gpus: vec![gpu],
            ..Default::default()
        })
    }

    /// One A100 80GB, full, whose driver is of this version and lies below `root`.
    pub fn with_driver(root: &Path, version: &str) -> Self {
        let path = fake_node::nodes_dir().join("one-gpu.json");
        let machine = Self::of(&NodeSpec {
            driver: Some(version.to_owned()),
            ..NodeSpec::read(&path).expect("a node of this repository")
        });
        let text = fs::read_to_string(machine.config()).expect("config.toml");
        let ours = format!("files = \"none\"\nroot = {:?}\n", machine.dir());
        assert!(text.contains(&ours), "{text}");
        let theirs = format!("files = \"host\"\nroot = {root:?}\n");
        fs::write(machine.config(), text.replace(&ours, &theirs)).expect("config.toml");
        machine
    }

    /// `runtime.path`, where it may have another value.
    pub fn configure_runtime(&self, path: &Path) {
        let text = fs::read_to_string(self.config()).expect("config.toml");
        let kept = text.split("\n[runtime]\n").next().unwrap_or_default();
        fs::write(self.config(), format!("{kept}\n[runtime]\npath = {path:?}\n")).expect("config.toml");
    }

    /// `driver.files`, where it has another value.
    pub fn configure_files(&self, value: &str) {
        let text = fs::read_to_string(self.config()).expect("config.toml");
        let lines = text.lines().map(|line| match line.starts_with("files = ") {
            true => format!("files = {value:?}\n"),
            false => format!("{line}\n"),
        });
        fs::write(self.config(), lines.collect::<String>()).expect("config.toml");
    }

    pub fn of(spec: &NodeSpec) -> Self {
        let folder = Scratch::new("machine");
        let node = fake_node::up_spec(spec, &folder.join("node")).expect("a simulated node");
        Self { folder, node }
    }

    /// A line of config.toml: `key` with its table, such as `lease.pending`, and its value as TOML has it.
    pub fn configure(&self, key: &str, value: &str) {
        let path = self.config();
        let config = fs::read_to_string(&path).expect("config.toml");
        let config = match key.split_once('.') {
            None if config.contains(&format!("{key} = {value}\n")) => config,
            None => format!("{key} = {value}\n{config}"),
            Some((table, key)) => {
                let header = format!("[{table}]\n");
                let line = format!("{key} = {value}\n");
                match config.contains(&header) {
                    true if config.contains(&(header.clone() + &line)) => config,
                    true => config.replace(&header, &(header.clone() + &line)),
                    false => config + &header + &line,
                }
            }
        };
        fs::write(&path, config).expect("config.toml");
    }

    /// `oci-mig-hook SUBCOMMAND --config ...`
    pub fn program(&self, subcommand: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args([subcommand, "--config"]).arg(self.config());
        command
    }

    /// The real runtime that oci-mig-runtime stands before on this machine.
    pub fn stand_before(&self, runtime: &Path) {
        self.configure("runtime.path", &format!("{runtime:?}"));
    }

    /// oci-mig-runtime, as an engine of this machine calls it.
    pub fn interposed(&self) -> Command {
        let mut command = Command::new(INTERPOSED);
        command.env(CONFIG_VARIABLE, self.config());
        command
    }

    /// A stage with its document on standard input.
    pub fn stage(&self, stage: &str, document: &str) -> Outcome {
        run_with(&mut self.program(stage), document)
    }

    /// `status --json`
    pub fn status(&self) -> Value {
        let outcome = run(self.program("status").arg("--json")).ok();
        serde_json::from_str(&outcome.stdout).expect("status in JSON")
    }

    /// Every device that isn't free, by UUID: its state, and its holder's container id.
    pub fn taken(&self) -> BTreeMap<String, (String, String)> {
        let status = self.status();
        let gpus = status["gpus"].as_array().expect("gpus").iter();
        let devices = gpus.flat_map(|gpu| gpu["devices"].as_array().expect("devices"));
        let devices = devices.chain(status["orphans"].as_array().expect("orphans"));
        let taken = devices.filter(|device| device["state"] != "free");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        taken
            .map(|device| {
                let holder = &device["lease"]["holder"]["container"]["id"];
                (text(&device["uuid"]), (text(&device["state"]), text(holder)))
            })
            .collect()
    }

    /// The process that the first lease is bound to.
    pub fn holding_process(&self) -> Option<i32> {
        let status = self.status();
        let devices = status["gpus"]
            .as_array()
            .expect("gpus")
            .iter()
            .flat_map(|gpu| gpu["devices"].as_array().expect("devices"));
        let mut pids =
            devices.filter_map(|device| device["lease"]["holder"]["container"]["process"]["pid"].as_i64());
        pids.next().map(|pid| pid as i32)
    }

    /// The folder of the leases.
    pub fn ledger(&self) -> PathBuf {
        self.node.dir().join("run")
    }

    /// How many files of leases there are.
    pub fn leases(&self) -> usize {
        let files = fs::read_dir(self.ledger().join("leases"))
            .into_iter()
            .flatten()
            .flatten();
        files
            .filter(|file| {
                file.path()
                    .extension()
                    .is_some_and(|extension| extension == "json")
            })
            .count()
    }

    /// All devices are free, as `status` says and as the ledger's folder looks. Waits a little: an engine may still
    /// be at its last hooks when its command has ended.
    #[track_caller]
    pub fn assert_free(&self, when: &str) {
        let free = holds_within(DEADLINE / 6, || self.taken().is_empty() && self.leases() == 0);
        assert!(
            free,
            "{when}: still taken: {:?}, {} leases",
            self.taken(),
            self.leases()
        );
    }

    /// The processes of the program under test that are at this stage on this machine.
    pub fn at_stage(&self, stage: &str) -> Vec<i32> {
        let config = self.config();
        // A hook's argv[0] is what its entry says: the path, or the bare name.
        find(|words| {
            words[0].ends_with("oci-mig-hook")
                && words[1..].starts_with(&[stage])
                && words.iter().any(|word| Path::new(word) == config)
        })
    }

    /// Waits for the process that asks this machine's NVML as nobody's child.
    #[track_caller]
    pub fn await_asking_alone(&self) -> i32 {
        let alone = || self.asking_nvml().into_iter().find(|pid| session(*pid) == *pid);
        until("a process that asks NVML, in a session of its own", || {
            alone().is_some()
        });
        alone().expect("one process")
    }

    /// The children of the program under test that ask this machine's NVML.
    pub fn asking_nvml(&self) -> Vec<i32> {
        let library = self.library();
        find(|words| words.iter().any(|word| Path::new(word) == library))
    }

    /// Waits for the program under test to ask NVML, which it does while it reserves.
    #[track_caller]
    pub fn await_nvml(&self) {
        until("a child that asks NVML", || !self.asking_nvml().is_empty());
    }

    /// Waits for the program under test to be at this stage; its process id.
    #[track_caller]
    pub fn await_stage(&self, stage: &str) -> i32 {
        until(stage, || !self.at_stage(stage).is_empty());
        self.at_stage(stage)[0]
    }

    /// Holds the ledger's lock until the result is dropped.
    pub fn hold_lock(&self) -> fs::File {
        let path = self.ledger().join("lock");
        let file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .expect("the ledger's lock");
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("flock");
        file
    }

    /// A bundle with our createRuntime and poststop hooks.
    pub fn bundle(&self) -> Bundle {
        let config = self.config();
        let config = config.to_str().expect("a path of ours");
        let program = Path::new(PROGRAM);
        let bundle = Bundle::new().hook("createRuntime", program, &["createRuntime", "--config", config]);
        bundle.hook("poststop", program, &["poststop", "--config", config])
    }

    /// Podman with our precreate and poststop hooks, and what else lies in `more`.
    pub fn podman(&self, runtime: Runtime, view: View, more: &[&Path]) -> Podman {
        let hooks = self.folder.join("hooks.d");
        for stage in ["precreate", "poststop"] {
            let argv = json!(["oci-mig-hook", stage, "--config", self.config()]);
            let hook = json!({
                "version": "1.0.0",
                "hook": {"path": PROGRAM, "args": argv, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
                "when": {"annotations": {r"^mig\.": ".*"}},
                "stages": [stage],
            });
            self.folder
                .file(&format!("hooks.d/oci-mig-hook-{stage}.json"), &hook.to_string());
        }
        let folders: Vec<_> = std::iter::once(hooks.as_path())
            .chain(more.iter().copied())
            .collect();
        Podman::new(runtime, view, &folders)
    }
}

/// The session that this process is in: field 6 of its stat.
fn session(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = rest.split_whitespace().nth(3);
    field.and_then(|field| field.parse().ok()).unwrap_or(0)
}
