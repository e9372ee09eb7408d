//! The line in the system log: it stands there, and a log that is absent or stuck holds nothing up. Each test has a
//! /dev of its own, in a mount namespace of its own; the machine's log is left alone.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

use super::{ASK, assert_said, document, hooks, no_such_profile, refused, with_each_runtime};
use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::machine::{Machine, PROGRAM};
use crate::support::podman::Podman;
use crate::support::process::run;
use crate::support::scratch::Scratch;

/// A folder that can be /dev: what a container's making needs of it, and perhaps a system log.
struct Dev(Scratch);

impl Dev {
    fn new() -> Self {
        let folder = Scratch::new("dev");
        for (name, minor) in [
            ("null", 3),
            ("zero", 5),
            ("full", 7),
            ("random", 8),
            ("urandom", 9),
        ] {
            let (path, device) = (folder.join(name), makedev(1, minor));
            mknodat(CWD, &path, FileType::CharacterDevice, Mode::from(0o666), device).expect("mknod");
        }
        for name in ["shm", "pts"] {
            fs::create_dir(folder.join(name)).expect("a folder of ours");
        }
        Self(folder)
    }

    fn system_log(&self) -> UnixDatagram {
        let log = UnixDatagram::bind(self.0.join("log")).expect("a socket of ours");
        log.set_nonblocking(true).expect("a socket of ours");
        log
    }

    /// `command` in a mount namespace of its own, where this is /dev.
    fn command(&self, view: View, command: &Command) -> Command {
        let mut inside = view.command("unshare");
        inside.args(["--mount", "--propagation=private", "sh", "-c"]);
        inside.args([r#"mount --bind "$1" /dev && shift && exec "$@""#, "sh"]);
        inside
            .arg(self.0.path())
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            inside.env(name, value.expect("no variable is removed"));
        }
        inside
    }
}

fn logged(log: &UnixDatagram) -> Vec<String> {
    let mut message = [0; 8192];
    let received = std::iter::from_fn(|| {
        log.recv(&mut message)
            .ok()
            .map(|length| message[..length].to_vec())
    });
    received
        .map(|message| String::from_utf8(message).expect("text"))
        .collect()
}

#[test]
fn the_line_stands_in_the_system_log() {
    with_each_runtime(|runtime, view| {
        for stage in ["precreate", "createRuntime"] {
            let machine = Machine::named("one-gpu");
            let (dev, folder) = (Dev::new(), hooks(&machine, stage));
            let podman = Podman::new(runtime, view, &[folder.path()]);
            let log = dev.system_log();
            let outcome = run(&mut dev.command(view, &refused(&podman, &[ASK]))).failed();
            let line = no_such_profile(&machine);
            let who = format!("podman {runtime} {stage}");
            assert_said(&outcome.stderr, &line, &who);
            let reason = line.strip_prefix("oci-mig-hook: ").expect("our name");
            // Newer conmons log what their runtime said, the line included.
            let mut messages = logged(&log);
            messages.retain(|message| !message.contains(" conmon: "));
            assert_eq!(messages.len(), 1, "{who}: {messages:?}");
            // Facility daemon, severity error.
            let (tag, text) = messages[0].split_once(": ").expect("a tag");
            assert!(
                tag.starts_with("<27>oci-mig-hook[") && tag.ends_with(']'),
                "{who}: {tag}"
            );
            assert_eq!(text, reason, "{who}");
        }
    });
}

/// What the guard only warns of is no error, and is said to the same readers.
#[test]
fn a_warning_stands_there_as_one() {
    let machine = Machine::named("one-gpu");
    machine.configure("guard", "\"warn\"");
    machine.stand_before("/usr/bin/true".as_ref());
    let dev = Dev::new();
    let log = dev.system_log();
    let bundle = Bundle::new().device("/dev/nvidia0", machine.major("nvidia").expect("a major"), 0, "rw");
    let bundle = bundle.write();
    let mut create = machine.interposed();
    create
        .args(["--log-format=json", "--log"])
        .arg(bundle.folder().join("log.json"));
    create.args(["create", "--bundle"]).arg(bundle.folder()).arg("c");
    let outcome = run(&mut dev.command(View::Host, &create)).ok();
    let messages = logged(&log);
    assert_eq!(messages.len(), 1, "{messages:?}");
    // Facility daemon, severity warning.
    assert!(messages[0].starts_with("<28>oci-mig-hook["), "{messages:?}");
    let (_, reason) = messages[0].split_once(": ").expect("a tag");
    let line = format!("oci-mig-hook: warning: {reason}");
    assert_eq!(outcome.stderr, format!("{line}\n"));
    let record = fs::read_to_string(bundle.folder().join("log.json")).expect("the runtime's log");
    let record: serde_json::Value = serde_json::from_str(&record).expect("one record");
    assert_eq!(
        (&record["level"], &record["msg"]),
        (&json!("warning"), &json!(line))
    );
}

/// By then nobody may be reading: Podman's own clean-up has /dev/null for standard error.
#[test]
fn what_poststop_could_not_do_stands_in_the_system_log() {
    with_each_runtime(|runtime, view| {
        let (dev, folder) = (Dev::new(), Scratch::new("hooks"));
        let hook = json!({
            "version": "1.0.0",
            "hook": {
                "path": PROGRAM,
                "args": ["oci-mig-hook", "poststop", "--config", "/nonexistent.toml"],
                "env": ["PATH=/usr/bin:/bin"],
            },
            "when": {"annotations": {r"^mig\.": ".*"}},
            "stages": ["poststop"],
        });
        folder.file("poststop.json", &hook.to_string());
        let podman = Podman::new(runtime, view, &[folder.path()]);
        let log = dev.system_log();
        let run_it = refused(&podman, &["--annotation=mig.profile=1g.10gb"]);
        run(&mut dev.command(view, &run_it)).ok();
        let messages = logged(&log);
        assert!(
            messages
                .iter()
                .any(|message| message.contains("configuration file /nonexistent.toml")),
            "podman {runtime}: {messages:?}"
        );
    });
}

/// A stage by itself, in such a /dev.
fn refused_stage(dev: &Dev, machine: &Machine) {
    let mut command = dev.command(View::Host, &machine.program("precreate"));
    let config = Scratch::new("config");
    let document = config.file("config.json", &document("9g.90gb"));
    command.stdin(Stdio::from(fs::File::open(&document).expect("a file of ours")));
    let output = command.stdout(Stdio::null()).output().expect("unshare");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_said(said.trim_end(), &no_such_profile(machine), "precreate");
}

#[test]
fn a_machine_without_a_system_log_is_no_error() {
    refused_stage(&Dev::new(), &Machine::named("one-gpu"));
}

#[test]
fn a_stuck_system_log_holds_nothing_up() {
    let (machine, dev) = (Machine::named("one-gpu"), Dev::new());
    let log = dev.system_log();
    let filler = UnixDatagram::unbound().expect("a socket");
    filler.set_nonblocking(true).expect("a socket of ours");
    while filler.send_to(b"full", dev.0.join("log")).is_ok() {}
    refused_stage(&dev, &machine);
    assert!(logged(&log).iter().all(|message| message == "full"));
}
