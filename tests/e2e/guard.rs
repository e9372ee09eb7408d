//! The back door: containers that did not ask, and what they reach of NVIDIA's all the same, in each mode of `guard`.

mod beside_a_lease;
mod forged;
mod image_nodes;
mod interposed;
mod podman;

use std::path::{Path, PathBuf};

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::machine::Machine;
use crate::support::probe::{Answer, Probe, Seen};
use crate::support::runtime::{Runtime, everywhere};
use crate::support::scratch::Scratch;

const REACHES: &str = "this container did not ask for a MIG device and reaches NVIDIA's";
const ASK: &str = "ask for one with the annotation mig.profile";

/// A machine with this `guard`.
fn guarded(mode: &str) -> Machine {
    let machine = Machine::named("one-gpu");
    machine.configure("guard", &format!("{mode:?}"));
    machine
}

/// The story with each runtime in each view.
fn with_each_runtime(story: impl Fn(Runtime, View)) {
    everywhere().for_each(|(runtime, view)| story(runtime, view));
}

/// What a container with any door tries: to make and open a GPU's node, and whatever stands at /dev/nvidia0.
fn probe(machine: &Machine) -> String {
    let gpu = machine.major("nvidia").expect("a major");
    Probe::new().makes("gpu", gpu, 0).reads("/dev/nvidia0").script()
}

/// Whether it opened the GPU's node by whichever way.
#[track_caller]
fn opens(seen: &Seen) -> bool {
    let answers = [seen.makes("gpu").1, seen.reads("/dev/nvidia0")];
    let closed = |answer: &Answer| matches!(answer, Answer::NotPermitted | Answer::Missing | Answer::Denied);
    assert!(
        answers
            .iter()
            .all(|answer| closed(answer) || *answer == Answer::NoDriver),
        "{seen:?}"
    );
    answers.contains(&Answer::NoDriver)
}

/// A program of that name which leaves a mark when it is called as a hook; the mark.
fn nvidias_hook(folder: &Scratch) -> (PathBuf, PathBuf) {
    let mark = folder.join("called");
    let script = format!("#!/bin/sh\ncat >/dev/null\n: >{}\n", mark.display());
    (folder.program("nvidia-container-runtime-hook", &script), mark)
}

/// A container that may make nodes, as engines let them: the rules on opening are what counts.
fn maker() -> Bundle {
    let bundle = Bundle::new().capability("CAP_MKNOD");
    bundle.with(|config| {
        let rules = config["linux"]["resources"]["devices"]
            .as_array_mut()
            .expect("rules");
        rules.push(serde_json::json!({"allow": true, "type": "c", "access": "m"}));
    })
}

/// A way to the first GPU, as an engine would write it.
struct Door {
    what: &'static str,
    /// The beginning of what is said of it.
    said: String,
    open: Box<dyn Fn(Bundle) -> Bundle>,
}

fn doors(machine: &Machine) -> Vec<Door> {
    let gpu = machine.major("nvidia").expect("a major");
    let node = machine.dev().join("nvidia0");
    let said_node = node.display().to_string();
    let door = |what, said: &str, open: Box<dyn Fn(Bundle) -> Bundle>| Door {
        what,
        said: said.to_owned(),
        open,
    };
    vec![
        door(
            "a device",
            "it has the device {",
            Box::new(move |bundle| bundle.device("/dev/nvidia0", gpu, 0, "rwm")),
        ),
        door(
            "a rule on the driver",
            "it has the device rule {",
            Box::new(move |bundle| {
                bundle.with(|config| {
                    let rules = config["linux"]["resources"]["devices"]
                        .as_array_mut()
                        .expect("rules");
                    rules
                        .push(serde_json::json!({"allow": true, "type": "c", "major": gpu, "access": "rwm"}));
                })
            }),
        ),
        door(
            "a mount and its rule",
            &format!(
                "it has the device rule {{\"allow\":true,\"type\":\"c\",\"major\":{gpu},\"minor\":0,\"access\":\"rw\"}}, a mount of {said_node}"
            ),
            Box::new(move |bundle| bundle.bind(&node, "/dev/nvidia0").rule(gpu, 0, "rw")),
        ),
        door(
            "all devices",
            "it has the device rule {\"allow\":true,\"access\":\"rwm\"}",
            Box::new(Bundle::privileged),
        ),
    ]
}

/// A link to a node, under a name that says nothing.
fn disguised(folder: &Scratch, node: &Path) -> PathBuf {
    let link = folder.join("innocent");
    std::os::unix::fs::symlink(node, &link).expect("a link");
    link
}
