//! The nodes and the permission that a container is given, and that it is given no more.

use std::fs;

use oci_mig_hook::inject::{self, LiveContainer};
use oci_mig_hook::mig::Access;
use serde_json::json;

use crate::live::{Devices, at_create_runtime, inject, mounts};
use crate::support::bundle::Bundle;
use crate::support::probe::{Answer, Probe, Seen};
use crate::support::process::{is_alive, until};
use crate::support::rootfs;
use crate::support::runtime::{Engine, everywhere};

const NODE: &str = "/dev/nvidia0";
const CAP: &str = "/dev/nvidia-caps/nvidia-cap12";

fn devices() -> Devices {
    Devices::new()
        .node(NODE, 0, Access::ReadWrite)
        .node(CAP, 12, Access::Read)
}

/// A container that may make any node: what it may open is judged.
fn bundle() -> Bundle {
    let made = json!({"allow": true, "type": "c", "access": "m"});
    let bundle = Bundle::new().capability("CAP_MKNOD");
    bundle.with(|config| {
        config["linux"]["resources"]["devices"]
            .as_array_mut()
            .expect("rules")
            .push(made)
    })
}

fn probe(major: u32) -> Probe {
    let probe = Probe::new().reads(NODE).writes(NODE).reads(CAP).writes(CAP);
    probe.makes("other", major, 13).makes("monitor", major, 2)
}

fn assert_granted(seen: &Seen, who: &str) {
    assert_eq!(seen.reads(NODE), Answer::NoDriver, "{who}");
    assert_eq!(seen.writes(NODE), Answer::NoDriver, "{who}");
    assert_eq!(seen.reads(CAP), Answer::NoDriver, "{who}");
    assert_eq!(seen.writes(CAP), Answer::NotPermitted, "{who}");
    for other in ["other", "monitor"] {
        assert_eq!(
            seen.makes(other),
            (Answer::Done, Answer::NotPermitted),
            "{who} {other}"
        );
    }
}

#[test]
fn exactly_the_given_devices_open() {
    for (runtime, view) in everywhere() {
        let (who, devices, before) = (format!("{runtime} {view}"), devices(), mounts(view));
        let bundle = bundle()
            .capability("CAP_DAC_OVERRIDE")
            .script(&probe(devices.major).script());
        let seen = Seen::read(&inject(&Engine::new(runtime, view), bundle, &devices).ok());
        assert_granted(&seen, &who);
        let major = devices.major;
        let nodes = [(CAP, (major, 12, 0o444)), (NODE, (major, 0, 0o666))];
        assert_eq!(seen.nodes().into_iter().collect::<Vec<_>>(), nodes, "{who}");
        assert_eq!(
            mounts(view),
            before,
            "{who}: something is left mounted on the host"
        );
    }
}

#[test]
fn a_user_namespace_gets_the_hosts_nodes_mounted() {
    for (runtime, view) in everywhere() {
        let (who, devices, before) = (format!("{runtime} {view}"), devices(), mounts(view));
        let probe = Probe::new().reads(NODE).writes(NODE).reads(CAP);
        let script = format!("{}grep ' /dev/nvidia' /proc/self/mountinfo", probe.script());
        let story = inject(
            &Engine::new(runtime, view),
            Bundle::new().user_namespace().script(&script),
            &devices,
        );
        let said = story.ok();
        let seen = Seen::read(&said);
        for answer in [seen.reads(NODE), seen.writes(NODE), seen.reads(CAP)] {
            assert_eq!(answer, Answer::NoDriver, "{who}");
        }
        let mounted: Vec<&str> = said.lines().filter(|line| line.contains(" - ")).collect();
        assert_eq!(mounted.len(), 2, "{who}: {mounted:?}");
        for line in mounted {
            assert!(
                line.contains("nosuid") && line.contains("noexec"),
                "{who}: {line}"
            );
            assert!(!line.contains("shared:"), "{who}: {line}");
        }
        assert_eq!(
            mounts(view),
            before,
            "{who}: something is left mounted on the host"
        );
    }
}

#[test]
fn doing_it_twice_changes_nothing_more() {
    for (runtime, view) in everywhere() {
        for user_namespace in [false, true] {
            let (who, devices) = (format!("{runtime} {view} {user_namespace}"), devices());
            let bundle = if user_namespace {
                Bundle::new().user_namespace()
            } else {
                Bundle::new()
            };
            let bundle = bundle.script(&Probe::new().reads(NODE).reads(CAP).script());
            let edits = devices.edits();
            let twice = at_create_runtime(&Engine::new(runtime, view), bundle, |container| {
                inject::into(container, &edits).and_then(|()| inject::into(container, &edits))
            });
            let seen = Seen::read(&twice.ok());
            assert_eq!(
                [seen.reads(NODE), seen.reads(CAP)],
                [Answer::NoDriver, Answer::NoDriver],
                "{who}"
            );
        }
    }
}

