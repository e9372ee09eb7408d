//! What each step of NVML costs here, each time in a process of its own: NVML keeps what it has found.

use std::ffi::{OsStr, OsString};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::InitFlags;

use crate::machine::{Device, Machine, said};

/// The word by which this program asks NVML in a child.
pub const STEPS: &str = "nvml-steps";

/// A step, and its times.
pub type Cost = (String, Vec<Duration>);

/// Each step by name, so many times, and the whole walk.
pub fn measured(machine: &Machine, device: &Device, library: &OsStr, rounds: usize) -> Result<Vec<Cost>> {
    let mut costs: Vec<Cost> = Vec::new();
    for attach in ["attaches all", "NO_ATTACH"] {
        let mut steps: Vec<Cost> = Vec::new();
        for _ in 0..rounds {
            for (what, nanoseconds) in asked(library, attach, device)? {
                let time = Duration::from_nanos(nanoseconds);
                match steps.iter_mut().find(|(known, _)| *known == what) {
                    Some((_, times)) => times.push(time),
                    None => steps.push((what, vec![time])),
                }
            }
        }
        costs.extend(
            steps
                .into_iter()
                .map(|(what, times)| (format!("NVML, init {attach}: {what}"), times)),
        );
    }
    let walk = (0..rounds)
        .map(|_| walk(machine, library))
        .collect::<Result<_>>()?;
    costs.push(("the walk of all devices, its process included".to_owned(), walk));
    Ok(costs)
}

fn asked(library: &OsStr, attach: &str, device: &Device) -> Result<Vec<(String, u64)>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(STEPS).arg(library);
    command.args([attach, &device.gpu.to_string(), &device.gpu_uuid, &device.name]);
    let output = command.output()?;
    ensure!(output.status.success(), "asking NVML: {}", said(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn walk(machine: &Machine, library: &OsStr) -> Result<Duration> {
    let started = Instant::now();
    let output = Command::new(machine.program("oci-mig-hook"))
        .arg("nvml-inventory")
        .arg(library)
        .output()?;
    ensure!(output.status.success(), "the walk: {}", said(&output));
    Ok(started.elapsed())
}

/// The child: `nvml-steps LIBRARY HOW INDEX GPU-UUID NAME`. Says each step's nanoseconds as JSON.
pub fn steps(args: impl Iterator<Item = OsString>) -> Result<()> {
    let words: Vec<OsString> = args.collect();
    let [library, attach, index, gpu, name] = words.as_slice() else {
        anyhow::bail!("this is for {STEPS} alone");
    };
    let text = |word: &OsString| word.to_str().map(str::to_owned).context("not UTF-8");
    let (gpu, name) = (text(gpu)?, text(name)?);
    let index: u32 = text(index)?.parse()?;
    let flags = match attach == "NO_ATTACH" {
        true => InitFlags::NO_GPUS | InitFlags::NO_ATTACH,
        false => InitFlags::NO_GPUS,
    };
    let mut costs: Vec<(&str, u64)> = Vec::new();
    let nvml = timed(&mut costs, "init", || {
        Nvml::builder().lib_path(library).flags(flags).init()
    })?;
    timed(&mut costs, "handle by index", || {
        nvml.device_by_index(index).map(|_| ())
    })?;
    timed(&mut costs, "handle by UUID of the GPU", || {
        nvml.device_by_uuid(gpu.as_str()).map(|_| ())
    })?;
    if name != gpu {
        timed(&mut costs, "handle by UUID of the MIG device", || {
            nvml.device_by_uuid(name.as_str()).map(|_| ())
        })?;
    }
    println!("{}", serde_json::to_string(&costs)?);
    Ok(())
}

fn timed<T, E>(
    costs: &mut Vec<(&'static str, u64)>,
    what: &'static str,
    step: impl FnOnce() -> Result<T, E>,
) -> Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let started = Instant::now();
    let answer = step().context(what);
    costs.push((what, u64::try_from(started.elapsed().as_nanos())?));
    answer
}
