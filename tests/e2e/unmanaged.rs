//! Devices that are free by the ledger, and that somebody uses all the same: started by hand, or by NVIDIA's own runtime.

use std::fs;
use std::process::{Child, Command};

use crate::support::bundle::Bundle;
use crate::support::machine::Machine;
use crate::support::process::{Outcome, run_with};
use crate::support::runtime::{Engine, Runtime};
use crate::support::scratch::{self, Scratch};

/// A process of that name that uses a device of the machine; ended when dropped.
struct User {
    child: Child,
    /// Where its program is.
    _folder: Scratch,
}

impl User {
    fn of(machine: &Machine, device: usize, name: &str) -> User {
        let folder = Scratch::new("program");
        fs::copy("/bin/sleep", folder.join(name)).expect("a program");
        let child = Command::new(folder.join(name))
            .arg("1000")
            .spawn()
            .expect("a process");
        let uuid = &machine.devices().expect("devices")[device].uuid;
        machine
            .set(&[&format!("process={uuid}:{}", child.id())])
            .expect("a process on a device");
        User {
            child,
            _folder: folder,
        }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, and with it its use of the device.
    fn end(mut self, machine: &Machine) {
        self.child.kill().expect("kill");
        self.child.wait().expect("its end");
        machine.set(&["process="]).expect("no process");
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reserves for a container that asks so, whose maker is this test.
fn ask(machine: &Machine, annotations: &[(&str, &str)]) -> Outcome {
    let id = format!("{:064x}", 0xfeed_u64 + u64::from(scratch::number()));
    let bundle = annotations.iter().fold(Bundle::new(), |bundle, (key, value)| {
        bundle.annotation(key, value)
    });
    let path = format!("/libpod_parent/libpod-{id}");
    let config = bundle
        .with(|config| config["linux"]["cgroupsPath"] = path.into())
        .config
        .take();
    run_with(&mut machine.program("precreate"), &config.to_string())
}

/// The device that a container was given, by its place among the machine's.
#[track_caller]
fn given(machine: &Machine, outcome: Outcome) -> usize {
    let edited = outcome.ok().stdout;
    let devices = machine.devices().expect("devices");
    let given = |device: &fake_node::Device| edited.contains(&format!("VISIBLE_DEVICES={}", device.uuid));
    devices
        .iter()
        .position(given)
        .unwrap_or_else(|| panic!("{edited}"))
}

const ONE: &[(&str, &str)] = &[("mig.profile", "1g.10gb")];

#[test]
fn it_is_passed_over_and_named_where_no_other_is_free() {
    let machine = Machine::with(&["1g.10gb"; 2]);
    let user = User::of(&machine, 0, "trainer");
    assert_eq!(given(&machine, ask(&machine, ONE)), 1);
    let refusal = ask(&machine, ONE);
    assert_eq!(refusal.code(), 1, "{refusal}");
    let named = format!("process {} (trainer) outside any lease", user.pid());
    assert!(
        refusal
            .stderr
            .starts_with("oci-mig-hook: no free 1g.10gb: 2 of 2 held ("),
        "{refusal}"
    );
    assert!(refusal.stderr.contains(&named), "{refusal}");
    assert_eq!(machine.leases(), 1, "nothing of the tries stays");

    user.end(&machine);
    assert_eq!(given(&machine, ask(&machine, ONE)), 0);
}

#[test]
fn several_are_given_without_it_or_not_at_all() {
    let machine = Machine::with(&["1g.10gb"; 3]);
    let user = User::of(&machine, 1, "trainer");
    let three = [("mig.profile", "1g.10gb"), ("mig.count", "3")];
    let refusal = ask(&machine, &three).failed();
    let named = format!("process {} (trainer)", user.pid());
    assert!(refusal.stderr.contains(&named), "{refusal}");
    assert_eq!(machine.leases(), 0);
    let two = [("mig.profile", "1g.10gb"), ("mig.count", "2")];
    let devices = machine.devices().expect("devices");
    let edited = ask(&machine, &two).ok().stdout;
    let both = format!("VISIBLE_DEVICES={},{}", devices[0].uuid, devices[2].uuid);
    assert!(edited.contains(&both), "{edited}");
}

#[test]
fn the_device_that_is_asked_for_by_name() {
    let machine = Machine::with(&["1g.10gb"; 2]);
    let user = User::of(&machine, 0, "trainer");
    let uuid = machine.devices().expect("devices")[0].uuid.clone();
    let refusal = ask(&machine, &[("mig.device", &uuid)]).failed();
    let named = format!("process {} (trainer)", user.pid());
    assert!(refusal.stderr.contains(&named), "{refusal}");
}

/// The next size is taken where the one that fits best is in use.
#[test]
fn a_larger_one_where_that_suffices() {
    let machine = Machine::with(&["1g.10gb", "2g.20gb"]);
    let devices = machine.devices().expect("devices");
    let small = devices
        .iter()
        .position(|device| device.profile == "1g.10gb")
        .expect("one");
    let _user = User::of(&machine, small, "trainer");
    assert_eq!(
        given(&machine, ask(&machine, &[("mig.memory", "5GB")])),
        1 - small
    );
}

#[test]
fn where_it_is_ignored_it_is_given() {
    let machine = Machine::with(&["1g.10gb"]);
    machine.configure("unmanaged", "\"ignore\"");
    let _user = User::of(&machine, 0, "trainer");
    machine.start_trace().expect("a trace");
    assert_eq!(given(&machine, ask(&machine, ONE)), 0);
    let asks = |line: &fake_node::TraceLine| line.function.contains("RunningProcesses");
    assert!(!machine.trace().expect("a trace").iter().any(asks));
}

/// A container's own process on its own device is no stranger, and what uses a GPU beside it is no matter of it.
#[test]
fn a_holder_uses_what_it_holds() {
    let machine = Machine::with(&["1g.10gb"; 2]);
    let view = Runtime::Runc.views()[0];
    let engine = Engine::new(Runtime::Runc, view);
    let bundle = machine
        .bundle()
        .annotation("mig.profile", "1g.10gb")
        .script("sleep 1000")
        .write();
    let mut container = engine.container(&bundle);
    container.create().ok();
    container.start().ok();
    let held = machine.taken().into_keys().next().expect("a device");
    machine
        .set(&[&format!("process={held}:{}", container.pid())])
        .expect("a process on a device");
    let devices = machine.devices().expect("devices");
    let other = devices
        .iter()
        .position(|device| device.uuid != held)
        .expect("another");
    assert_eq!(given(&machine, ask(&machine, ONE)), other);
    let status = machine.status();
    let states = status["gpus"][0]["devices"].as_array().expect("devices").iter();
    let of_held = states
        .clone()
        .find(|device| device["uuid"] == held)
        .expect("the device");
    assert_eq!(of_held["state"], "held");
    container.delete(true).ok();
}
