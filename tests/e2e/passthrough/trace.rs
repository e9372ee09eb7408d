//! What the program asks of the kernel for a container that did not ask, as strace sees it.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use serde_json::json;

use super::{Broken, STATE_STAGES, config};
use crate::support::machine::PROGRAM;

/// Every call that names a file, maps one, makes a process or a socket, or reads, from the program's first on.
fn calls(broken: &Broken, stage: &str, document: &str) -> Vec<String> {
    let folder = &broken.0;
    let (document, trace) = (folder.file("document", document), folder.join("trace"));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-e"]);
    strace.args(["trace=%file,%network,%process,mmap,read", "-o"]);
    strace.arg(&trace).arg(PROGRAM).args(broken.arguments(stage));
    // An engine's hooks don't have it, cargo's tests do.
    strace.env_remove("LD_LIBRARY_PATH");
    strace
        .stdin(File::open(document).expect("a file of ours"))
        .stdout(Stdio::null());
    let status = strace.status().expect("strace (run tests/setup)");
    assert!(status.success(), "strace of {stage}: {status}");
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

/// Rust's runtime looks up where its stack ends, before any program's first line.
fn is_of_rust(call: &str) -> bool {
    call.contains("\"/proc/self/maps\"") || call.starts_with("read(3, ")
}

/// From the loader's last library on, the program does nothing but read its standard input to the end, and end.
#[track_caller]
fn opens_nothing(broken: &Broken, stage: &str, document: &str) {
    let calls = calls(broken, stage, document);
    assert!(calls[0].starts_with("execve("), "{stage}: {calls:#?}");
    let loaded = calls
        .iter()
        .rposition(|call| call.starts_with("mmap("))
        .unwrap_or(0);
    let (loader, program) = calls.split_at(loaded + 1);
    let reads = |call: &String| call.starts_with("read(0, ");
    assert!(
        !loader.iter().any(reads),
        "{stage}: it maps a file while it works: {calls:#?}"
    );
    let work = program.iter().position(reads).expect("it reads its input");
    let (start, work) = program.split_at(work);
    let before: Vec<_> = start.iter().filter(|call| !is_of_rust(call)).collect();
    assert!(before.is_empty(), "{stage}: {before:#?}");
    let end = |call: &String| call.starts_with("exit_group(0)");
    let other: Vec<_> = work.iter().filter(|call| !reads(call) && !end(call)).collect();
    assert!(other.is_empty(), "{stage}: {other:#?}");
}

#[test]
fn precreate_opens_nothing_and_starts_nothing() {
    let broken = Broken::new();
    opens_nothing(&broken, "precreate", r#"{"ociVersion":"1.0.2-dev"}"#);
    // "mig." stands in it, so it must be looked at closely.
    let text = config(&json!({"mig.example.com/x": "1g.10gb"})).to_string();
    opens_nothing(&broken, "precreate", &text);
}

#[test]
fn the_other_stages_open_nothing_and_start_nothing() {
    let broken = Broken::new();
    for stage in STATE_STAGES {
        for annotations in [json!(null), json!({"mig.example.com/x": "1g.10gb"})] {
            let state = json!({"ociVersion": "1.0.2-dev", "id": "a", "status": "creating", "pid": 1,
                               "bundle": "/no/such/bundle", "annotations": annotations});
            opens_nothing(&broken, stage, &state.to_string());
        }
    }
}

/// The trace shows what it is to show: a container that asks makes the program open things.
#[test]
fn a_container_that_asks_is_seen_to_open_something() {
    let machine = crate::support::machine::Machine::named("one-gpu");
    let broken = Broken::new();
    fs::copy(machine.config(), broken.0.join("config.toml")).expect("config.toml");
    let state = json!({"ociVersion": "1.0.2-dev", "id": "a", "status": "stopped", "bundle": "/no/such/bundle",
                       "annotations": {"mig.profile": "1g.10gb"}});
    let calls = calls(&broken, "poststop", &state.to_string());
    let reads = calls
        .iter()
        .position(|call| call.starts_with("read(0, "))
        .expect("it reads its input");
    let opened = calls[reads..].iter().any(|call| call.contains("config.toml"));
    assert!(opened, "{calls:#?}");
}
