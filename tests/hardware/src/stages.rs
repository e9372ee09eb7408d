//! What a whole reservation costs, from its process's start to its end, and giving it back.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::container::config;
use crate::machine::{Device, Machine, said};
use crate::nvml::Cost;

/// Reserves that device and gives it back, so many times.
pub fn measured(machine: &Machine, device: &Device, rounds: usize) -> Result<Vec<Cost>> {
    let (mut reserves, mut releases) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let id = format!("{:064x}", 0xface_u64 + round as u64);
        let mut asks = config(&machine.scratch.join("rootfs"), &id, &["true"], &device.name);
        asks["linux"]["cgroupsPath"] = format!("/libpod_parent/libpod-{id}").into();
        let (reserved, time) = called(machine.hook("precreate"), &asks)?;
        reserves.push(time);
        let edited: Value = serde_json::from_slice(&reserved.stdout)?;
        let lease = &edited["annotations"]["mig.lease"];
        let state = json!({"ociVersion": "1.0.2", "id": id, "status": "stopped", "bundle": machine.scratch,
                           "annotations": {"mig.lease": lease}});
        releases.push(called(machine.hook("poststop"), &state)?.1);
        let left = machine.holders(device)?;
        ensure!(left.is_empty(), "{} was not given back: {left}", device.name);
    }
    Ok(vec![
        ("the whole reservation (precreate)".to_owned(), reserves),
        ("giving it back (poststop)".to_owned(), releases),
    ])
}

fn called(mut command: Command, document: &Value) -> Result<(Output, Duration)> {
    let started = Instant::now();
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().context("oci-mig-hook")?;
    let mut stdin = child.stdin.take().context("standard input")?;
    stdin.write_all(document.to_string().as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let time = started.elapsed();
    ensure!(output.status.success(), "{command:?}: {}", said(&output));
    Ok((output, time))
}
