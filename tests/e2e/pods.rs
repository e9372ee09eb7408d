//! Pods: their annotations reach the sandbox and every container. The sandbox gets nothing, and each container what the
//! pod asks for it by name, or for all.

use std::fs;

use crate::support::bundle::Bundle;
use crate::support::machine::Machine;
use crate::support::probe::{Probe, Seen};
use crate::support::process::Outcome;
use crate::support::runtime::{Engine, Runtime, everywhere};

/// What the pod's author wrote.
const POD: &[(&str, &str)] = &[
    ("mig.profile", "1g.10gb"),
    ("mig.memory/web", "20GB"),
    ("mig.count/batch", "2"),
];

/// What an engine adds for a container of that name, or for the sandbox.
type Mark = fn(Bundle, Option<&str>) -> Bundle;

fn containerd(bundle: Bundle, name: Option<&str>) -> Bundle {
    let kind = name.map_or("sandbox", |_| "container");
    let bundle = bundle.annotation("io.kubernetes.cri.container-type", kind);
    match name {
        Some(name) => bundle.annotation("io.kubernetes.cri.container-name", name),
        None => bundle,
    }
}

fn crio(bundle: Bundle, name: Option<&str>) -> Bundle {
    let kind = name.map_or("sandbox", |_| "container");
    let metadata = format!(r#"{{"name":"{}","attempt":1}}"#, name.unwrap_or("pod"));
    let bundle = bundle.annotation("io.kubernetes.cri-o.ContainerType", kind);
    let bundle = bundle.annotation("io.kubernetes.cri-o.Name", "k8s_POD_pod_default_0_0");
    bundle.annotation("io.kubernetes.cri-o.Metadata", &metadata)
}

fn member(machine: &Machine, mark: Mark, name: Option<&str>) -> Bundle {
    let bundle = mark(machine.bundle(), name);
    let annotated = POD
        .iter()
        .fold(bundle, |bundle, (key, value)| bundle.annotation(key, value));
    annotated.script(&Probe::new().script())
}

/// By createRuntime, as CRI-O's hooks.d has it.
#[test]
fn each_container_has_its_own_and_the_sandbox_none() {
    for (runtime, view) in everywhere() {
        for mark in [containerd as Mark, crio] {
            let machine = Machine::with(&["2g.20gb", "1g.10gb", "1g.10gb"]);
            let engine = Engine::new(runtime, view);
            let profiles = |name: Option<&str>| -> Vec<String> {
                let bundle = member(&machine, mark, name).write();
                let before = fs::read(bundle.config_file()).expect("config.json");
                let seen = Seen::read(&engine.run(&bundle).ok().stdout);
                let after = fs::read(bundle.config_file()).expect("config.json");
                assert!(before == after, "{runtime} {view}: config.json has changed");
                machine.assert_free(&format!("{runtime} {view} {name:?}"));
                profiles_of(&machine, &seen)
            };
            assert_eq!(profiles(None), [""; 0], "{runtime} {view}");
            assert_eq!(profiles(Some("web")), ["2g.20gb"], "{runtime} {view}");
            assert_eq!(profiles(Some("db")), ["1g.10gb"], "{runtime} {view}");
            assert_eq!(
                profiles(Some("batch")),
                ["1g.10gb", "1g.10gb"],
                "{runtime} {view}"
            );
        }
    }
}

/// The profiles of the devices whose nodes are there.
fn profiles_of(machine: &Machine, seen: &Seen) -> Vec<String> {
    let nodes = seen.nodes();
    let has = |minor: u32| nodes.contains_key(format!("/dev/nvidia-caps/nvidia-cap{minor}").as_str());
    let devices = machine.devices().expect("devices").into_iter();
    devices
        .filter(|device| has(device.gi_minor) && has(device.ci_minor))
        .map(|device| device.profile)
        .collect()
}

#[test]
fn two_containers_of_a_pod_that_run_at_once_share_nothing() {
    let (runtime, view) = everywhere().next().expect("a runtime");
    let machine = Machine::with(&["2g.20gb", "1g.10gb", "1g.10gb"]);
    let engine = Engine::new(runtime, view);
    let bundles = ["one", "two"].map(|name| {
        let bundle = containerd(machine.bundle(), Some(name)).annotation("mig.profile", "1g.10gb");
        bundle.args(["sleep", "1000"]).write()
    });
    let mut containers = bundles.each_ref().map(|bundle| engine.container(bundle));
    for container in &mut containers {
        container.create().ok();
    }
    let holders: Vec<_> = machine.taken().into_values().map(|(_, holder)| holder).collect();
    assert_eq!(holders.len(), 2);
    assert!(
        bundles
            .iter()
            .all(|bundle| holders.contains(&bundle.id().to_owned()))
    );
}

/// By oci-mig-runtime, as containerd's CRI has it: the same, and the sandbox's config.json stays as it is.
#[test]
fn behind_the_interposed_runtime() {
    for (runtime, view) in everywhere() {
        let machine = Machine::with(&["2g.20gb", "1g.10gb", "1g.10gb"]);
        let engine = Engine::new(runtime, view).interposed(&machine);
        for (name, expected) in [
            (None, &[][..]),
            (Some("web"), &["2g.20gb"]),
            (Some("db"), &["1g.10gb"]),
        ] {
            let bundle = containerd(Bundle::new(), name).script(&Probe::new().script());
            let bundle = POD
                .iter()
                .fold(bundle, |bundle, (key, value)| bundle.annotation(key, value))
                .write();
            let before = fs::read(bundle.config_file()).expect("config.json");
            let seen = Seen::read(&engine.run(&bundle).ok().stdout);
            let after = fs::read(bundle.config_file()).expect("config.json");
            let who = format!("{runtime} {view} {name:?}");
            assert_eq!(profiles_of(&machine, &seen), expected, "{who}");
            assert_eq!(before == after, name.is_none(), "{who}");
            assert_eq!(seen.visible_devices().is_some(), name.is_some(), "{who}");
        }
    }
}

/// A word that nobody knows stops every container of the pod, and not its sandbox.
#[test]
fn a_mistake_stops_the_pods_containers() {
    let (runtime, view) = everywhere().next().expect("a runtime");
    let machine = Machine::with(&["2g.20gb", "1g.10gb", "1g.10gb"]);
    let run = |name: Option<&str>, key: &str| -> Outcome {
        let bundle = member(&machine, containerd, name).annotation(key, "x");
        Engine::new(runtime, view).run(&bundle.write())
    };
    for key in ["mig.profil/db", "mig.profile/", "mig.lease/db"] {
        run(None, key).ok();
        let outcome = run(Some("web"), key).failed();
        assert!(outcome.text().contains(&format!("{key}: ")), "{outcome}");
    }
    // One container's mistake is its own.
    run(Some("web"), "mig.profile/db").ok();
    run(Some("db"), "mig.profile/db").failed();
    machine.assert_free("after mistakes");
}

/// Podman's precreate sees the same annotations, forged by an image or a user: they gain nothing.
#[test]
fn precreate_leaves_a_sandbox_alone() {
    let machine = Machine::with(&["2g.20gb", "1g.10gb", "1g.10gb"]);
    let sandbox = containerd(Bundle::new(), None).annotation("mig.profile", "1g.10gb");
    let document = serde_json::to_string_pretty(&sandbox.config).expect("JSON");
    let outcome = machine.stage("precreate", &document).ok();
    assert!(outcome.stdout == document, "{outcome}");
    assert!(!machine.ledger().exists());
    let both = crio(containerd(Bundle::new(), None), Some("web")).annotation("mig.profile", "1g.10gb");
    let outcome = machine.stage("precreate", &both.config.to_string()).failed();
    assert_eq!(outcome.code(), 2, "{outcome}");
    assert!(outcome.stderr.contains("they contradict each other"), "{outcome}");
}

/// Podman's own pods: their containers are marked, but not by name.
#[test]
fn podmans_pods() {
    for runtime in [Runtime::Runc, Runtime::Crun] {
        let view = runtime.views()[0];
        let machine = Machine::with(&["2g.20gb", "1g.10gb", "1g.10gb"]);
        let podman = machine.podman(runtime, view, &[]);
        podman
            .call(&["pod", "create", "--infra=false", "--name=pod"])
            .ok();
        let probe = Probe::new().script();
        let options = ["--pod=pod", "--annotation=mig.profile=2g.20gb"];
        let seen = Seen::read(&podman.run(&options, &probe).ok().stdout);
        assert_eq!(profiles_of(&machine, &seen), ["2g.20gb"], "{runtime} {view}");
        let outcome = podman
            .run(&["--pod=pod", "--annotation=mig.profile/web=2g.20gb"], "true")
            .failed();
        assert!(
            outcome.stderr.contains("use mig.profile on the container itself"),
            "{outcome}"
        );
        machine.assert_free(&format!("{runtime} {view}"));
    }
}
