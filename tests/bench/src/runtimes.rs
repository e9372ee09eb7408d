//! What a container's start pays, on the real runtimes and with Podman on top.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fake_node::Node;
use serde_json::{Value, json};

use crate::documents;
use crate::meter::Meter;
use crate::nodes;

/// What calls the hooks.
pub const RUNTIMES: [&str; 2] = ["runc", "crun"];

/// The case that has a budget.
pub const WITH_FILES: &str = "the same with driver's files";

/// How a container meets our hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// There are none.
    Bare,
    /// createRuntime and poststop stand in its config.json, and it doesn't ask.
    DidntAsk,
    /// The same, and it asks: nodes and rules are put into the live container.
    Live,
    /// It was reserved for before, so its config.json has nodes and rules; the hooks confirm and release.
    Reserved,
    /// The same, and its config.json has the driver's files for `compute,utility` besides.
    Files,
}

impl Case {
    /// In the table's order.
    pub const ALL: [Case; 5] = [
        Case::Bare,
        Case::DidntAsk,
        Case::Live,
        Case::Reserved,
        Case::Files,
    ];

    /// As the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Case::Bare => "no hook",
            Case::DidntAsk => "hooks, didn't ask",
            Case::Live => "served at createRuntime",
            Case::Reserved => "reserved before, confirmed",
            Case::Files => WITH_FILES,
        }
    }
}

/// One container's life.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// `create`, and the reservation where that comes before it.
    pub create: Duration,
    /// `create`, `start` and `delete`.
    pub whole: Duration,
}

/// Where containers are run: a root filesystem and a folder for the rest.
#[derive(Debug)]
pub struct Ground<'node> {
    hook: PathBuf,
    node: &'node Node,
    folder: PathBuf,
    next: u32,
}

impl<'node> Ground<'node> {
    /// Prepares `folder`, which is empty.
    pub fn prepare(programs: &Path, node: &'node Node, folder: &Path) -> Result<Ground<'node>> {
        let root = folder.join("rootfs");
        for below in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir_all(root.join(below))?;
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .iter()
            .find(|path| Path::new(path).exists());
        fs::copy(
            busybox.context("no busybox: run tests/setup")?,
            root.join("bin/busybox"),
        )?;
        symlink("busybox", root.join("bin/true"))?;
        fs::create_dir_all(folder.join("bundle"))?;
        Ok(Ground {
            hook: programs.join("oci-mig-hook"),
            node,
            folder: folder.to_owned(),
            next: 1_000_000,
        })
    }

    /// Runs a container that does nothing, from create to delete.
    pub fn live(&mut self, runtime: &str, case: Case) -> Result<Life> {
        let id = documents::id(self.next);
        self.next += 1;
        let mut reservation = Duration::ZERO;
        let mut config = self.config(&id, case)?;
        if matches!(case, Case::Reserved | Case::Files) {
            let file = match case {
                Case::Files => nodes::with_driver_files(self.node, &self.folder)?,
                _ => self.node.config(),
            };
            let mut precreate = Command::new(&self.hook);
            precreate.arg("precreate").arg("--config").arg(file);
            let reserved = Meter::Clock.measure(&mut precreate, config.to_string().as_bytes())?;
            reservation = reserved.wall;
            config = serde_json::from_slice(&reserved.output)?;
        }
        let bundle = self.folder.join("bundle");
        fs::write(bundle.join("config.json"), config.to_string())?;
        let pid_file = self.folder.join("pid");
        let mut create = self.runtime(runtime, "create");
        create
            .arg("--bundle")
            .arg(&bundle)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&id);
        let created = reservation + self.timed(&mut create)?;
        let started = self.timed(self.runtime(runtime, "start").arg(&id))?;
        await_end(&fs::read_to_string(&pid_file)?)?;
        let deleted = self.timed(self.runtime(runtime, "delete").arg(&id))?;
        Ok(Life {
            create: created,
            whole: created + started + deleted,
        })
    }

    fn runtime(&self, runtime: &str, subcommand: &str) -> Command {
        let mut command = Command::new(runtime);
        command
            .arg("--root")
            .arg(self.folder.join(runtime))
            .arg(subcommand);
        command
    }

