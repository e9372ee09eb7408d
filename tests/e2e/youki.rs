//! youki, a third make of runtime, over the bundles of the other stories: `tests/run --long`. It is built for these
//! tests alone; what came of them is in packaging/doc/youki.md.

use std::path::Path;

use crate::reasons::{assert_said, no_such_profile};
use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::ctr::Namespace;
use crate::support::machine::{INTERPOSED, Machine};
use crate::support::probe::Seen;
use crate::support::process::until;
use crate::support::runtime::{Engine, Runtime};
use crate::support::scratch::Scratch;

const SLEEP: &str = "trap 'exit 0' TERM; sleep 1000 & wait";

/// youki on a machine, in each view that it works in.
fn with_each_view(machine: impl Fn() -> Machine, story: impl Fn(&Machine, Engine, &str)) {
    for view in Runtime::Youki.views() {
        let machine = machine();
        story(
            &machine,
            Engine::new(Runtime::Youki, view),
            &format!("youki {view}"),
        );
    }
}

/// The same behind oci-mig-runtime, on a machine with one device.
fn with_one_device(story: impl Fn(&Machine, &Engine, &str)) {
    with_each_view(
        || Machine::with(&["1g.10gb"]),
        |machine, engine, who| story(machine, &engine.interposed(machine), who),
    );
}

/// A bundle that asks for the one device, and has no hooks.
fn asking(script: &str) -> Bundle {
    Bundle::new().annotation("mig.profile", "1g.10gb").script(script)
}

/// Its standard output, run to its end. Step by step, as engines do: `youki run` can hang.
#[track_caller]
fn run(engine: &Engine, bundle: &Bundle) -> String {
    let mut container = engine.container(bundle);
    container.create().ok();
    container.start().ok();
    container.await_status("stopped");
    let stdout = container.stdout();
    container.delete(false).ok();
    stdout
}

/// A bundle whose container may make any node: the rules on opening are what is judged.
fn may_make_any(bundle: Bundle) -> Bundle {
    bundle.capability("CAP_MKNOD").with(|config| {
        let rules = config["linux"]["resources"]["devices"]
            .as_array_mut()
            .expect("rules");
        rules.push(serde_json::json!({"allow": true, "type": "c", "access": "m"}));
    })
}

#[test]
#[ignore = "wants youki: tests/run --long"]
fn plain_containers() {
    for view in Runtime::Youki.views() {
        let engine = Engine::new(Runtime::Youki, view);
        let bundle = Bundle::new().script("echo here").write();
        assert_eq!(run(&engine, &bundle), "here\n", "{view}");
    }
}

/// The first process has its own device and no other, and finds it in its environment where `variable` says so.
fn own_device(what: &str, variable: bool, can_make: bool, bundle: impl Fn(&Machine) -> Bundle) {
    with_each_view(
        || Machine::named("one-gpu"),
        |machine, engine, who| {
            let who = format!("{who} {what}");
            let devices = machine.devices().expect("devices");
            let own = devices
                .iter()
                .find(|device| device.profile == "2g.20gb")
                .expect("a 2g.20gb");
            let bundle = may_make_any(bundle(machine)).annotation("mig.profile", "2g.20gb");
            let bundle = bundle.script(&machine.probe(own).script()).write();
            let engine = if variable {
                engine.interposed(machine)
            } else {
                engine
            };
            let seen = Seen::read(&run(&engine, &bundle));
            machine.assert_isolated(&seen, own, can_make, &who);
            assert_eq!(
                seen.visible_devices(),
                variable.then_some(own.uuid.as_str()),
                "{who}"
            );
            machine.assert_free(&who);
        },
    );
}

#[test]
#[ignore = "wants youki: tests/run --long"]
fn own_device_through_oci_mig_runtime() {
    own_device("root", true, true, |_| Bundle::new());
    own_device("uid 1000", true, true, |_| Bundle::new().user(1000));
}

#[test]
#[ignore = "wants youki: tests/run --long"]
fn own_device_in_a_user_namespace() {
    own_device("user namespace", true, false, |_| Bundle::new().user_namespace());
}

#[test]
#[ignore = "wants youki: tests/run --long"]
fn own_device_by_hooks_in_config_json() {
    own_device("hooks", false, true, Machine::bundle);
}

