//! Behind oci-mig-runtime, on plain bundles.

use std::fs;

use serde_json::{Value, json};

use super::{
    ASK, Door, REACHES, disguised, doors, guarded, maker, nvidias_hook, opens, probe, with_each_runtime,
};
use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::machine::Machine;
use crate::support::probe::{Answer, Seen};
use crate::support::process::Outcome;
use crate::support::runtime::{Engine, Runtime};
use crate::support::scratch::Scratch;

/// Runs the bundle's container behind oci-mig-runtime; whether config.json is as it was.
fn run(machine: &Machine, runtime: Runtime, view: View, bundle: &Bundle) -> (Outcome, bool) {
    let before = fs::read(bundle.config_file()).expect("config.json");
    let outcome = Engine::new(runtime, view).interposed(machine).run(bundle);
    let after = fs::read(bundle.config_file()).expect("config.json");
    (outcome, before == after)
}

fn with_each_door(mode: &str, story: impl Fn(&Machine, &Door, Outcome, bool, &str)) {
    with_each_runtime(|runtime, view| {
        let machine = guarded(mode);
        for door in doors(&machine) {
            let bundle = (door.open)(maker()).script(&probe(&machine)).write();
            let (outcome, untouched) = run(&machine, runtime, view, &bundle);
            let who = format!("{runtime} {view}: {}", door.what);
            story(&machine, &door, outcome, untouched, &who);
            assert!(!machine.ledger().exists(), "{who}");
        }
    });
}

#[test]
fn off_looks_at_nothing() {
    with_each_door("off", |_, _, outcome, untouched, who| {
        let outcome = outcome.ok();
        assert!(opens(&Seen::read(&outcome.stdout)), "{who}: {outcome}");
        assert!(untouched && outcome.stderr.is_empty(), "{who}: {outcome}");
    });
}

#[test]
fn warn_says_it_and_lets_it_pass() {
    with_each_door("warn", |_, door, outcome, untouched, who| {
        let outcome = outcome.ok();
        assert!(opens(&Seen::read(&outcome.stdout)), "{who}: {outcome}");
        assert!(untouched, "{who}: config.json has changed");
        let line = format!("oci-mig-hook: warning: {REACHES}: {}", door.said);
        assert!(outcome.stderr.starts_with(&line), "{who}: {outcome}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{who}: {outcome}");
    });
}

#[test]
fn refuse_makes_no_container() {
    with_each_door("refuse", |_, door, outcome, untouched, who| {
        assert_eq!(
            (outcome.code(), outcome.stdout.as_str()),
            (1, ""),
            "{who}: {outcome}"
        );
        assert!(untouched, "{who}: config.json has changed");
        let line = format!("oci-mig-hook: {REACHES}: {}", door.said);
        assert!(outcome.stderr.starts_with(&line), "{who}: {outcome}");
        let remedy = format!("; {ASK}, or start it without that\n");
        assert!(outcome.stderr.ends_with(&remedy), "{who}: {outcome}");
    });
}

#[test]
fn strip_takes_it_away() {
    with_each_door("strip", |_, _, outcome, untouched, who| {
        let outcome = outcome.ok();
        let seen = Seen::read(&outcome.stdout);
        assert!(!opens(&seen), "{who}: {outcome}");
        assert_eq!(
            seen.makes("gpu"),
            (Answer::Done, Answer::NotPermitted),
            "{who}: {outcome}"
        );
        assert!(seen.nodes().is_empty(), "{who}: {outcome}");
        assert!(!untouched && outcome.stderr.is_empty(), "{who}: {outcome}");
    });
}

/// A privileged container keeps all other devices.
#[test]
fn a_stripped_privileged_container_has_all_else() {
    with_each_runtime(|runtime, view| {
        let machine = guarded("strip");
        let majors = ["nvidia", "nvidia-caps", "nvidia-uvm", "nvidia-caps-imex-channels"]
            .map(|name| machine.major(name).expect("a major"));
        let probe = majors
            .iter()
            .fold(crate::support::probe::Probe::new(), |probe, major| {
                probe.makes(&format!("n{major}"), *major, 1)
            })
            // Nobody's: for local use.
            .makes("local", 120, 0);
        let bundle = Bundle::new().privileged().script(&probe.script()).write();
        let (outcome, _) = run(&machine, runtime, view, &bundle);
        let seen = Seen::read(&outcome.ok().stdout);
        for major in majors {
            let made = seen.makes(&format!("n{major}"));
            assert_eq!(
                made,
                (Answer::Done, Answer::NotPermitted),
                "{runtime} {view} {seen:?}"
            );
        }
        assert_eq!(
            seen.makes("local"),
            (Answer::Done, Answer::NoDriver),
            "{runtime} {view} {seen:?}"
        );
    });
}

