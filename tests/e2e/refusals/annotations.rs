//! Requests that can't be read: the key, its value, what is wrong with it and what would be right. Before anything of
//! this machine is looked at: neither its configuration nor its driver is in order here.

use std::fs;

use super::{Annotations, USAGE, assert_says, config, refuses, state};
use crate::support::machine::Machine;

const THERE_ARE: &str =
    "there are mig.profile, mig.memory, mig.compute, mig.count, mig.gpu, mig.device, mig.wait";
const PROFILE: &str = "write a profile: 1g.10gb, 1c.3g.40gb, 1g.10gb+me; or gpu, for a whole GPU";
const MEMORY: &str = "write a whole number and a unit: 10GB, 9GiB, 9984MiB";
const COMPUTE: &str = "write a number of compute slices: 1, 2, 3";
const COUNT: &str = "write a number of devices: 1 to 64";
const GPU: &str =
    "write a GPU's UUID (GPU-...), its PCI bus id (0000:0f:00.0) or its product name, with * for any part";
const DEVICE: &str = "write the device's UUID, as nvidia-smi -L prints it: \
                      MIG-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, or GPU-... for a whole GPU";
const WAIT: &str = "write a whole number and a unit: 30s, 5m, 2h; at most 24h";

/// Each stage that reserves refuses it in the same words.
#[track_caller]
fn each_stage_refuses(machine: &Machine, annotations: Annotations, line: &str) {
    refuses(machine, annotations, USAGE, line);
    for stage in ["createRuntime", "prestart"] {
        assert_says(
            &machine.stage(stage, &state(annotations).to_string()),
            USAGE,
            line,
        );
    }
    // The end of a container is not the time to find fault with it.
    let outcome = machine.stage("poststop", &state(annotations).to_string());
    assert!(!outcome.stderr.contains("mig."), "{outcome}");
}

fn out_of_order() -> Machine {
    let machine = Machine::named("one-gpu");
    fs::write(machine.config(), "nonsense = ][").expect("config.toml");
    fs::remove_dir_all(machine.proc()).expect("no driver");
    machine
}

#[test]
fn an_unknown_word() {
    let machine = out_of_order();
    let upper = THERE_ARE.replace("there", "There");
    for (key, line) in [
        (
            "mig.profil",
            format!("mig.profil: no such annotation; did you mean mig.profile? {upper}"),
        ),
        (
            "mig.Memory",
            format!("mig.Memory: no such annotation; did you mean mig.memory? {upper}"),
        ),
        (
            "mig.strategy",
            format!("mig.strategy: no such annotation; {THERE_ARE}"),
        ),
        ("mig.", format!("mig.: no such annotation; {THERE_ARE}")),
        (
            "mig.\n\u{1b}[31m",
            format!("mig.\\n\\u{{1b}}[31m: no such annotation; {THERE_ARE}"),
        ),
    ] {
        each_stage_refuses(&machine, &[(key, "1")], &line);
    }
}

