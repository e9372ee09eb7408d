//! A container that didn't ask is left alone: its config.json is the same byte for byte, and our program opens
//! nothing for it. Engines call us for such containers too, where a hook's condition is `always`.

use std::path::Path;
use std::process::Command;

use crate::support::machine::{Machine, PROGRAM};
use crate::support::podman::Podman;
use crate::support::process::run_with;
use crate::support::runtime::{Engine, everywhere, program};
use crate::support::scratch::Scratch;

/// Configs that ask for nothing, written as no serialiser would write them all.
const CONFIGS: [&str; 7] = [
    "{}",
    "{\"ociVersion\":\"1.0.2\",\n\t\"annotations\" : null }\n",
    "{\"annotations\":{\"a\":\"b\"},\"x\":1.0e+2,\"x\":18446744073709551615,\"y\":\"\\u0041\\/\"}\n\n",
    // Not ours: a dot in the word, another prefix.
    "{\"annotations\":{\"mig.example.org\":\"1\",\"mig.foo.bar/x\":\"1\",\"amig.profile\":\"1g.10gb\",\"MIG.profile\":\"1\"}}",
    // Ours, but not an annotation.
    "{\"process\":{\"env\":[\"mig.profile=1g.10gb\"]},\"annotations\":{\"a\":\"mig.profile\"}}",
    "{\"annotations\":{\"\\u006dif.profile\":\"1g.10gb\"}}",
    // As an engine without annotations has it, with members that we don't know.
    "{\"hooks\":null,\"linux\":{\"resources\":{\"devices\":null}},\"zz\":[1,2,{\"zz\":[]}]}",
];

const STATE: &str = r#"{"ociVersion":"1.0.2","id":"x","status":"creating","pid":1,"bundle":"/nowhere","annotations":{"a":"b"}}"#;

#[test]
fn a_config_that_asks_for_nothing_comes_back_byte_for_byte() {
    let machine = Machine::with(&["1g.10gb"]);
    for config in CONFIGS {
        assert_eq!(machine.stage("precreate", config).ok().stdout, config);
    }
    assert!(!machine.ledger().exists());
}

/// What a run of the program opened, by strace: what came before it read its standard input, and what after.
fn opened(machine: &Machine, stage: &str, document: &str) -> (Vec<String>, Vec<String>) {
    let folder = Scratch::new("strace");
    let trace = folder.join("trace");
    let mut command = Command::new(program("strace"));
    command.args([
        "-f",
        "-e",
        "trace=open,openat,openat2,creat,socket,connect,execve,fork,vfork,clone,clone3,read",
        "-o",
    ]);
    command
        .arg(&trace)
        .args([PROGRAM, stage, "--config"])
        .arg(machine.config());
    run_with(&mut command, document).ok();
    let trace = std::fs::read_to_string(&trace).expect("strace's output");
    let lines: Vec<_> = trace
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, call)| call.trim())
        .collect();
    let first_read = lines
        .iter()
        .position(|call| call.starts_with("read(0,"))
        .expect("a read of standard input");
    let calls = |lines: &[&str]| -> Vec<String> {
        let others = lines
            .iter()
            .filter(|call| !call.starts_with("read(") && !call.starts_with("+++"));
        others.map(|call| (*call).to_owned()).collect()
    };
    // strace shows the program's own start as the first call.
    (calls(&lines[1..first_read]), calls(&lines[first_read..]))
}

#[test]
fn nothing_is_opened_after_the_loader_is_done() {
    let machine = Machine::with(&["1g.10gb"]);
    let documents = CONFIGS.iter().map(|config| ("precreate", *config));
    let states = ["createRuntime", "prestart", "poststop"].map(|stage| (stage, STATE));
    for (stage, document) in documents.chain(states) {
        let (before, after) = opened(&machine, stage, document);
        assert_eq!(after, Vec::<String>::new(), "{stage}: {document}");
        // Rust's own start looks up the main thread's stack in maps.
        let loaders = |call: &String| {
            [".so", "/etc/ld.so.cache", "\"/proc/self/maps\""]
                .iter()
                .any(|part| call.contains(part))
        };
        assert!(before.iter().all(loaders), "{stage}: {before:?}");
    }
    // The same eyes see it when a container asks.
    let (_, after) = opened(&machine, "poststop", &STATE.replace("\"a\":", "\"mig.profile\":"));
    assert!(after.iter().any(|call| call.contains("config.toml")), "{after:?}");
}

#[test]
fn a_bundle_that_asks_for_nothing_stays_as_it_is() {
    for (runtime, view) in everywhere() {
        let machine = Machine::with(&["1g.10gb"]);
        let bundle = machine
            .bundle()
            .annotation("a", "b")
            .script("ls /dev/nvidia* 2>&1")
            .write();
        let before = std::fs::read(bundle.config_file()).expect("config.json");
        let outcome = Engine::new(runtime, view).run(&bundle).failed();
        assert!(
            outcome.stdout.contains("No such file"),
            "{runtime} {view}: {outcome}"
        );
        assert_eq!(
            std::fs::read(bundle.config_file()).expect("config.json"),
            before,
            "{runtime} {view}"
        );
        assert!(!machine.ledger().exists(), "{runtime} {view}");
    }
}

/// A precreate hook for every container that keeps what went into ours and what came out.
fn witness(machine: &Machine) -> Scratch {
    let folder = Scratch::new("witness");
    let at = folder.path().display();
    let config = machine.config();
    let script = format!(
        "#!/bin/sh\nset -e\ncat >{at}/in\n{PROGRAM} precreate --config {} <{at}/in >{at}/out\ncat {at}/out\n",
        config.display()
    );
    let program = folder.program("witness", &script);
    let hook = serde_json::json!({
        "version": "1.0.0",
        "hook": {"path": program, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "when": {"always": true},
        "stages": ["precreate"],
    });
    folder.file("hooks.d/witness.json", &hook.to_string());
    folder
}

#[test]
fn a_podman_container_that_asks_for_nothing_is_created_from_podmans_own_bytes() {
    for (runtime, view) in everywhere() {
        let machine = Machine::with(&["1g.10gb"]);
        let witness = witness(&machine);
        let podman = Podman::new(runtime, view, &[&witness.join("hooks.d") as &Path]);
        podman
            .run(&["--annotation=a=b", "--env=NVIDIA_VISIBLE_DEVICES=all"], "true")
            .ok();
        let [before, after] =
            ["in", "out"].map(|name| std::fs::read(witness.join(name)).expect("a config.json"));
        assert!(!before.is_empty() && before == after, "{runtime} {view}");
        assert!(!machine.ledger().exists(), "{runtime} {view}");
        // The witness sees a difference where there is one.
        podman.run(&["--annotation=mig.profile=1g.10gb"], "true").ok();
        let [before, after] =
            ["in", "out"].map(|name| std::fs::read(witness.join(name)).expect("a config.json"));
        assert_ne!(before, after, "{runtime} {view}");
    }
}
