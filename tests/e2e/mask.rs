//! `/proc/driver/nvidia` in a container: its own device's files, through every door and with every runtime. What else
//! there is to it is told in `tests/inject/mask.rs`.

use std::fs;

use serde_json::json;

use crate::support::bundle::Bundle;
use crate::support::driver_proc::{LIST, installer, seen_with};
use crate::support::machine::Machine;
use crate::support::runtime::{Engine, Runtime, everywhere};
use crate::support::scratch::Scratch;

const PROFILE: &str = "2g.20gb";

/// A container of `bundle` that looks at the driver's folder, which a hook before ours has put there.
fn looking(machine: &Machine, folder: &Scratch, bundle: Bundle) -> Bundle {
    let bundle = bundle.annotation("mig.profile", PROFILE).script(LIST);
    let installer = installer(machine, folder);
    bundle.with(|config| {
        let entry = json!({"path": installer, "args": ["install-driver"], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]});
        let hooks = &mut config["hooks"]["createRuntime"];
        match hooks.as_array_mut() {
            Some(hooks) => hooks.insert(0, entry),
            None => *hooks = json!([entry]),
        }
    })
}

#[test]
fn by_hooks_and_by_the_interposed_runtime() {
    for (runtime, view) in everywhere() {
        let (machine, folder) = (Machine::named("one-gpu"), Scratch::new("hook"));
        let own = machine.device(PROFILE);
        let plain = Engine::new(runtime, view);
        let interposed = Engine::new(runtime, view).interposed(&machine);
        for (engine, bundle, door) in [
            (plain, machine.bundle(), "hooks"),
            (interposed, Bundle::new(), "interposed"),
        ] {
            for namespace in [false, true] {
                let who = format!("{runtime} {view} {door} user namespace: {namespace}");
                let bundle = looking(&machine, &folder, bundle_like(&bundle, namespace)).write();
                // Twice: the second time config.json has what edits the first made.
                for _ in 0..2 {
                    let said = engine.run(&bundle).ok().stdout;
                    assert_eq!(said, seen_with(&machine, &own), "{who}");
                }
                machine.assert_free(&who);
            }
        }
    }
}

fn bundle_like(bundle: &Bundle, user_namespace: bool) -> Bundle {
    let config = bundle.config.clone();
    let hooks = config["hooks"].clone();
    let bundle = Bundle::new().with(|config| config["hooks"] = hooks);
    if user_namespace {
        bundle.user_namespace()
    } else {
        bundle
    }
}

#[test]
fn by_podmans_precreate() {
    for (runtime, view) in everywhere() {
        let (machine, folder) = (Machine::named("one-gpu"), Scratch::new("hook"));
        let own = machine.device(PROFILE);
        let hook = json!({
            "version": "1.0.0",
            "hook": {"path": installer(&machine, &folder), "args": ["install-driver"], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
            "when": {"always": true},
            "stages": ["createRuntime"],
        });
        folder.file("hooks.d/install-driver.json", &hook.to_string());
        let podman = machine.podman(runtime, view, &[&folder.join("hooks.d")]);
        let annotation = format!("mig.profile={PROFILE}");
        let said = podman.run(&["--annotation", &annotation], LIST).ok().stdout;
        assert_eq!(said, seen_with(&machine, &own), "{runtime} {view}");
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

#[test]
fn it_can_be_turned_off() {
    let runtime = Runtime::Runc;
    let (machine, folder) = (Machine::named("one-gpu"), Scratch::new("hook"));
    machine.configure("mask_proc", "false");
    let engine = Engine::new(runtime, runtime.views()[0]);
    let bundle = looking(&machine, &folder, machine.bundle()).write();
    let said = engine.run(&bundle).ok().stdout;
    assert!(
        said.contains("./capabilities/mig/config\n") && said.contains("ModifyDeviceFiles: 1\n"),
        "{said}"
    );
}

/// Where it can't be covered the container doesn't start, and keeps no device.
#[test]
fn a_container_that_can_not_be_kept_from_it_does_not_start() {
    let runtime = Runtime::Runc;
    for interposed in [false, true] {
        let (machine, folder) = (Machine::named("one-gpu"), Scratch::new("hook"));
        let engine = Engine::new(runtime, runtime.views()[0]);
        let (engine, bundle) = match interposed {
            true => (engine.interposed(&machine), Bundle::new()),
            false => (engine, machine.bundle()),
        };
        let bundle = looking(&machine, &folder, bundle).write();
        // What the driver says is no text of a file's any more.
        let params = machine.proc().join("driver/nvidia/params");
        fs::remove_file(&params).expect("a file of the node's");
        fs::create_dir(&params).expect("a folder");
        let refused = engine.run(&bundle).failed();
        let line = "can't hide other containers' devices in its /proc/driver/nvidia: read of ";
        assert!(refused.text().contains(line), "{refused}");
        assert!(
            refused.text().contains("mask_proc = false does without"),
            "{refused}"
        );
        machine.assert_free("refused");
    }
}
