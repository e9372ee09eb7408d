//! The stages of a container's life, each as the engine or runtime calls it, on a simulated node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use fake_node::{Node, TraceLine};
use serde_json::{Value, json};

use crate::container::Container;
use crate::documents;
use crate::meter::{Figures, Meter};

/// The programs that are measured, and the node on which they run.
#[derive(Debug)]
pub struct Bench<'node> {
    /// The program that does nothing.
    pub noop: PathBuf,
    /// oci-mig-hook.
    pub hook: PathBuf,
    /// A node that is up.
    pub node: &'node Node,
    /// The configuration by which containers are served.
    pub config: PathBuf,
    /// Containers that exist.
    held: Vec<Container>,
    next: u32,
}

/// One round: what is measured, and its figures, in the table's order.
pub type Round = Vec<(&'static str, Figures)>;

impl<'node> Bench<'node> {
    /// On a node without leases.
    pub fn new(programs: &Path, node: &'node Node) -> Bench<'node> {
        Bench {
            noop: programs.join("noop"),
            hook: programs.join("oci-mig-hook"),
            node,
            config: node.config(),
            held: Vec::new(),
            next: 1,
        }
    }

    /// What every container pays whose engine calls us, whether it asks or not.
    pub fn passing(&self, meter: &Meter) -> Result<Round> {
        let id = documents::id(0);
        let config = documents::config(&id, &[])?;
        let state = documents::state(&id, Some(std::process::id()), &config);
        Ok(vec![
            (
                "no-op program",
                meter.measure(&mut Command::new(&self.noop), b"")?,
            ),
            (
                "createRuntime, didn't ask",
                meter.measure(&mut self.stage(&["createRuntime"]), &bytes(&state))?,
            ),
            (
                "precreate, didn't ask",
                meter.measure(&mut self.stage(&["precreate"]), &bytes(&config))?,
            ),
        ])
    }

    /// A container's whole life. What its reservation's child does is counted with it.
    pub fn life(&mut self, meter: &Meter) -> Result<Round> {
        let (mut round, born) = self.birth(meter)?;
        round.push(("poststop, releases", born.end(self, meter)?));
        Ok(round)
    }

    /// A full look at the node, and what it would cost each container if nothing were remembered.
    pub fn full_look(&self, meter: &Meter) -> Result<Round> {
        Ok(vec![("refresh, a full look", self.refresh(meter)?)])
    }

    /// Containers that exist from now on, each with one device.
    pub fn hold(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let (_, born) = self.birth(&Meter::Clock)?;
            self.held.push(born.process);
        }
        Ok(())
    }

    /// A reservation alone; its container is given up again.
    pub fn reservation(&mut self, meter: &Meter) -> Result<Figures> {
        let (reserved, figures) = self.reserve(meter)?;
        reserved.end(self, &Meter::Clock)?;
        Ok(figures)
    }

    /// What a container's life asks of NVML once the node is known, by stage: for how many calls, and of which GPUs.
    pub fn calls(&mut self) -> Result<Calls> {
        self.refresh(&Meter::Clock)?;
        let reserved = self.traced(|bench| bench.reserve(&Meter::Clock))?;
        let (calls, (container, _)) = reserved;
        let (confirm, (process, _)) = self.traced(|bench| {
            let process = bench.container(&container.id)?;
            let figures = bench.confirm(&Meter::Clock, &container, process.pid())?;
            Ok((process, figures))
        })?;
        let born = Born { container, process };
        let (release, _) = self.traced(|bench| born.end(bench, &Meter::Clock))?;
        let mut gpus: Vec<u32> = calls.iter().filter_map(|line| line.gpu).collect();
        gpus.sort_unstable();
        gpus.dedup();
        Ok(Calls {
            devices: self.node.devices()?.len(),
            reserve: calls.len(),
            gpus: gpus.len(),
            confirm: confirm.len(),
            release: release.len(),
        })
    }

    fn traced<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<(Vec<TraceLine>, T)> {
        self.node.start_trace()?;
        let done = run(self)?;
        let trace = self.node.trace()?;
        fs::remove_file(self.node.dir().join("trace"))?;
        Ok((trace, done))
    }

    /// A full look at the node, as the first reservation takes one.
    fn refresh(&self, meter: &Meter) -> Result<Figures> {
        let mut refresh = Command::new(&self.hook);
        meter.measure_with_child(
            refresh.arg("refresh").arg("--config").arg(self.node.config()),
            b"",
        )
    }

    /// The part of a reservation that is in a process of its own, which ends itself as soon as its answer was read.
    fn asking_nvml(&self, meter: &Meter) -> Result<Figures> {
        let library = self.node.dir().join("lib/libnvidia-ml.so.1");
        let question = self.question()?.to_string();
        let mut command = Command::new(&self.hook);
        meter.measure(command.arg("nvml-check").arg(library).arg(question), b"")
    }

    /// As a reservation puts it: about one device of what is remembered.
    fn question(&self) -> Result<Value> {
        let ledger = self.ledger()?;
        let text = fs::read_to_string(ledger.join("inventory.json")).context("the remembered inventory")?;
        let mut known = serde_json::from_str::<Value>(&text)?["inventory"].take();
        let gpus = known["gpus"].as_array_mut().context("GPUs")?;
        gpus.truncate(1);
        let devices = gpus[0]["mig"]["enabled"]["devices"].as_array_mut();
        devices.context("devices")?.truncate(1);
        known["left_out"] = json!([]);
        Ok(json!({"known": known, "users": true, "on_demand_alone": false}))
    }

    /// The ledger's folder, as the node's configuration says.
    pub fn ledger(&self) -> Result<PathBuf> {
        let config = fs::read_to_string(self.node.config())?;
        let line = config.lines().find_map(|line| line.strip_prefix("dir = "));
        Ok(serde_json::from_str(line.context("ledger.dir")?)?)
    }

    fn reserve(&mut self, meter: &Meter) -> Result<(Reserved, Figures)> {
        let id = documents::id(self.next);
        self.next += 1;
        let config = documents::config(&id, &[("mig.profile", "1g.10gb")])?;
        let config_file = self.config.to_str().context("a path that is not UTF-8")?;
        let mut precreate = self.stage(&["precreate", "--config", config_file]);
        let figures = meter.measure_with_child(&mut precreate, &bytes(&config))?;
        let config = serde_json::from_slice(&figures.output).context("the edited config.json")?;
        Ok((Reserved { id, config }, figures))
    }

    fn confirm(&self, meter: &Meter, reserved: &Reserved, pid: u32) -> Result<Figures> {
        let mut confirm = documents::hook_arguments(&reserved.config, "createRuntime")?;
        if let Meter::Callgrind { .. } = meter {
            self.without_mask(&mut confirm)?;
        }
        let mut state = documents::state(&reserved.id, Some(pid), &reserved.config);
        // Where a runtime is called, with what precreate wrote.
        let bundle = self.node.dir().join("bundle");
        fs::create_dir_all(&bundle)?;
        let mut config = reserved.config.clone();
        config["root"]["path"] = json!(self.root()?);
        fs::write(bundle.join("config.json"), bytes(&config))?;
        state["bundle"] = json!(bundle);
        meter.measure(Command::new(&self.hook).args(confirm), &bytes(&state))
    }

    /// valgrind knows none of the kernel's newer calls, which hide what isn't the container's: they are left out of what
    /// is counted.
    fn without_mask(&self, arguments: &mut [String]) -> Result<()> {
        let other = self.node.dir().join("without-mask.toml");
        let config = fs::read_to_string(self.node.config())?;
        fs::write(&other, format!("mask_proc = false\n{config}"))?;
        let named = arguments.iter().position(|word| word == "--config");
        let file = named.and_then(|at| arguments.get_mut(at + 1));
        *file.context("--config")? = other.to_str().context("a path that is not UTF-8")?.to_owned();
        Ok(())
    }

    /// The containers' root filesystem.
    fn root(&self) -> Result<PathBuf> {
        let root = self.node.dir().join("rootfs");
        fs::create_dir_all(root.join("proc"))?;
        Ok(root)
    }

    fn container(&self, id: &str) -> Result<Container> {
        let driver = self.node.proc().join("driver");
        Container::start(&documents::cgroups_path(id), &self.root()?, &driver)
    }

    fn birth(&mut self, meter: &Meter) -> Result<(Round, Born)> {
        let (container, mut reserved) = self.reserve(meter)?;
        let child = self.asking_nvml(meter)?;
        reserved.instructions += child.instructions;
        let process = self.container(&container.id)?;
        let confirmed = self.confirm(meter, &container, process.pid())?;
        let round = vec![
            ("precreate, reserves", reserved),
            ("  its NVML child alone", child),
            ("createRuntime, confirms", confirmed),
        ];
        Ok((round, Born { container, process }))
    }

    fn stage(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.hook);
        command.args(arguments);
        command
    }
}

/// What a container's life asks of NVML.
#[derive(Debug)]
pub struct Calls {
    /// How many devices the node has.
    pub devices: usize,
    /// Calls while it is reserved.
    pub reserve: usize,
    /// GPUs that these need.
    pub gpus: usize,
    /// Calls while it is confirmed.
    pub confirm: usize,
    /// Calls while it is released.
    pub release: usize,
}

/// A container that is yet to be made, with its config.json as it was edited.
struct Reserved {
    id: String,
    config: Value,
}

/// A container that exists, with its device.
struct Born {
    container: Reserved,
    process: Container,
}

impl Born {
    fn end(self, bench: &Bench<'_>, meter: &Meter) -> Result<Figures> {
        drop(self.process);
        self.container.end(bench, meter)
    }
}

impl Reserved {
    fn end(self, bench: &Bench<'_>, meter: &Meter) -> Result<Figures> {
        let release = documents::hook_arguments(&self.config, "poststop")?;
        let state = documents::state(&self.id, None, &self.config);
        meter.measure(Command::new(&bench.hook).args(release), &bytes(&state))
    }
}

fn bytes(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}