#[track_caller]
fn assert_refused(engine: &Engine, who: &str) {
    let bundle = asking("true").write();
    let outcome = engine.container(&bundle).create();
    assert_eq!(outcome.code(), 1, "{who}: {outcome}");
    assert!(
        outcome
            .stderr
            .contains("oci-mig-hook: no free 1g.10gb: 1 of 1 held"),
        "{who}: {outcome}"
    );
}

#[test]
#[ignore = "wants youki: tests/run --long"]
fn however_it_ends() {
    with_one_device(|machine, engine, who| {
        for signal in ["TERM", "KILL"] {
            let bundle = asking(SLEEP).write();
            let mut container = engine.container(&bundle);
            container.create().ok();
            assert_refused(engine, who);
            container.start().ok();
            until("the shell's trap", || container.exec(&["true"]).status.success());
            container.delete(false).failed();
            assert_refused(engine, who);
            container.kill(signal).ok();
            container.await_status("stopped");
            container.delete(false).ok();
            assert_eq!(machine.leases(), 0, "{who} {signal}");
        }
        let bundle = asking(SLEEP).write();
        let mut container = engine.container(&bundle);
        container.create().ok();
        container.start().ok();
        container.delete(true).ok();
        machine.assert_free(who);
    });
}

/// youki calls no poststop hook then: the delete gives back.
#[test]
#[ignore = "wants youki: tests/run --long"]
fn a_container_that_could_not_be_created() {
    with_one_device(|machine, engine, who| {
        let folder = Scratch::new("hook");
        let fails = folder.program("fails", "#!/bin/sh\ncat >/dev/null\nexit 9\n");
        let bad = asking("").args(["/bin/no-such-program"]);
        for (what, bundle) in [
            ("bad command", bad),
            ("createRuntime", asking("true").hook("createRuntime", &fails, &[])),
            (
                "createContainer",
                asking("true").hook("createContainer", &fails, &[]),
            ),
        ] {
            let bundle = bundle.write();
            let mut container = engine.container(&bundle);
            if container.create().status.success() {
                container.start().failed();
            }
            container.delete(true);
            assert_eq!(machine.leases(), 0, "{who} {what}: {:?}", machine.taken());
            run(engine, &asking("true").write());
        }
    });
}

/// By oci-mig-runtime itself, and by youki, which hands a hook its own standard error.
#[test]
#[ignore = "wants youki: tests/run --long"]
fn the_line_is_said() {
    with_each_view(
        || Machine::with(&["1g.10gb"]),
        |machine, engine, who| {
            let line = no_such_profile(machine);
            let hooks = machine.bundle().annotation("mig.profile", "9g.90gb").write();
            let outcome = engine.container(&hooks).create().failed();
            assert_said(&outcome.text(), &line, &format!("{who} hook"));
            let none = Bundle::new().annotation("mig.profile", "9g.90gb").write();
            let outcome = engine.interposed(machine).container(&none).create().failed();
            assert_said(&outcome.text(), &line, who);
            machine.assert_free(who);
        },
    );
}

/// containerd, oci-mig-runtime, youki.
#[test]
#[ignore = "wants youki: tests/run --long"]
fn behind_containerd() {
    const ASK: &str = "--annotation=mig.profile=1g.10gb";
    let machine = Machine::with(&["1g.10gb"]);
    let containerd = machine.containerd(Runtime::Youki, View::Host).start();
    let one = containerd.namespace("one", Path::new(INTERPOSED));
    let said = one
        .run(
            &[ASK],
            "echo $NVIDIA_VISIBLE_DEVICES; ls /dev/nvidia-caps | wc -l",
        )
        .ok()
        .stdout;
    assert!(said.starts_with("MIG-") && said.ends_with("\n2\n"), "{said}");
    machine.assert_free("after its exit");
    let id = Namespace::fresh_id();
    one.sleeper(&id, &[ASK]);
    let refused = one.run(&[ASK], "true").failed();
    assert!(
        refused
            .stderr
            .contains("oci-mig-hook: no free 1g.10gb: 1 of 1 held"),
        "{refused}"
    );
    one.call(&["tasks", "delete", "--force", &id]).ok();
    machine.assert_free("after its removal");
    one.run_program(&[ASK], &["no-such-program"]).failed();
    machine.assert_free("after a bad command");
}
