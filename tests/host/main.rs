//! What the program sees of a machine: what it remembers, what it checks, and what it says of it. On simulated nodes.

mod check;
mod driver_files;
mod facts;
mod refresh;
mod snapshot;
mod snapshot_writing;
mod stuck;
mod users;
mod whole;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fake_node::{GpuSpec, InstanceSpec, NodeSpec, Scratch};
use oci_mig_hook::config::Config;
use oci_mig_hook::host::Host;
use oci_mig_hook::mig::Inventory;

const PROGRAM: &str = env!("CARGO_BIN_EXE_oci-mig-hook");

/// One of tests/nodes.
fn node(name: &str) -> Scratch {
    Scratch::up(name).expect("a node: run the tests as root")
}

/// One A100 80GB cut so.
fn cut(instances: Vec<InstanceSpec>) -> NodeSpec {
    let gpu = GpuSpec {
        instances,
        ..Default::default()
    };
    NodeSpec {
        gpus: vec![gpu],
        ..Default::default()
    }
}

/// An instance of that profile, wherever there is room.
fn instance(profile: &str) -> InstanceSpec {
    InstanceSpec {
        profile: profile.to_owned(),
        ..Default::default()
    }
}

fn up(spec: &NodeSpec) -> Scratch {
    Scratch::up_spec(spec).expect("a node: run the tests as root")
}

/// The program, with that node's configuration.
fn program(node: &Scratch, words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(words).arg("--config").arg(node.config());
    command
}

#[track_caller]
fn ok(command: &mut Command) -> String {
    let output = command.output().expect("the program under test");
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("text")
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{}: {}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
}

/// This process's own view of that node.
fn host(node: &Scratch) -> Host {
    Host::new(&Config::load(Some(&node.config())).expect("the node's configuration"))
}

fn remembered(node: &Scratch) -> Option<Inventory> {
    use oci_mig_hook::mig::Gpus;
    host(node).remembered()
}

/// The ledger's folder.
fn ledger(node: &Scratch) -> PathBuf {
    node.dir().join("run")
}

/// The file in which the inventory is remembered.
fn file(node: &Scratch) -> PathBuf {
    ledger(node).join("inventory.json")
}

/// What lies in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    names
}
