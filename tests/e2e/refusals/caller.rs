//! Who calls, and with what: not as root, not as an engine does, not with a document that is one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{ASKS, HOST, REFUSED, USAGE, assert_says, config, refuses_document, state};
use crate::support::bundle::Bundle;
use crate::support::machine::{Machine, PROGRAM};
use crate::support::process::{run, run_with, until};
use crate::support::scratch::Scratch;

const ROOTLESS: &str = "no MIG device for a rootless container: only root can write the ledger of leases; \
                        start it as root (sudo podman ...)";

/// What rootless Podman's hooks are: root of a user namespace, and nobody outside.
#[test]
fn root_of_a_user_namespace() {
    let machine = Machine::named("one-gpu");
    let documents = [
        ("precreate", config(ASKS)),
        ("createRuntime", state(ASKS)),
        ("prestart", state(ASKS)),
    ];
    for (stage, document) in documents {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", PROGRAM, stage, "--config"]);
        let outcome = run_with(command.arg(machine.config()), &document.to_string());
        assert_says(&outcome, REFUSED, ROOTLESS);
        assert!(!machine.ledger().exists(), "{stage}");
    }
}

#[test]
fn a_user_who_is_not_root() {
    let machine = Machine::named("one-gpu");
    // A copy: what is built below /root can't be seen by others.
    let folder = Scratch::new("program");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder of ours");
    let program = folder.path().join("oci-mig-hook");
    fs::copy(PROGRAM, &program).expect("a copy");
    for (stage, document) in [("precreate", config(ASKS)), ("createRuntime", state(ASKS))] {
        let mut command = Command::new(&program);
        command.args([stage, "--config"]).arg(machine.config());
        let outcome = run_with(command.uid(1000).gid(1000), &document.to_string());
        assert_says(&outcome, REFUSED, ROOTLESS);
        assert!(!machine.ledger().exists(), "{stage}");
    }
}

#[test]
fn a_config_that_is_none() {
    let machine = Machine::named("one-gpu");
    let remedy = "Podman calls this hook at precreate; see README for how to set it up";
    for (document, why) in [
        (
            "{\"annotations\":{\"mig.profile\":",
            "EOF while parsing a value at line 1 column 30",
        ),
        ("mig.profile=1g.10gb", "expected value at line 1 column 1"),
    ] {
        let line = format!("config.json on standard input can't be read: {why}; {remedy}");
        assert_says(&machine.stage("precreate", document), HOST, &line);
    }
}

#[test]
fn a_config_that_is_not_podmans() {
    let machine = Machine::named("one-gpu");
    let mut document = config(ASKS);
    document["linux"]["cgroupsPath"] = json!("/docker/somebody");
    let line = "config.json names no container id: its cgroup's name is not as Podman makes it; \
                the precreate stage is for Podman, and for containers with a cgroup; README tells what else there is";
    refuses_document(&machine, &document, HOST, line);
}

/// Half an edit is none: what was reserved goes back.
#[test]
fn a_config_of_the_wrong_shape() {
    let machine = Machine::named("one-gpu");
    for (member, value, named) in [
        ("process", json!([]), "process"),
        ("hooks", json!("x"), "hooks"),
        ("mounts", json!(5), "mounts"),
    ] {
        let mut document = config(ASKS);
        document[member] = value;
        if member == "mounts" {
            let namespaces = document["linux"]["namespaces"]
                .as_array_mut()
                .expect("namespaces");
            namespaces.push(json!({"type": "user"}));
        }
        let line = format!(
            "config.json can't be edited: {named} is not of the type that the OCI spec gives it; \
             look at the engine that wrote it"
        );
        refuses_document(&machine, &document, HOST, &line);
    }
}

#[test]
fn a_state_that_is_none() {
    let machine = Machine::named("one-gpu");
    let remedy = "an OCI runtime calls this hook; see README for how to set it up";
    let with = |member: &str, value: Value| {
        let mut state = state(ASKS);
        state[member] = value;
        state.to_string()
    };
    for stage in ["createRuntime", "prestart", "poststop"] {
        for (document, why) in [
            (String::new(), "EOF while parsing a value at line 1 column 0"),
            (
                "mig.profile=1g.10gb".to_owned(),
                "expected value at line 1 column 1",
            ),
            ("{}".to_owned(), "'' is no container id"),
            (with("id", json!("")), "'' is no container id"),
            (with("id", json!("../x")), "'../x' is no container id"),
        ] {
            let line = format!("the container's state on standard input can't be used: {why}; {remedy}");
            assert_says(&machine.stage(stage, &document), HOST, &line);
        }
    }
    let line = "can't read /no/such/bundle/config.json: No such file or directory (os error 2); \
                the runtime named that bundle; look whether it is still there";
    assert_says(
        &machine.stage("createRuntime", &state(ASKS).to_string()),
        HOST,
        line,
    );
    let bundle = Bundle::new().write();
    let mut stopped = state(ASKS);
    stopped["bundle"] = json!(bundle.folder());
    stopped["pid"] = json!(0);
    let line = "the container's state names no process: createRuntime runs while there is one; \
                look at the hook's stage in the engine's configuration";
    assert_says(&machine.stage("createRuntime", &stopped.to_string()), HOST, line);
    assert_eq!(machine.leases(), 0);
}

