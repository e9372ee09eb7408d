//! `mig.wait`: who waits is served in the order in which they came, wakes by itself when something comes free, and is nobody
//! else's burden.
//!
//! Waiters are real processes of the program, called as Podman calls it before a container exists; engines' own stories are in
//! `engines`.

mod engines;
mod queue;
mod words;

use std::fs;

use serde_json::{Value, json};

use crate::refusals::{Annotations, config};
use crate::support::machine::Machine;
use crate::support::process::{DEADLINE, Outcome, Running, kill, start, until};

const PROFILE: (&str, &str) = ("mig.profile", "1g.10gb");

/// A container that asks, and its call.
struct Asking<'a> {
    machine: &'a Machine,
    id: String,
    call: Running,
}

/// A container that was served.
struct Served {
    id: String,
    lease: String,
    device: String,
}

/// Calls precreate for a new container.
fn ask<'a>(machine: &'a Machine, annotations: Annotations) -> Asking<'a> {
    let config = config(annotations);
    let path = config["linux"]["cgroupsPath"].as_str().expect("a cgroup");
    let id = path.rsplit("libpod-").next().expect("an id").to_owned();
    let call = start(&mut machine.program("precreate"), Some(&config.to_string()));
    Asking { machine, id, call }
}

/// The same, waiting for as long as `wait` says; it has its place when this returns.
fn wait<'a>(machine: &'a Machine, wait: &str) -> Asking<'a> {
    let mut asking = ask(machine, &[PROFILE, ("mig.wait", wait)]);
    asking.await_place();
    asking
}

/// What still waits when a story has ended would wait for as long as it was told.
impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.call.is_running() {
            kill(self.call.pid());
        }
    }
}

impl Asking<'_> {
    fn await_place(&mut self) {
        let id = self.id.clone();
        until("a place in the queue", || {
            waiting(self.machine)
                .iter()
                .any(|ticket| ticket["container"] == id)
                || !self.call.is_running()
        });
        assert!(self.call.is_running(), "{}", self.call.wait(DEADLINE));
    }

    fn end(&mut self) -> Outcome {
        self.call.wait(DEADLINE)
    }

    fn served(mut self) -> Served {
        let outcome = self.end().ok();
        let config: Value = serde_json::from_str(&outcome.stdout).expect("config.json");
        let lease = config["annotations"]["mig.lease"]
            .as_str()
            .expect("a lease")
            .to_owned();
        let env = config["process"]["env"].as_array().expect("an environment");
        let name = "NVIDIA_VISIBLE_DEVICES=";
        let device = env
            .iter()
            .filter_map(Value::as_str)
            .find_map(|entry| entry.strip_prefix(name));
        Served {
            id: self.id.clone(),
            lease,
            device: device.expect("a device").to_owned(),
        }
    }
}

impl Served {
    /// Its container's end is announced.
    fn give_back(&self, machine: &Machine) {
        let state = json!({"ociVersion": "1.0.2-dev", "id": self.id, "status": "stopped", "bundle": "/no/such/bundle",
                           "annotations": {"mig.lease": self.lease}});
        machine.stage("poststop", &state.to_string()).ok();
    }
}

/// The tickets, first come first.
fn waiting(machine: &Machine) -> Vec<Value> {
    let folder = machine.ledger().join("waiting");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path| serde_json::from_str(&fs::read_to_string(path).ok()?).ok();
    paths.into_iter().filter_map(read).collect()
}
