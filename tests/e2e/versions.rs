//! Old and new side by side: an upgrade while containers run loses nothing, and what a newer program wrote is not guessed at.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::container::Container;
use crate::support::gate::Gate;
use crate::support::machine::Machine;
use crate::support::podman::IMAGE;
use crate::support::process::{DEADLINE, run, start};
use crate::support::rootfs::SLEEP;
use crate::support::runtime::{Engine, Runtime};

const PROFILE: &str = "1g.10gb";

/// A lease as the first version wrote it: no record of its devices, and neither `own_pid_namespace` nor `state_root`.
const FIRST: &str = r#"{"version":1,"id":"ID","state":"STATE","holder":{"container":{"id":"CONTAINER","bundle":BUNDLE,"process":{"pid":PID,"start":START,"pid_namespace":NAMESPACE},"cgroups":CGROUPS,"cgroup_namespace":CGROUPNS}},"devices":DEVICES,"request":{"mig.profile":"1g.10gb"},"boot_id":"BOOT","driver":"DRIVER","written":WRITTEN}"#;

fn lease_file(machine: &Machine) -> PathBuf {
    let folder = fs::read_dir(machine.ledger().join("leases")).expect("leases");
    folder
        .map(|entry| entry.expect("a lease").path())
        .next()
        .expect("a lease")
}

/// Makes the machine's only lease one that the first version wrote, and the ledger's folder one that it made.
fn as_the_first_version_wrote_it(machine: &Machine) {
    let path = lease_file(machine);
    let now: Value = serde_json::from_str(&fs::read_to_string(&path).expect("a lease")).expect("JSON");
    let container = &now["holder"]["container"];
    let text = [
        ("ID", "id"),
        ("STATE", "state"),
        ("BOOT", "boot_id"),
        ("DRIVER", "driver"),
    ]
    .iter()
    .fold(FIRST.to_owned(), |text, (word, key)| {
        text.replacen(word, now[key].as_str().expect("a text"), 1)
    })
    .replacen("CONTAINER", container["id"].as_str().expect("an id"), 1)
    .replacen("BUNDLE", &container["bundle"].to_string(), 1)
    .replacen("PID", &container["process"]["pid"].to_string(), 1)
    .replacen("START", &container["process"]["start"].to_string(), 1)
    .replacen("NAMESPACE", &container["process"]["pid_namespace"].to_string(), 1)
    .replacen("CGROUPNS", &container["cgroup_namespace"].to_string(), 1)
    .replacen("CGROUPS", &container["cgroups"].to_string(), 1)
    .replacen("DEVICES", &now["devices"].to_string(), 1)
    .replacen("WRITTEN", &now["written"].to_string(), 1);
    serde_json::from_str::<Value>(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
    fs::write(&path, text).expect("a lease of the first version");
    for folder in ["devices", "waiting"] {
        let _ = fs::remove_dir_all(machine.ledger().join(folder));
    }
    let _ = fs::remove_file(machine.ledger().join("inventory.json"));
}

fn asking(machine: &Machine, script: &str) -> Bundle {
    let bundle = machine.bundle().annotation("mig.profile", PROFILE);
    bundle.script(script).write()
}

fn living<'a>(engine: &'a Engine, bundle: &'a Bundle) -> Container<'a> {
    let mut container = engine.container(bundle);
    container.create().ok();
    container
}

#[test]
fn a_container_of_the_first_version_keeps_its_device_and_gives_it_back() {
    for look_first in [false, true] {
        let machine = Machine::with(&[PROFILE; 2]);
        let engine = Engine::new(Runtime::Runc, View::Host);
        let bundle = asking(&machine, SLEEP);
        let old = living(&engine, &bundle);
        as_the_first_version_wrote_it(&machine);
        let taken = machine.taken();
        assert_eq!(taken.len(), 1, "{taken:?}");
        assert_eq!(
            taken.values().next(),
            Some(&("held".to_owned(), old.id().to_owned()))
        );
        if look_first {
            // A reservation of this version meets it, passes by, and writes it anew.
            let other = asking(&machine, "true");
            engine.run(&other).ok();
            let upgraded: Value =
                serde_json::from_str(&fs::read_to_string(lease_file(&machine)).expect("a lease"))
                    .expect("JSON");
            assert_eq!(upgraded["version"], 2);
            assert_eq!(
                fs::read_dir(machine.ledger().join("devices"))
                    .expect("records")
                    .count(),
                1
            );
        }
        old.delete(true).ok();
        run(&mut machine.program("gc")).ok();
        machine.assert_free(&format!("the old one has ended, {look_first}"));
    }
}

/// The program is replaced between a reservation and its confirmation.
#[test]
fn a_reservation_of_the_first_version_is_confirmed() {
    let machine = Machine::with(&[PROFILE]);
    let gate = Gate::new();
    let more = gate.hooks("createRuntime");
    let podman = machine.podman(Runtime::Crun, View::V2, &[more.path()]);
    let mut command = podman.container("run");
    let mut waiting = start(
        command.args([
            "--rm",
            "--annotation=mig.profile=1g.10gb",
            "--annotation=gate=1",
            IMAGE,
            "true",
        ]),
        None,
    );
    gate.await_reached();
    as_the_first_version_wrote_it(&machine);
    gate.open();
    waiting.wait(DEADLINE).ok();
    machine.assert_free("its container has ended");
}

/// It isn't guessed at: its device stays out of use, the others are served, and nothing of it is changed.
#[test]
fn a_lease_of_a_newer_version_costs_its_own_device_alone() {
    let machine = Machine::with(&[PROFILE; 2]);
    let engine = Engine::new(Runtime::Runc, View::Host);
    let bundle = asking(&machine, SLEEP);
    let newer = living(&engine, &bundle);
    let path = lease_file(&machine);
    let text = fs::read_to_string(&path)
        .expect("a lease")
        .replacen("\"version\":2", "\"version\":4", 1);
    fs::write(&path, &text).expect("a lease of a newer version");

    let other = asking(&machine, SLEEP);
    let served = living(&engine, &other);
    let refused = engine.run(&asking(&machine, "true")).failed();
    assert!(refused.text().contains("2 of 2 held"), "{refused}");
    assert_eq!(fs::read_to_string(&path).expect("a lease"), text);
    served.delete(true).ok();
    newer.delete(true).ok();
    // Its end is seen, without a word of the lease being understood.
    run(&mut machine.program("gc")).ok();
    machine.assert_free("the newer one has ended");
}
