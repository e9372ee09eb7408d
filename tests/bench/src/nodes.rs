//! More nodes than the one that is measured on: another size, a slow driver, a ledger that has seen much.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fake_node::{GpuSpec, InstanceSpec, Node, NodeSpec};

/// How many leases a large node's ledger holds.
pub const LEASES: usize = 112;

/// How many files writers have left behind in it that crashed.
pub const LEFTOVERS: u32 = 10_000;

/// A node of as many GPUs of seven devices each, in a folder of its own below `folder`. Its ledger is at `ledger`.
pub fn of(gpus: usize, folder: &Path, ledger: &Path) -> Result<Node> {
    let instance = InstanceSpec {
        profile: "1g.10gb".to_owned(),
        ..Default::default()
    };
    let gpu = GpuSpec {
        model: Some("h100-80gb".to_owned()),
        instances: vec![instance; 7],
        ..Default::default()
    };
    let spec = NodeSpec {
        gpus: vec![gpu; gpus],
        ..Default::default()
    };
    let node = fake_node::up_spec(&spec, &folder.join(format!("node-{gpus}")))?;
    let config = fs::read_to_string(node.config())?;
    let old = config
        .lines()
        .find(|line| line.starts_with("dir = "))
        .context("ledger.dir")?;
    fs::write(node.config(), config.replace(old, &format!("dir = {ledger:?}")))?;
    Ok(node)
}

/// A configuration of the node's by which containers are given the driver's files, which lie below `folder`.
pub fn with_driver_files(node: &Node, folder: &Path) -> Result<PathBuf> {
    let root = folder.join("driver");
    if !root.exists() {
        fs::create_dir(&root)?;
        fake_node::plant_driver(&root, &node.state()?.driver)?;
    }
    let text = fs::read_to_string(node.config())?;
    let lines = text.lines().map(|line| match line.split(" = ").next() {
        Some("files") => "files = \"host\"".to_owned(),
        Some("root") => format!("root = {root:?}"),
        _ => line.to_owned(),
    });
    let config = folder.join("driver-files.toml");
    fs::write(&config, lines.collect::<Vec<_>>().join("\n"))?;
    Ok(config)
}

/// Leaves files in the ledger as a program of before did that was killed while it wrote.
pub fn leave_behind(ledger: &Path) -> Result<()> {
    for number in 0..LEFTOVERS {
        fs::write(ledger.join(format!("leases/.{number:032x}.new")), "{")?;
    }
    Ok(())
}

/// How many of them there are.
pub fn left_behind(ledger: &Path) -> Result<usize> {
    let names = fs::read_dir(ledger.join("leases"))?;
    let names = names
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"."));
    Ok(names.count())
}
