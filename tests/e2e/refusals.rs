//! What can go wrong, each case told whole: one line with what, why and the remedy, its exit code, nothing for the
//! engine to go on with, and nothing lost or half done in the ledger.
//!
//! The stages are called as engines call them, with their document on standard input, on a simulated node.

mod annotations;
mod caller;
mod choice;
mod configuration;
mod deadline;
mod driver;
mod forged;
mod full_disk;
mod gpus;
mod ledger;
mod nodes;
mod privileged;
mod virtual_machine;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::bundle::Bundle;
use crate::support::machine::Machine;
use crate::support::process::Outcome;
use crate::support::scratch;

/// The exit codes, as the README's table has them.
const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const HOST: i32 = 3;

/// A request that `one-gpu` can meet.
const ASKS: &[(&str, &str)] = &[("mig.profile", "1g.10gb")];

/// Annotations, in any order.
pub(crate) type Annotations<'a> = &'a [(&'a str, &'a str)];

/// A config.json as Podman gives it to precreate, of another container each time.
pub(crate) fn config(annotations: Annotations) -> Value {
    let id = format!("{:064x}", 0xc0_ffee_u64 + u64::from(scratch::number()));
    let bundle = annotations.iter().fold(Bundle::new(), |bundle, (key, value)| {
        bundle.annotation(key, value)
    });
    let path = format!("/libpod_parent/libpod-{id}");
    bundle
        .with(|config| config["linux"]["cgroupsPath"] = path.into())
        .config
        .take()
}

/// A container's state as a runtime gives it to createRuntime. Its process is this very test.
fn state(annotations: Annotations) -> Value {
    let annotations: BTreeMap<_, _> = annotations.iter().copied().collect();
    json!({"ociVersion": "1.0.2-dev", "id": "lone", "status": "creating", "pid": std::process::id(),
           "bundle": "/no/such/bundle", "annotations": annotations})
}

/// One line with this text, this exit code, and nothing on standard output.
#[track_caller]
fn assert_says(outcome: &Outcome, code: i32, line: &str) {
    assert_eq!(outcome.stderr, format!("oci-mig-hook: {line}\n"), "{outcome}");
    assert_eq!(outcome.code(), code, "{outcome}");
    assert_eq!(outcome.stdout, "", "{outcome}");
}

/// Everything in the ledger's folder of leases, files that no lease is in too.
fn ledger(machine: &Machine) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(machine.ledger().join("leases"))
        .into_iter()
        .flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.map(|path| (path.clone(), contents(&path))).collect()
}

/// A file's; nothing where it is none, such as a fifo, which one could wait at for ever.
fn contents(path: &Path) -> Vec<u8> {
    match fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        true => fs::read(path).expect("a file"),
        false => Vec::new(),
    }
}

/// precreate refuses this document so, and the ledger stays as it was.
#[track_caller]
fn refuses_document(machine: &Machine, document: &Value, code: i32, line: &str) {
    let before = ledger(machine);
    assert_says(&machine.stage("precreate", &document.to_string()), code, line);
    assert!(
        ledger(machine) == before,
        "the ledger has changed: {:?}",
        ledger(machine).keys()
    );
}

/// precreate refuses a container with these annotations so, and the ledger stays as it was.
#[track_caller]
pub(crate) fn refuses(machine: &Machine, annotations: Annotations, code: i32, line: &str) {
    refuses_document(machine, &config(annotations), code, line);
}

/// precreate serves a container that asks for what there is: what was wrong is right again.
#[track_caller]
fn serves(machine: &Machine) -> Value {
    let outcome = machine.stage("precreate", &config(ASKS).to_string()).ok();
    assert_eq!(outcome.stderr, "", "{outcome}");
    serde_json::from_str(&outcome.stdout).expect("config.json")
}
