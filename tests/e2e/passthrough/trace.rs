//! What the program asks of the kernel for a container that did not ask, as strace sees it.

use std::fs::{self, File};
use std::process::Command;

use serde_json::json;

use super::{Broken, STATE_STAGES, config};
use crate::support::machine::{Machine, PROGRAM};
use crate::support::trace;

/// The stage's calls, with this document on its standard input.
fn calls(broken: &Broken, stage: &str, document: &str) -> Vec<String> {
    let document = File::open(broken.0.file("document", document)).expect("a file of ours");
    trace::calls(Command::new(PROGRAM).args(broken.arguments(stage)), document)
}

/// From the loader's last library on, the program does nothing but read its standard input to the end, and end.
#[track_caller]
fn opens_nothing(broken: &Broken, stage: &str, document: &str) {
    let calls = calls(broken, stage, document);
    let (loader, program) = trace::loader_and_program(&calls);
    let reads = |call: &String| call.starts_with("read(0, ");
    assert!(
        !loader.iter().any(reads),
        "{stage}: it maps a file while it works: {calls:#?}"
    );
    let work = program.iter().position(reads).expect("it reads its input");
    let (start, work) = program.split_at(work);
    let before: Vec<_> = start.iter().filter(|call| !trace::is_of_rust(call)).collect();
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
    let machine = Machine::named("one-gpu");
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
