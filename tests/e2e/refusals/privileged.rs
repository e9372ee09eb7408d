//! Containers that could reach every MIG device of the node, whichever they are given.

use serde_json::{Value, json};

use super::{ASKS, REFUSED, config, refuses_document, serves};
use crate::support::cgroups::View;
use crate::support::machine::Machine;
use crate::support::process::Outcome;
use crate::support::runtime::Runtime;

const REMEDY: &str =
    "run it without those rights, or set allow_privileged = true to trust every such container";
const ADMIN: &str =
    "it has CAP_SYS_ADMIN outside a user namespace (--privileged?), and with it every MIG capability";

/// What is wrong with each of these containers.
fn privileged() -> Vec<(Value, &'static str)> {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut document = config(ASKS);
        change(&mut document);
        document
    };
    let grant = |document: &mut Value, set: &str, capability: &str| {
        let sets = &mut document["process"]["capabilities"];
        sets[set]
            .as_array_mut()
            .expect("capabilities")
            .push(json!(capability));
    };
    let rules = |document: &mut Value, rules: Value| document["linux"]["resources"]["devices"] = rules;
    let all = "its device rules allow every device (--privileged?)";
    vec![
        (
            with(&|document| grant(document, "effective", "CAP_SYS_ADMIN")),
            ADMIN,
        ),
        // A program with file capabilities can gain what only the bounding set has.
        (
            with(&|document| grant(document, "bounding", "CAP_SYS_ADMIN")),
            ADMIN,
        ),
        (
            with(&|document| rules(document, json!([{"allow": true, "access": "rwm"}]))),
            all,
        ),
        (
            with(&|document| {
                let wild = json!({"allow": true, "type": "c", "major": -1, "minor": -1, "access": "r"});
                rules(document, json!([{"allow": false, "access": "rwm"}, wild]));
            }),
            all,
        ),
        (
            with(&|document| {
                rules(document, json!([]));
                grant(document, "bounding", "CAP_MKNOD");
            }),
            "no device rule limits it, and with CAP_MKNOD it can make every node",
        ),
    ]
}

#[test]
fn refused_with_what_makes_them_so() {
    let machine = Machine::named("one-gpu");
    for (document, why) in privileged() {
        let line = format!("this container can't be isolated: {why}; {REMEDY}");
        refuses_document(&machine, &document, REFUSED, &line);
    }
    // In a user namespace of its own the capability is none of the driver's.
    let (mut document, _) = privileged().swap_remove(0);
    let namespaces = document["linux"]["namespaces"]
        .as_array_mut()
        .expect("namespaces");
    namespaces.push(json!({"type": "user"}));
    machine.stage("precreate", &document.to_string()).ok();
}

/// A device or a rule of the container's own that reaches the same drivers is another's device, or the right to all.
#[test]
fn refused_with_the_device_that_is_anothers() {
    let machine = Machine::named("one-gpu");
    let caps = machine.major("nvidia-caps").expect("a major");
    let refused = |change: &dyn Fn(&mut Value), why: &str| {
        let mut document = config(ASKS);
        change(&mut document);
        let line = format!("this container can't be isolated: {why}; {REMEDY}");
        refuses_document(&machine, &document, REFUSED, &line);
    };
    let rule = json!({"allow": true, "type": "c", "major": caps, "minor": 1, "access": "r"});
    refused(
        &|document| {
            let rules = document["linux"]["resources"]["devices"]
                .as_array_mut()
                .expect("rules");
            rules.push(rule.clone());
        },
        &format!("its device rule {rule} reaches other NVIDIA devices"),
    );
    let device = json!({"path": "/dev/cap", "type": "c", "major": caps, "minor": 2});
    refused(
        &|document| document["linux"]["devices"] = json!([device]),
        &format!("its device {device} is another of NVIDIA's"),
    );
    // With `--cgroups=disabled` no rule at all holds.
    refused(
        &|document| document["linux"]["cgroupsPath"] = json!(null),
        "it has no cgroup of its own (--cgroups=disabled?), so no device rule holds",
    );
    // Making a node is not opening it, and a device of another driver is none of ours.
    let mut document = config(ASKS);
    let rules = document["linux"]["resources"]["devices"]
        .as_array_mut()
        .expect("rules");
    rules.push(json!({"allow": true, "type": "c", "major": caps, "minor": 1, "access": "m"}));
    rules.push(json!({"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rw"}));
    machine.stage("precreate", &document.to_string()).ok();
}

#[test]
fn served_where_the_configuration_allows_it() {
    for (document, why) in privileged() {
        let machine = Machine::named("one-gpu");
        machine.configure("allow_privileged", "true");
        let outcome = machine.stage("precreate", &document.to_string()).ok();
        assert!(
            outcome.stdout.contains("\"NVIDIA_VISIBLE_DEVICES=MIG-"),
            "{why}: {outcome}"
        );
        assert_eq!(machine.leases(), 1, "{why}");
    }
    // false says what no line says.
    let machine = Machine::named("one-gpu");
    machine.configure("allow_privileged", "false");
    let (document, _) = privileged().swap_remove(0);
    let line = format!("this container can't be isolated: {ADMIN}; {REMEDY}");
    refuses_document(&machine, &document, REFUSED, &line);
    serves(&machine);
}

/// Podman's `--privileged` is both: every capability and every device.
#[test]
fn podmans_privileged() {
    for (runtime, view) in [(Runtime::Runc, View::Host), (Runtime::Crun, View::V2)] {
        let machine = Machine::with(&["1g.10gb"]);
        let podman = machine.podman(runtime, view, &[]);
        let run = |script: &str| -> Outcome {
            podman.run(&["--privileged", "--annotation=mig.profile=1g.10gb"], script)
        };
        let outcome = run("true").failed();
        let line = format!("oci-mig-hook: this container can't be isolated: {ADMIN}; {REMEDY}\n");
        assert!(outcome.stderr.contains(&line), "{runtime} {view}: {outcome}");
        machine.assert_free(&format!("{runtime} {view}"));
        machine.configure("allow_privileged", "true");
        run("[ -c /dev/nvidiactl ]").ok();
        machine.assert_free(&format!("{runtime} {view}"));
    }
}
