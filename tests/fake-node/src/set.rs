//! Faults, set while a node is up: `init_ms=500`, `hang=nvmlDeviceGetUUID`, `lost=3`.

use anyhow::{Context, Result, bail, ensure};
use fake_nvml::code::Code;
use fake_nvml::exports::is_exported;
use fake_nvml::session::EXIT;
use fake_nvml::state::{Fail, Process, State, Target, Work};

/// Applies one `KEY=VALUE`. Lists grow by one with each; an empty value clears them.
pub fn apply(state: &mut State, setting: &str) -> Result<()> {
    let (key, value) = setting.split_once('=').context("a setting is KEY=VALUE")?;
    let faults = &mut state.faults;
    match key {
        "init_ms" => faults.init_ms = milliseconds(value)?,
        "first_touch_ms" => faults.first_touch_ms = milliseconds(value)?,
        "needs_attach" => faults.needs_attach = !value.is_empty() && value != "0",
        "hang" if value.is_empty() => faults.hang.clear(),
        "hang" => {
            let target = target(value, state)?;
            state.faults.hang.push(target);
        }
        "fail" if value.is_empty() => faults.fail.clear(),
        "fail" => {
            let fail = fail(value, state)?;
            state.faults.fail.push(fail);
        }
        "lost" if value.is_empty() => faults.lost.clear(),
        "lost" => {
            let gpu = gpu(value, state)?;
            state.faults.lost.push(gpu);
        }
        "process" if value.is_empty() => state.processes.clear(),
        "process" | "graphics" | "mps" => {
            let work = match key {
                "graphics" => Work::Graphics,
                "mps" => Work::Mps,
                _ => Work::Compute,
            };
            let process = process(value, work, state)?;
            state.processes.push(process);
        }
        _ => bail!(
            "no setting '{key}'; there are init_ms, first_touch_ms, needs_attach, hang, fail, lost, process, \
             graphics, mps"
        ),
    }
    Ok(())
}

fn milliseconds(value: &str) -> Result<u64> {
    if value.is_empty() {
        return Ok(0);
    }
    value
        .parse()
        .with_context(|| format!("'{value}' is no number of milliseconds"))
}

/// `nvmlDeviceGetUUID`, or `nvmlDeviceGetUUID@3` for GPU 3 only.
fn target(value: &str, state: &State) -> Result<Target> {
    let (function, on) = match value.split_once('@') {
        Some((function, on)) => (function, Some(gpu(on, state)?)),
        None => (value, None),
    };
    ensure!(
        is_exported(function) || function == EXIT,
        "fake-nvml has no function {function}"
    );
    Ok(Target {
        function: function.to_owned(),
        gpu: on,
    })
}

/// `nvmlInit_v2:9`, `nvmlDeviceGetUUID@3:GPU_IS_LOST`.
fn fail(value: &str, state: &State) -> Result<Fail> {
    let (function, code) = value.split_once(':').context("fail is FUNCTION:CODE")?;
    let code = Code::parse(code).with_context(|| format!("NVML has no code {code}"))?;
    Ok(Fail {
        target: target(function, state)?,
        code: code.0,
    })
}

/// A GPU by NVML index, UUID or PCI bus id.
fn gpu(value: &str, state: &State) -> Result<u32> {
    let found = (0..).zip(&state.gpus).find(|(index, gpu)| {
        let (domain, bus, device) = gpu.pci;
        let bus_id = format!("{domain:04x}:{bus:02x}:{device:02x}.0");
        value == index.to_string() || value == gpu.uuid || value.eq_ignore_ascii_case(&bus_id)
    });
    found.map(|(index, _)| index).with_context(|| {
        format!(
            "no GPU '{value}' that NVML counts: give its index (0 to {}), UUID or PCI bus id",
            state.gpus.len() - 1
        )
    })
}

/// `MIG-<uuid>:4711`; the old form of UUID has no colon either.
fn process(value: &str, work: Work, state: &State) -> Result<Process> {
    let (device, pid) = value.rsplit_once(':').context("process is UUID:PID")?;
    let pid = pid.parse().with_context(|| format!("'{pid}' is no pid"))?;
    let known = state.gpus.iter().any(|gpu| {
        let mut compute = gpu.instances.iter().flat_map(|gi| &gi.compute);
        gpu.uuid == device || compute.any(|ci| ci.uuid == device)
    });
    ensure!(known, "no device {device} on this node");
    Ok(Process {
        work,
        device: device.to_owned(),
        pid,
    })
}