/// NVIDIA's hook, and what it goes by.
#[test]
fn nvidias_own_ways() {
    with_each_runtime(|runtime, view| {
        let folder = Scratch::new("nvidia");
        let (hook, mark) = nvidias_hook(&folder);
        let bundle = || {
            let bundle = Bundle::new().hook("prestart", &hook, &["prestart"]);
            let bundle = bundle.annotation("cdi.k8s.io/gpu", "nvidia.com/gpu=all");
            let bundle = bundle
                .env("NVIDIA_VISIBLE_DEVICES", "all")
                .script("echo $NVIDIA_VISIBLE_DEVICES");
            bundle.bind("/dev/null".as_ref(), "/tmp/x").write()
        };
        for (mode, called, variable) in [
            ("off", true, "all\n"),
            ("warn", true, "all\n"),
            ("strip", false, "void\n"),
        ] {
            let machine = guarded(mode);
            let (outcome, untouched) = run(&machine, runtime, view, &bundle());
            assert_eq!(outcome.ok().stdout, variable, "{runtime} {view} {mode}");
            assert_eq!(untouched, called, "{runtime} {view} {mode}");
            assert_eq!(fs::remove_file(&mark).is_ok(), called, "{runtime} {view} {mode}");
        }
        let (outcome, untouched) = run(&guarded("refuse"), runtime, view, &bundle());
        let said = format!(
            "oci-mig-hook: {REACHES}: it has the prestart hook {}, the annotation cdi.k8s.io/gpu=nvidia.com/gpu=all; {ASK}",
            hook.display()
        );
        assert!(outcome.stderr.starts_with(&said), "{runtime} {view}: {outcome}");
        assert!(untouched && !mark.exists(), "{runtime} {view}: {outcome}");
    });
}

/// Every CUDA image ships the variable: that alone is no reason to refuse, and it says nothing any more.
#[test]
fn the_variable_alone_is_voided_and_refuses_nobody() {
    let (runtime, view) = (Runtime::Runc, Runtime::Runc.views()[0]);
    for (mode, expected) in [
        ("off", "all"),
        ("warn", "all"),
        ("refuse", "void"),
        ("strip", "void"),
    ] {
        for (value, expected) in [("all", expected), ("none", "none"), ("void", "void"), ("", "")] {
            let bundle = Bundle::new().env("NVIDIA_VISIBLE_DEVICES", value);
            let bundle = bundle.script("echo \"$NVIDIA_VISIBLE_DEVICES\"").write();
            let (outcome, untouched) = run(&guarded(mode), runtime, view, &bundle);
            let outcome = outcome.ok();
            assert_eq!(outcome.stdout, format!("{expected}\n"), "{mode} {value}");
            assert_eq!(untouched, value == expected, "{mode} {value}");
            assert_eq!(outcome.stderr, "", "{mode} {value}");
        }
    }
}

/// Byte for byte, whatever the document looks like.
#[test]
fn a_container_that_reaches_nothing_keeps_its_document() {
    let (runtime, view) = (Runtime::Crun, *Runtime::Crun.views().last().expect("a view"));
    for mode in ["warn", "refuse", "strip"] {
        let machine = guarded(mode);
        let bundle = maker().annotation("cdi.k8s.io/net", "vendor.com/net=eth0");
        let bundle = bundle.bind("/dev".as_ref(), "/tmp").script("true").write();
        let text = fs::read_to_string(bundle.config_file()).expect("config.json");
        fs::write(bundle.config_file(), text.replace("  ", "\t") + "\n\n").expect("config.json");
        let (outcome, untouched) = run(&machine, runtime, view, &bundle);
        let outcome = outcome.ok();
        assert!(untouched && outcome.stderr.is_empty(), "{mode}: {outcome}");
    }
}

/// What a path leads to counts, not what it is called.
#[test]
fn a_mount_in_disguise() {
    let (runtime, view) = (Runtime::Runc, Runtime::Runc.views()[0]);
    let machine = guarded("refuse");
    let folder = Scratch::new("disguise");
    let link = disguised(&folder, &machine.dev().join("nvidia0"));
    let bundle = Bundle::new().bind(&link, "/dev/x").write();
    let (outcome, _) = run(&machine, runtime, view, &bundle);
    let said = format!("it has a mount of {}; ", link.display());
    assert!(outcome.failed().stderr.contains(&said));
}

/// Where only more than NVIDIA's devices could be taken away, nothing is.
#[test]
fn what_can_not_be_stripped_is_refused() {
    let (runtime, view) = (Runtime::Runc, Runtime::Runc.views()[0]);
    let machine = guarded("strip");
    let rule = json!({"allow": true, "type": "c", "access": "rwm"});
    let bundle = Bundle::new().with(|config: &mut Value| {
        config["linux"]["resources"]["devices"]
            .as_array_mut()
            .expect("rules")
            .push(rule.clone());
    });
    let (outcome, untouched) = run(&machine, runtime, view, &bundle.write());
    assert!(untouched);
    let line = format!(
        "oci-mig-hook: {REACHES}: it has the device rule {rule}; it can't be stripped of that alone: start it without, \
         or ask for a device with mig.profile\n"
    );
    assert_eq!(
        (outcome.code(), outcome.stderr.as_str()),
        (1, line.as_str()),
        "{outcome}"
    );
}
