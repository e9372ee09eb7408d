//! The program itself as the observer, in namespaces that a test can't enter: what its `status` says of a lease.

use std::process::{Command, Output};

use oci_mig_hook::lease::{Lease, Ledger};
use serde_json::Value;

use crate::node::Scratch;

/// `held` or `pending` while it keeps its device, `releasing`, or `stale` when the next reservation takes it back.
/// `words` are what the program is run behind: `unshare ...`.
#[track_caller]
pub fn status_in(words: &[&str], lease: &Lease) -> String {
    let output = status(words, lease);
    let status: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)));
    // The scratch node has no driver, so that nothing is known of the lease's device.
    let device = &status["orphans"][0];
    assert_eq!(
        device["lease"]["id"].as_str(),
        Some(lease.id.to_string().as_str())
    );
    device["state"].as_str().unwrap().to_owned()
}

/// What the program says on standard error where it refuses to judge.
#[track_caller]
pub fn refusal_in(words: &[&str], lease: &Lease) -> String {
    let output = status(words, lease);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty(), "it judges: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn status(words: &[&str], lease: &Lease) -> Output {
    let scratch = Scratch::new();
    let (ledger, proc) = (scratch.path().join("run"), scratch.path().join("proc"));
    std::fs::create_dir(&proc).unwrap();
    Ledger::open(&ledger).unwrap().lock().unwrap().put(lease).unwrap();
    let config = scratch.path().join("config.toml");
    let text = format!("[driver]\nproc = {proc:?}\n[ledger]\ndir = {ledger:?}\n");
    std::fs::write(&config, text).unwrap();
    let program = [env!("CARGO_BIN_EXE_oci-mig-hook"), "status", "--json", "--config"];
    let mut words = words.iter().copied().chain(program);
    let first = words.next().unwrap();
    let mut command = Command::new(first);
    let command = command.args(words).arg(config);
    command
        .output()
        .unwrap_or_else(|why| panic!("{first}: {why}; run tests/setup"))
}