#[test]
fn a_wrong_node_is_replaced() {
    for (runtime, view) in everywhere() {
        let (who, devices) = (format!("{runtime} {view}"), devices());
        let major = devices.major;
        // The number of another device, and the right number with another mode.
        let bundle = bundle().device(NODE, major, 99, "rw").device(CAP, major, 12, "r");
        let bundle = bundle.script(&Probe::new().reads(NODE).writes(NODE).reads(CAP).script());
        let seen = Seen::read(&inject(&Engine::new(runtime, view), bundle, &devices).ok());
        let nodes = [(CAP, (major, 12, 0o444)), (NODE, (major, 0, 0o666))];
        assert_eq!(seen.nodes().into_iter().collect::<Vec<_>>(), nodes, "{who}");
        assert_eq!(seen.reads(NODE), Answer::NoDriver, "{who}");
    }
}

/// The nodes' modes don't depend on the umask of whoever calls, nor is that changed.
#[test]
fn the_callers_thread_stays_as_it_was() {
    for (runtime, view) in everywhere() {
        let edits = devices().edits();
        let bundle = Bundle::new().script(&Probe::new().reads(NODE).script());
        let story = at_create_runtime(&Engine::new(runtime, view), bundle, |container| {
            let place = || std::fs::read_link("/proc/thread-self/ns/mnt").expect("a link");
            let (before, mask) = (
                place(),
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077)),
            );
            let done = inject::into(container, &edits);
            assert_eq!(place(), before);
            assert_eq!(rustix::process::umask(mask).as_raw_mode(), 0o077);
            done
        });
        let seen = Seen::read(&story.ok());
        assert_eq!(seen.nodes()[NODE].2, 0o666);
        assert_eq!(seen.nodes()[CAP].2, 0o444);
    }
}

#[test]
fn a_dev_on_which_no_device_opens_is_a_clear_error() {
    for (runtime, view) in everywhere() {
        let (who, devices) = (format!("{runtime} {view}"), devices());
        let bundle = Bundle::new()
            .with(|config| config["mounts"][1]["options"] = json!(["nosuid", "nodev", "mode=755"]));
        let why = inject(&Engine::new(runtime, view), bundle, &devices).refused();
        assert!(why.contains("its /dev is mounted nodev"), "{who}: {why}");
    }
}

#[test]
fn a_host_node_that_is_another_device_is_never_mounted() {
    for (runtime, view) in everywhere() {
        let (who, devices) = (format!("{runtime} {view}"), devices());
        let mut edits = devices.edits();
        edits.nodes[1].number.minor = 13;
        let story = at_create_runtime(
            &Engine::new(runtime, view),
            Bundle::new().user_namespace(),
            |container| inject::into(container, &edits),
        );
        let why = story.refused();
        assert!(
            why.contains("it is not character device") && why.contains(":13"),
            "{who}: {why}"
        );
    }
}

#[test]
fn a_container_that_has_ended_is_a_clear_error() {
    let mut ended = std::process::Command::new("true").spawn().expect("true");
    let pid = ended.id() as i32;
    until("its end", || !is_alive(pid));
    let open = || LiveContainer::open(pid, rootfs::shared().to_owned(), true).map(drop);
    let zombie = open().unwrap_err().to_string();
    ended.wait().expect("its status");
    let gone = open().unwrap_err().to_string();
    for why in [zombie, gone] {
        assert!(why.contains(&format!("process {pid}")), "{why}");
    }
}

/// What is held is the process, not its number: nothing is done once it has ended, whoever has the number then.
#[test]
fn a_container_that_ends_while_it_is_served_is_a_clear_error() {
    let edits = devices().edits();
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "cat"]);
    let mut process = command
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("unshare");
    let pid = process.id() as i32;
    until("its namespace", || {
        let link = |of: &str| fs::read_link(format!("/proc/{of}/ns/mnt")).expect("a link");
        link(&pid.to_string()) != link("thread-self")
    });
    let container = LiveContainer::open(pid, rootfs::shared().to_owned(), true).expect("a container");
    container.device_access().expect("it lives");
    drop(process.stdin.take());
    process.wait().expect("its status");
    let access = container.device_access().map(drop);
    for done in [access, inject::into(&container, &edits)] {
        let why = done.unwrap_err().to_string();
        assert!(why.contains(&format!("process {pid} has exited")), "{why}");
    }
}
