//! What a program asks of the kernel, as strace sees it.

use std::fs;
use std::process::{Command, Stdio};

use super::scratch::Scratch;

/// Every call that names a file, maps one, makes a process or a socket, or reads, from the program's first on to its
/// good end.
#[track_caller]
pub fn calls(command: &Command, stdin: impl Into<Stdio>) -> Vec<String> {
    let folder = Scratch::new("trace");
    let trace = folder.join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-e"]);
    strace.args(["trace=%file,%network,%process,mmap,read", "-o"]);
    strace.arg(&trace).arg(command.get_program());
    strace.args(command.get_args());
    let set = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    strace.envs(set);
    // An engine's programs don't have it, cargo's tests do.
    strace.env_remove("LD_LIBRARY_PATH");
    let status = strace.stdin(stdin).stdout(Stdio::null()).status();
    let status = status.expect("strace (run tests/setup)");
    assert!(status.success(), "strace of {command:?}: {status}");
    let text = fs::read_to_string(&trace).expect("a trace");
    let calls = text
        .lines()
        .map(|line| line.split_once(' ').expect("a pid").1.trim());
    let calls = calls.filter(|call| !is_memory(call));
    calls.map(str::to_owned).collect()
}

/// A mapping of no file, or a question about one that is open already.
fn is_memory(call: &str) -> bool {
    call.starts_with("mmap(") && call.contains("MAP_ANONYMOUS") || call.contains(", \"\", ")
}

/// Of these calls the loader's, to its last library, and then the program's own, to the end or to where it becomes
/// another program.
#[track_caller]
pub fn loader_and_program(calls: &[String]) -> (&[String], &[String]) {
    let becomes = |call: &String| call.starts_with("execve(");
    assert!(calls.first().is_some_and(becomes), "{calls:#?}");
    let end = calls[1..]
        .iter()
        .position(becomes)
        .map_or(calls.len(), |next| next + 1);
    let maps = |call: &String| call.starts_with("mmap(");
    let loaded = calls[..end].iter().rposition(maps).unwrap_or(0);
    calls[..end].split_at(loaded + 1)
}

/// Rust's runtime looks up where its stack ends, before any program's first line.
pub fn is_of_rust(call: &str) -> bool {
    call.contains("\"/proc/self/maps\"") || call.starts_with("read(3, ")
}
