//! Tries oci-mig-hook on a machine with a real NVIDIA driver, and prints what each step of it costs: `tests/hardware/run`.
//!
//! It changes no setting of any GPU: it takes a lease on one device that is free, as any container does, and gives it back.
//!
//! ```text
//! machine.rs    this machine: its programs, what status says of it
//! container.rs  a root file system with glibc and nothing of NVIDIA's, and containers in it
//! judge.rs      what a container is to have seen
//! nvml.rs       what each step of NVML costs
//! stages.rs     what a reservation costs, and giving back
//! ```

mod container;
mod judge;
mod machine;
mod nvml;
mod stages;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use container::Container;
use machine::{Device, Machine};

/// What was typed; `run --help` explains it.
struct Options {
    programs: Option<PathBuf>,
    runtime: Option<PathBuf>,
    config: Option<PathBuf>,
    nvml: OsString,
    rounds: usize,
    /// There is no GPU behind the driver's files: its own answer that there is none is as good as a result.
    without_gpu: bool,
}

impl Options {
    fn read(mut args: impl Iterator<Item = OsString>) -> Result<Options> {
        let mut options = Options {
            programs: None,
            runtime: None,
            config: None,
            nvml: "libnvidia-ml.so.1".into(),
            rounds: 20,
            without_gpu: false,
        };
        while let Some(word) = args.next() {
            if word == "--without-gpu" {
                options.without_gpu = true;
                continue;
            }
            let value = args.next().with_context(|| format!("{word:?} wants a value"))?;
            match word.to_str() {
                Some("--programs") => options.programs = Some(value.into()),
                Some("--runtime") => options.runtime = Some(value.into()),
                Some("--config") => options.config = Some(value.into()),
                Some("--nvml") => options.nvml = value,
                Some("--rounds") => {
                    let rounds = value.to_str().and_then(|text| text.parse().ok());
                    options.rounds = rounds
                        .filter(|rounds| *rounds > 0)
                        .context("--rounds wants a number")?;
                }
                _ => bail!("there is no {word:?}: see tests/hardware/run --help"),
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let outcome = match args.next() {
        Some(word) if word == nvml::STEPS => nvml::steps(args),
        first => Options::read(first.into_iter().chain(args)).and_then(|options| tried(&options)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tests/hardware/run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tried(options: &Options) -> Result<()> {
    let machine = Machine::look(options)?;
    println!("{}", machine.describe()?);
    let device = machine.free_device()?;
    println!("takes {} ({}) on GPU {}", device.name, device.profile, device.gpu);
    let container = Container::new(&machine, &device)?;
    let smi = container.run(&["/usr/bin/nvidia-smi", "-L"])?;
    let cuda = container.run(&["/cuda-in-container"])?;
    match options.without_gpu {
        false => {
            println!("nvidia-smi: {}", judge::nvidia_smi(&device, &smi)?);
            println!("CUDA: {}", judge::cuda(&device, &cuda)?);
        }
        true => println!("without a GPU: {}", judge::without_gpu(&device, &smi, &cuda)?),
    }
    let left = machine.holders(&device)?;
    ensure!(left.is_empty(), "{} was not given back: {left}", device.name);
    println!("given back: {}", device.name);
    costs(options, &machine, &device)
}

fn costs(options: &Options, machine: &Machine, device: &Device) -> Result<()> {
    println!("\n{:<56} {:>9} {:>9}", "what it costs", "min ms", "median ms");
    for (what, times) in nvml::measured(machine, device, &options.nvml, options.rounds)? {
        row(&what, times)?;
    }
    for (what, times) in stages::measured(machine, device, options.rounds)? {
        row(&what, times)?;
    }
    Ok(())
}

fn row(what: &str, mut times: Vec<Duration>) -> Result<()> {
    times.sort();
    let (first, median) = (times.first(), times.get(times.len() / 2));
    let (first, median) = first.zip(median).context("nothing was measured")?;
    let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
    println!("{what:<56} {:>9.2} {:>9.2}", ms(first), ms(median));
    Ok(())
}