    /// What Podman made, less what only Podman has: its files to mount, limits that need more rights or controllers
    /// than a machine may have.
    fn config(&self, id: &str, case: Case) -> Result<Value> {
        let asked = [("mig.profile", "1g.10gb")];
        let asks = matches!(case, Case::Live | Case::Reserved | Case::Files);
        let mut config = documents::config(id, if asks { &asked } else { &[] })?;
        config["root"]["path"] = json!(self.folder.join("rootfs"));
        config["process"]["rlimits"] = json!([]);
        config["linux"]["resources"]["pids"] = Value::Null;
        let mounts = config["mounts"].as_array_mut().context("mounts")?;
        mounts.retain(|mount| mount["type"] != "bind" && mount["type"] != "cgroup");
        if matches!(case, Case::DidntAsk | Case::Live) {
            for stage in ["createRuntime", "poststop"] {
                let args = json!(["oci-mig-hook", stage, "--config", self.node.config()]);
                let env = json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
                config["hooks"][stage] = json!([{"path": self.hook, "args": args, "env": env}]);
            }
        }
        Ok(config)
    }

    /// Podman running a container that does nothing, from `podman run` to its end.
    pub fn podman(&mut self, runtime: &str, asks: bool) -> Result<Duration> {
        let mut run = self.podman_command(runtime, "run")?;
        run.args(["--rm", "--network=none", "--pids-limit=0"]);
        if asks {
            run.args(["--annotation", "mig.profile=1g.10gb"]);
        }
        self.timed(run.args([IMAGE, "true"]))
    }

    /// Gives Podman a store of its own with one image, and our hook.
    pub fn prepare_podman(&self) -> Result<()> {
        let hooks = self.folder.join("hooks.d");
        fs::create_dir_all(&hooks)?;
        let args = json!(["oci-mig-hook", "precreate", "--config", self.node.config()]);
        let hook = json!({
            "version": "1.0.0",
            "hook": {"path": self.hook, "args": args, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
            "when": {"annotations": {r"^mig\.[^./]+(/.*)?$": ".*"}},
            "stages": ["precreate"],
        });
        fs::write(hooks.join("oci-mig-hook.json"), hook.to_string())?;
        // Limits that a root without CAP_SYS_RESOURCE may set; locks apart from those of the machine's own Podman.
        let text = format!(
            "[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]\n\
             [engine]\nevents_logger = \"file\"\nlock_type = \"file\"\nhooks_dir = [{hooks:?}]\n"
        );
        fs::write(self.folder.join("containers.conf"), text)?;
        let archive = self.folder.join("rootfs.tar");
        let root = self.folder.join("rootfs");
        self.timed(
            Command::new("tar")
                .arg("-C")
                .arg(root)
                .arg("-cf")
                .arg(&archive)
                .arg("."),
        )?;
        self.timed(self.podman_command("runc", "import")?.arg(archive).arg(IMAGE))?;
        Ok(())
    }

    fn podman_command(&self, runtime: &str, subcommand: &str) -> Result<Command> {
        let mut podman = Command::new("podman");
        podman.env("CONTAINERS_CONF", self.folder.join("containers.conf"));
        for (option, name) in [("--root", "store"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            podman.arg(option).arg(self.folder.join(name));
        }
        podman.args([
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--runtime",
            runtime,
            subcommand,
        ]);
        Ok(podman)
    }

    /// Runs a command that must succeed. A container's process may outlive it with its output still open.
    fn timed(&self, command: &mut Command) -> Result<Duration> {
        let errors = self.folder.join("errors");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors)?);
        let started = Instant::now();
        let status = command
            .status()
            .with_context(|| format!("{command:?} (run tests/setup)"))?;
        let wall = started.elapsed();
        ensure!(
            status.success(),
            "{command:?}: {status}: {}",
            fs::read_to_string(&errors)?.trim_end()
        );
        Ok(wall)
    }
}

const IMAGE: &str = "localhost/bench";

/// A container that still runs is killed by `delete --force` only; runc would then wait in steps of 100 ms.
fn await_end(pid: &str) -> Result<()> {
    let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
    let started = Instant::now();
    while fs::read_to_string(&stat).is_ok_and(|line| !line.contains(") Z ")) {
        ensure!(
            started.elapsed() < Duration::from_secs(10),
            "the container doesn't end"
        );
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}
