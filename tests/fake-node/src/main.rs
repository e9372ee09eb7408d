//! `fake-node up|down|set`: see the library for what a node is.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use fake_node::{Node, NodeSpec};

/// Simulates a machine with NVIDIA GPUs in MIG mode: /proc files, device nodes and an NVML that answers for them.
#[derive(Parser)]
#[command(after_help = "Example:
  fake-node up tests/nodes/dgx-a100.json /tmp/dgx
  oci-mig-hook --config /tmp/dgx/config.toml status
  fake-node set /tmp/dgx first_touch_ms=3000
  fake-node down /tmp/dgx
Anything that speaks NVML sees the node with LD_LIBRARY_PATH=/tmp/dgx/lib. Needs root: it makes device nodes.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lay out a node.
    #[command(
        after_help = "DIR gets config.toml (points oci-mig-hook there), state.json, lib/libnvidia-ml.so.1, proc/ and dev/.
The device nodes have majors that no driver of this machine has: opening one gives ENXIO.
tests/nodes/README.md explains NODE.json; the files beside it are nodes to start from."
    )]
    Up {
        /// What the node has.
        node: PathBuf,
        /// Where to lay it out: a folder that is empty or doesn't exist, on a file system that isn't mounted nodev.
        dir: PathBuf,
        /// Lay a node that is up out anew, as after a repartition: majors and faults stay.
        #[arg(long)]
        again: bool,
    },
    /// Remove a node and everything in its folder.
    Down {
        /// Where it was laid out.
        dir: PathBuf,
    },
    /// Make a node slow or faulty, also for processes that run already.
    #[command(after_help = "Settings:
  init_ms=500                    nvmlInit takes that long
  first_touch_ms=3000            so does the first call of a process that needs a certain GPU (no persistence mode)
  needs_attach=1                 GPUs that init didn't attach can't be used
  hang=nvmlDeviceGetUUID         this function never answers; ...@2 for GPU 2 only
  hang=exit                      a process that has initialised NVML never ends
  fail=nvmlInit_v2:9             it answers with this code (a number, or DRIVER_NOT_LOADED); ...@2:15 for GPU 2 only
  lost=2                         GPU 2 has fallen off the bus (or its UUID or PCI bus id)
  process=MIG-<uuid>:4711        this process computes on that device; graphics= it draws, mps= it computes by MPS
A function's name without its _v2 means every version. hang, fail, lost and process add up; an empty value (hang=,
process= for all three kinds) clears. GPUs are counted as NVML does: by PCI bus id, without excluded ones.

Trace: after `: > DIR/trace`, each NVML call appends `pid function gpu code`; code is - where it hangs.")]
    Set {
        /// Where it was laid out.
        dir: PathBuf,
        /// What to set.
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fake-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Up { node, dir, again } => {
            let up = if again {
                let up = Node::open(&dir)?;
                up.repartition(&NodeSpec::read(&node)?)?;
                up
            } else {
                fake_node::up(&node, &dir)?
            };
            let (gpus, devices) = (up.state()?.gpus.len(), up.devices()?.len());
            println!(
                "{}: {gpus} GPUs, {devices} MIG devices; --config {}",
                dir.display(),
                up.config().display()
            );
            Ok(())
        }
        Command::Down { dir } => fake_node::down(&dir),
        Command::Set { dir, settings } => {
            let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
            Node::open(&dir)?.set(&settings)
        }
    }
}