#[test]
fn a_value_that_is_none() {
    let machine = out_of_order();
    let long = "y".repeat(100_000);
    let begun = format!("{}...", "y".repeat(64));
    for (key, value, line) in [
        (
            "mig.profile",
            "large",
            format!("mig.profile=large: is not a profile; {PROFILE}"),
        ),
        ("mig.profile", "", format!("mig.profile=: is empty; {PROFILE}")),
        (
            "mig.profile",
            " 1g.10gb",
            format!("mig.profile= 1g.10gb: has white space around it; {PROFILE}"),
        ),
        (
            "mig.profile",
            "1G.10GB",
            format!("mig.profile=1G.10GB: is not in lower case: 1g.10gb; {PROFILE}"),
        ),
        (
            "mig.profile",
            "a\nb\u{1b}[2J",
            format!("mig.profile=a\\nb\\u{{1b}}[2J: is not a profile; {PROFILE}"),
        ),
        (
            "mig.profile",
            &long,
            format!("mig.profile={begun}: is not a profile; {PROFILE}"),
        ),
        (
            "mig.memory",
            "10",
            format!("mig.memory=10: has no unit; {MEMORY}"),
        ),
        (
            "mig.memory",
            "0GB",
            format!("mig.memory=0GB: asks for no memory; {MEMORY}"),
        ),
        (
            "mig.memory",
            "10gb",
            format!("mig.memory=10gb: is not a whole number and one of the units GB, GiB, MB, MiB; {MEMORY}"),
        ),
        (
            "mig.compute",
            "0",
            format!("mig.compute=0: is not between 1 and 255; {COMPUTE}"),
        ),
        (
            "mig.compute",
            "two",
            format!("mig.compute=two: is not a whole number; {COMPUTE}"),
        ),
        (
            "mig.count",
            "0",
            format!("mig.count=0: is not between 1 and 64; {COUNT}"),
        ),
        (
            "mig.count",
            "65",
            format!("mig.count=65: is not between 1 and 64; {COUNT}"),
        ),
        (
            "mig.count",
            "01",
            format!("mig.count=01: is a number with a leading zero; {COUNT}"),
        ),
        (
            "mig.gpu",
            "GPU-1",
            format!("mig.gpu=GPU-1: is not a whole GPU UUID; {GPU}"),
        ),
        (
            "mig.gpu",
            "0000:01",
            format!("mig.gpu=0000:01: is not a whole PCI bus id; {GPU}"),
        ),
        (
            "mig.gpu",
            "MIG-1",
            format!("mig.gpu=MIG-1: names a MIG device; that is mig.device's; {GPU}"),
        ),
        (
            "mig.device",
            "MIG-1",
            format!("mig.device=MIG-1: is no device's UUID; {DEVICE}"),
        ),
        ("mig.wait", "30", format!("mig.wait=30: has no unit; {WAIT}")),
        (
            "mig.wait",
            "25h",
            format!("mig.wait=25h: is more than 24h; {WAIT}"),
        ),
    ] {
        each_stage_refuses(&machine, &[(key, value)], &line);
    }
}

/// JSON allows what no engine writes.
#[test]
fn a_value_that_is_no_text() {
    let machine = out_of_order();
    for value in [
        serde_json::json!(null),
        serde_json::json!(5),
        serde_json::json!(["1g.10gb"]),
    ] {
        let mut document = config(&[]);
        document["annotations"] = serde_json::json!({"mig.profile": value});
        let line = format!("mig.profile=: is empty; {PROFILE}");
        super::refuses_document(&machine, &document, USAGE, &line);
    }
}

#[test]
fn a_contradiction() {
    let machine = out_of_order();
    let device = ("mig.device", "MIG-11111111-1111-5111-8111-111111111111");
    let profile = ("mig.profile", "1g.10gb");
    let cases: [(Annotations, &str); 6] = [
        (
            &[
                ("mig.profile", "gpu"),
                ("mig.memory", "10GB"),
                ("mig.compute", "1"),
            ],
            "mig.profile and mig.compute: a whole GPU is cut into no compute slices; \
             remove mig.profile, or mig.compute",
        ),
        (
            &[profile, ("mig.memory", "10GB")],
            "mig.profile and mig.memory: a profile says both memory and compute; remove mig.profile, or mig.memory",
        ),
        (
            &[profile, ("mig.memory", "10GB"), ("mig.compute", "1")],
            "mig.profile and mig.compute, mig.memory: a profile says both memory and compute; \
             remove mig.profile, or mig.compute and mig.memory",
        ),
        (
            &[device, ("mig.count", "2")],
            "mig.device and mig.count: names one device, and nothing but mig.wait goes with it; \
             remove mig.device, or mig.count",
        ),
        (
            &[device, profile, ("mig.gpu", "*A100*")],
            "mig.device and mig.gpu, mig.profile: names one device, and nothing but mig.wait goes with it; \
             remove mig.device, or mig.gpu and mig.profile",
        ),
        (
            &[("mig.wait", "30s")],
            "mig.wait: says how long to wait, and nothing says for what; \
             add mig.profile, mig.memory, mig.compute or mig.device",
        ),
    ];
    for (annotations, line) in cases {
        each_stage_refuses(&machine, annotations, line);
    }
}

#[test]
fn what_speaks_to_a_container_of_a_pod() {
    let machine = out_of_order();
    let cases: [(Annotations, &str); 2] = [
        (
            &[("mig.profile/web", "1g.10gb")],
            "mig.profile/web: names one container of a pod, and this container has no name in any; \
             use mig.profile on the container itself",
        ),
        (
            &[("mig.lease/web", "1g.10gb")],
            "mig.lease/web: mig.lease is written by oci-mig-hook alone; remove it",
        ),
    ];
    for (annotations, line) in cases {
        each_stage_refuses(&machine, annotations, line);
    }
}
