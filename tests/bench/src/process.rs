//! One run of a program: its wall time, its peak memory, what it said.

use std::fs;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, set_child_subreaper};

/// What a run was.
#[derive(Debug)]
pub struct Run {
    /// From before the program is started until it has been waited for.
    pub wall: Duration,
    /// The most memory that it, or a child that it left behind, had resident, in KiB. No less than what this
    /// program has: the kernel counts from before the exec.
    pub peak_kib: u64,
    /// Its standard output.
    pub output: Vec<u8>,
}

/// Runs a program with this standard input, and fails where it does. What it leaves behind is waited for, outside of
/// the time: the next run has the machine to itself.
pub fn run(command: &mut Command, input: &[u8]) -> Result<Run> {
    command
        .stdin(filled_pipe(input)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let before = children()?;
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    let (status, peak) = wait(child.id())?;
    let wall = started.elapsed();
    let mut output = Vec::new();
    let mut errors = String::new();
    // What is left behind has closed its ends: it must not keep anything of an engine's open.
    if let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) {
        out.read_to_end(&mut output)?;
        err.read_to_string(&mut errors)?;
    }
    let peak_kib = reap_orphans(&before)?.max(peak);
    ensure!(
        status == 0,
        "{command:?}: wait status {status}: {}",
        errors.trim_end()
    );
    Ok(Run {
        wall,
        peak_kib,
        output,
    })
}

/// From now on, what a program leaves behind becomes this one's child, and can be waited for.
pub fn adopt_orphans() -> Result<()> {
    Ok(set_child_subreaper(Some(Pid::INIT))?)
}

/// A pipe with a whole document in it, as an engine's is by the time its hook reads.
fn filled_pipe(input: &[u8]) -> Result<Stdio> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    // As much as a pipe takes without a reader.
    ensure!(input.len() <= 64 << 10, "a document of {} bytes", input.len());
    fs::File::from(write).write_all(input)?;
    Ok(Stdio::from(read))
}

fn children() -> Result<Vec<u32>> {
    let text = fs::read_to_string("/proc/thread-self/children").context("this kernel lists no children")?;
    Ok(text
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect())
}

/// Waits for all children that weren't there before; the most memory that any had.
fn reap_orphans(before: &[u32]) -> Result<u64> {
    let mut peak = 0;
    for orphan in children()?.into_iter().filter(|pid| !before.contains(pid)) {
        peak = peak.max(wait(orphan)?.1);
    }
    Ok(peak)
}

/// A child's wait status and its peak memory in KiB.
fn wait(pid: u32) -> Result<(i32, u64)> {
    let pid = libc::pid_t::try_from(pid)?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to variables of ours, of the types that wait4 fills.
    let waited = unsafe { libc::wait4(pid, &mut status, 0, usage.as_mut_ptr()) };
    ensure!(waited == pid, "wait4({pid}): {}", std::io::Error::last_os_error());
    // SAFETY: all zeroes is a value of this struct of integers, and the kernel has filled it since.
    let usage = unsafe { usage.assume_init() };
    Ok((status, u64::try_from(usage.ru_maxrss)?))
}