/// A hook entry with a slip in it tells whoever reads an engine's log.
/// Both where the container is served and where it is only to be kept from others' entries in /proc.
#[test]
fn a_config_without_a_root_file_system() {
    let folder = Scratch::new("bundle");
    let path = folder.file("config.json", "{\"root\": {\"readonly\": true}}");
    let line = format!(
        "config.json names no root file system: {}; look at the engine that wrote it",
        path.display()
    );
    let machine = Machine::named("one-gpu");
    let mut live = state(ASKS);
    live["bundle"] = json!(folder.path());
    assert_says(&machine.stage("createRuntime", &live.to_string()), HOST, &line);
    machine.assert_free("not served");

    let outcome = machine.stage("precreate", &config(ASKS).to_string()).ok();
    let edited: Value = serde_json::from_str(&outcome.stdout).expect("config.json");
    let words = edited["hooks"]["createRuntime"][0]["args"]
        .as_array()
        .expect("arguments");
    let mut confirm = Command::new(PROGRAM);
    confirm.args(words.iter().skip(1).filter_map(Value::as_str));
    let mut made = state(&[]);
    made["bundle"] = json!(folder.path());
    made["annotations"] = edited["annotations"].clone();
    let id = edited["linux"]["cgroupsPath"]
        .as_str()
        .and_then(|path| path.rsplit("libpod-").next());
    made["id"] = json!(id);
    // It has no control group of its own, being this test.
    machine.configure("allow_privileged", "true");
    assert_says(&run_with(&mut confirm, &made.to_string()), HOST, &line);
    machine.assert_free("given back");
}

#[test]
fn a_hook_entry_that_is_none() {
    for (args, why) in [
        (
            ["poststop", "--config"].as_slice(),
            "a value is required for '--config <FILE>' but none was supplied",
        ),
        (
            &["createRuntime", "--devices", "MIG-1"],
            "invalid value 'MIG-1' for '--devices <DEVICES>': \
             'MIG-1' is not of the form MIG-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        ),
        (
            &["precreate", "--confg", "/x"],
            "unexpected argument '--confg' found",
        ),
    ] {
        let line = format!("this hook entry is wrong: {why}; see 'oci-mig-hook --help'");
        assert_says(
            &run_with(Command::new(PROGRAM).args(args), &config(ASKS).to_string()),
            USAGE,
            &line,
        );
    }
}

/// What is no hook's is judged as a person's.
#[test]
fn a_command_line_that_is_none() {
    for (args, first) in [
        (&["precreat"][..], "error: unrecognized subcommand 'precreat'"),
        (
            &[],
            "Gives a container its own NVIDIA MIG device, or a whole GPU, and takes it back when the container ends",
        ),
        (&["status", "--jsn"], "error: unexpected argument '--jsn' found"),
    ] {
        let outcome = run(Command::new(PROGRAM).args(args));
        assert_eq!(outcome.code(), USAGE, "{outcome}");
        assert!(outcome.stderr.starts_with(first), "{outcome}");
        assert_eq!(outcome.stdout, "", "{outcome}");
    }
}

/// crun points a hook's standard error at any file of the host that the container names, and what our line quotes is
/// the container's too: it is said elsewhere.
#[test]
fn nothing_is_said_where_the_container_chose() {
    let machine = Machine::named("one-gpu");
    let evil = ("mig.profile", "x /evil.so ");
    let said = |annotations: &[(&str, &str)]| machine.stage("createRuntime", &state(annotations).to_string());
    assert!(said(&[evil]).stderr.contains("/evil.so"));
    for key in ["run.oci.hooks.stderr", "run.oci.hooks.stdout"] {
        let outcome = said(&[evil, (key, "/etc/ld.so.preload")]);
        assert_eq!(outcome.code(), USAGE, "{outcome}");
        assert_eq!(
            (outcome.stdout.as_str(), outcome.stderr.as_str()),
            ("", ""),
            "{outcome}"
        );
    }
}

/// Podman's hooks are in the process group of whoever typed the command. Stopped with the lock in hand, one would stop
/// every other container on the machine.
#[test]
fn a_hook_can_not_be_stopped_from_the_keyboard() {
    let machine = Machine::named("one-gpu");
    let mut command = machine.program("precreate");
    let mut hook = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program under test");
    let blocked = || {
        let status = fs::read_to_string(format!("/proc/{}/status", hook.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        u64::from_str_radix(line.expect("a mask").trim(), 16).expect("hexadecimal")
    };
    let stops = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].map(|signal| 1u64 << (signal - 1));
    until("the signals are blocked", || {
        stops.iter().all(|bit| blocked() & bit != 0)
    });
    drop(hook.stdin.take());
    hook.wait().expect("an end");
}
