//! How a run is measured: by the clock, or by counting its instructions.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{self, Run};

/// A way to measure.
#[derive(Debug)]
pub enum Meter {
    /// Wall time and memory.
    Clock,
    /// Instructions of the program itself, by valgrind's callgrind; not of its children.
    Callgrind {
        /// The library that lets a program re-execute itself under valgrind.
        preload: PathBuf,
        /// Where valgrind writes what it found.
        report: PathBuf,
    },
}

/// What was measured.
#[derive(Debug)]
pub struct Figures {
    /// Under [`Meter::Callgrind`], zero otherwise.
    pub instructions: u64,
    /// Under [`Meter::Clock`] only.
    pub wall: Duration,
    /// Under [`Meter::Clock`] only.
    pub peak_kib: u64,
    /// What the program said.
    pub output: Vec<u8>,
}

impl Meter {
    /// Counts instructions; `programs` is where this workspace is built to, `folder` takes a file of ours.
    pub fn callgrind(programs: &Path, folder: &Path) -> Meter {
        Meter::Callgrind {
            preload: programs.join("libself_exe.so"),
            report: folder.join("callgrind.out"),
        }
    }

    /// Runs a program with this standard input; fails where it does.
    pub fn measure(&self, command: &mut Command, input: &[u8]) -> Result<Figures> {
        match self {
            Meter::Clock => Ok(figures(process::run(command, input)?, 0)),
            Meter::Callgrind { report, .. } => count(under_callgrind(command, report), input, report),
        }
    }

    /// The same for a program that re-executes itself. Its child runs free of valgrind.
    pub fn measure_with_child(&self, command: &mut Command, input: &[u8]) -> Result<Figures> {
        match self {
            Meter::Clock => self.measure(command, input),
            Meter::Callgrind { preload, report } => {
                let mut valgrind = under_callgrind(command, report);
                valgrind.env("LD_PRELOAD", preload);
                count(valgrind, input, report)
            }
        }
    }
}

fn count(mut valgrind: Command, input: &[u8], report: &Path) -> Result<Figures> {
    let run = process::run(&mut valgrind, input).context("under valgrind")?;
    Ok(figures(run, instructions(report)?))
}

fn figures(run: Run, instructions: u64) -> Figures {
    Figures {
        instructions,
        wall: run.wall,
        peak_kib: run.peak_kib,
        output: run.output,
    }
}

fn under_callgrind(command: &Command, report: &Path) -> Command {
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(report);
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--quiet", "--trace-children=no"])
        .arg(out)
        .arg(command.get_program())
        .args(command.get_args());
    valgrind
}

fn instructions(report: &Path) -> Result<u64> {
    let text = fs::read_to_string(report).with_context(|| report.display().to_string())?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    match total.map(|count| count.trim().parse()) {
        Some(Ok(count)) => Ok(count),
        _ => bail!("{}: valgrind's report has no total", report.display()),
    }
}
