//! The stages of a container's life, each as the engine or runtime calls it, on a simulated node.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use fake_node::Node;
use serde_json::Value;

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
        let (born, container) = self.birth(meter)?;
        let end = container.end(self, meter)?;
        Ok(born.into_iter().chain([("poststop, releases", end)]).collect())
    }

    /// Containers that exist from now on, each with one device.
    pub fn hold(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let (_, born) = self.birth(&Meter::Clock)?;
            self.held.push(born.process);
        }
        Ok(())
    }

    /// The part of a reservation that is in a process of its own. A reservation kills it as soon as it has answered,
    /// under valgrind before it is counted.
    fn asking_nvml(&self, meter: &Meter) -> Result<Figures> {
        let library = self.node.dir().join("lib/libnvidia-ml.so.1");
        meter.measure(Command::new(&self.hook).arg("nvml-inventory").arg(library), b"")
    }

    fn birth(&mut self, meter: &Meter) -> Result<(Round, Born)> {
        let id = documents::id(self.next);
        self.next += 1;
        let config = documents::config(&id, &[("mig.profile", "1g.10gb")])?;
        let node = self.node.config();
        let node = node.to_str().context("a path that is not UTF-8")?;
        let mut precreate = self.stage(&["precreate", "--config", node]);
        let mut reserved = meter.measure_with_child(&mut precreate, &bytes(&config))?;
        let child = self.asking_nvml(meter)?;
        reserved.instructions += child.instructions;
        let config: Value = serde_json::from_slice(&reserved.output).context("the edited config.json")?;
        let process = Container::start(&documents::cgroups_path(&id))?;
        let confirm = documents::hook_arguments(&config, "createRuntime")?;
        let state = documents::state(&id, Some(process.pid()), &config);
        let confirmed = meter.measure(Command::new(&self.hook).args(confirm), &bytes(&state))?;
        let round = vec![
            ("precreate, reserves", reserved),
            ("  its NVML child alone", child),
            ("createRuntime, confirms", confirmed),
        ];
        Ok((round, Born { id, config, process }))
    }

    fn stage(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.hook);
        command.args(arguments);
        command
    }
}

/// A container that exists, with its device.
struct Born {
    id: String,
    config: Value,
    process: Container,
}

impl Born {
    fn end(self, bench: &Bench<'_>, meter: &Meter) -> Result<Figures> {
        drop(self.process);
        let release = documents::hook_arguments(&self.config, "poststop")?;
        let state = documents::state(&self.id, None, &self.config);
        meter.measure(Command::new(&bench.hook).args(release), &bytes(&state))
    }
}

fn bytes(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}
