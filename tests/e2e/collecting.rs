//! `gc` and `release`: what is taken back, from whom, and what is said of it. On real containers that ended without a word,
//! that live, and that left something behind.

mod gc;
mod release;

use serde_json::Value;

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::container::Container;
use crate::support::machine::Machine;
use crate::support::process::{Outcome, kill, run};
use crate::support::rootfs::SLEEP;
use crate::support::runtime::{Engine, Runtime};

const PROFILE: &str = "1g.10gb";

/// A machine with so many devices, and runc on it.
struct Place {
    machine: Machine,
    engine: Engine,
}

impl Place {
    fn new(devices: usize) -> Place {
        Place {
            machine: Machine::with(&vec![PROFILE; devices]),
            engine: Engine::new(Runtime::Runc, View::Host),
        }
    }

    /// A bundle of a container that asks for one device and sleeps.
    fn bundle(&self) -> Bundle {
        let bundle = self.machine.bundle().annotation("mig.profile", PROFILE);
        bundle.script(SLEEP).write()
    }

    /// That container, running.
    fn living<'a>(&'a self, bundle: &'a Bundle) -> Container<'a> {
        let mut container = self.engine.container(bundle);
        container.create().ok();
        container.start().ok();
        container
    }

    /// The same, ended: its runtime hasn't been told, so no hook has run.
    fn ended<'a>(&'a self, bundle: &'a Bundle) -> (Container<'a>, i32) {
        let container = self.living(bundle);
        let pid = container.pid();
        kill(pid);
        container.await_status("stopped");
        (container, pid)
    }

    fn call(&self, subcommand: &str, args: &[&str]) -> Outcome {
        run(self.machine.program(subcommand).args(args))
    }

    fn json(&self, subcommand: &str, args: &[&str]) -> Value {
        let outcome = self.call(subcommand, &[args, &["--json"]].concat()).ok();
        serde_json::from_str(&outcome.stdout).expect("JSON")
    }

    /// The devices, by the names that people see.
    fn devices(&self) -> Vec<String> {
        let status = self.machine.status();
        let devices = status["gpus"][0]["devices"].as_array().expect("devices");
        let uuid = |device: &Value| device["uuid"].as_str().expect("a uuid").to_owned();
        devices.iter().map(uuid).collect()
    }

    /// The device of that container, as status tells it.
    fn status_of(&self, container: &Container) -> Value {
        let mut status = self.machine.status();
        let devices = status["gpus"][0]["devices"].as_array_mut().expect("devices");
        let is_its = |device: &&mut Value| device["lease"]["holder"]["container"]["id"] == container.id();
        devices.iter_mut().find(is_its).expect("its device").take()
    }

    fn device_of(&self, container: &Container) -> String {
        let device = self.status_of(container);
        device["uuid"].as_str().expect("a uuid").to_owned()
    }

    fn lease_of(&self, container: &Container) -> String {
        let device = self.status_of(container);
        device["lease"]["id"].as_str().expect("an id").to_owned()
    }
}

fn short(container: &Container) -> String {
    container.id().chars().take(12).collect()
}
