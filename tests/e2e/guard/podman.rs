//! On Podman, by a second precreate hook that is called for every container.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::{ASK, REACHES, guarded, nvidias_hook, opens, probe, with_each_runtime};
use crate::support::cgroups::View;
use crate::support::machine::{Machine, PROGRAM};
use crate::support::podman::Podman;
use crate::support::probe::{Answer, Probe, Seen};
use crate::support::runtime::Runtime;
use crate::support::scratch::Scratch;

/// Podman with our hooks, the guard's among them, and NVIDIA's.
pub struct Place {
    pub machine: Machine,
    pub podman: Podman,
    mark: PathBuf,
    _hooks: Scratch,
}

impl Place {
    fn new(mode: &str, runtime: Runtime, view: View) -> Self {
        Self::with(mode, runtime, view, true)
    }

    /// `nvidias`: with NVIDIA's hook, for every container.
    pub fn with(mode: &str, runtime: Runtime, view: View, nvidias: bool) -> Self {
        let machine = guarded(mode);
        let hooks = Scratch::new("hooks");
        let entry = |name: &str, path: PathBuf, args: serde_json::Value, stage: &str| {
            let entry = json!({
                "version": "1.0.0",
                "hook": {"path": path, "args": args, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
                "when": {"always": true},
                "stages": [stage],
            });
            hooks.file(&format!("hooks.d/{name}.json"), &entry.to_string());
        };
        let guard = json!([
            "oci-mig-hook",
            "precreate",
            "--guard",
            "--config",
            machine.config()
        ]);
        entry("oci-mig-hook-guard", PROGRAM.into(), guard, "precreate");
        let (program, mark) = nvidias_hook(&hooks);
        if nvidias {
            entry("oci-nvidia-hook", program, json!(["x", "prestart"]), "prestart");
        }
        let podman = machine.podman(runtime, view, &[&hooks.join("hooks.d")]);
        Self {
            machine,
            podman,
            mark,
            _hooks: hooks,
        }
    }

    /// `--device` of the first GPU.
    fn gpu(&self) -> String {
        format!(
            "--device={}:/dev/nvidia0",
            self.machine.dev().join("nvidia0").display()
        )
    }
}

/// A GPU by `--device`, by `--privileged`, and NVIDIA's hook.
#[test]
fn each_mode() {
    with_each_runtime(|runtime, view| {
        for mode in ["off", "warn", "refuse", "strip"] {
            let place = Place::new(mode, runtime, view);
            let gpu = place.gpu();
            let doors: [&[&str]; 3] = [
                &["--cap-add=MKNOD", &gpu],
                &["--privileged"],
                &["--cap-add=MKNOD"],
            ];
            for door in doors {
                let who = format!("{runtime} {view} {mode} {door:?}");
                let options = [door, &["--env=NVIDIA_VISIBLE_DEVICES=all"]].concat();
                let outcome = place.podman.run(&options, &probe(&place.machine));
                let called = fs::remove_file(&place.mark).is_ok();
                let is_open = mode == "off" || mode == "warn";
                assert_eq!(called, is_open, "{who}: {outcome}");
                let warned = outcome
                    .stderr
                    .contains(&format!("oci-mig-hook: warning: {REACHES}: it has "));
                assert_eq!(warned, mode == "warn", "{who}: {outcome}");
                if mode == "refuse" {
                    let outcome = outcome.failed();
                    let said = format!("oci-mig-hook: {REACHES}: it has ");
                    assert!(
                        outcome.stderr.contains(&said) && outcome.stderr.contains(ASK),
                        "{who}: {outcome}"
                    );
                    continue;
                }
                let seen = Seen::read(&outcome.ok().stdout);
                let has_device = door.len() == 2 || door == ["--privileged"];
                assert_eq!(opens(&seen), is_open && has_device, "{who}: {seen:?}");
                let variable = if mode == "strip" { "void" } else { "all" };
                assert_eq!(seen.visible_devices(), Some(variable), "{who}");
            }
            assert!(!place.machine.ledger().exists(), "{runtime} {view} {mode}");
        }
    });
}

/// Who asks is served by the other entry, whichever comes first, and the guard leaves it alone.
#[test]
fn one_that_asks_is_served() {
    for runtime in [Runtime::Runc, Runtime::Crun] {
        let place = Place::new("strip", runtime, runtime.views()[0]);
        let own = place.machine.device("2g.20gb");
        let options = ["--cap-add=MKNOD", "--annotation=mig.profile=2g.20gb"];
        let outcome = place
            .podman
            .run(&options, &place.machine.probe(&own).script())
            .ok();
        let seen = Seen::read(&outcome.stdout);
        place
            .machine
            .assert_isolated(&seen, &own, true, "a container that asks");
        assert_eq!(seen.visible_devices(), Some(own.uuid.as_str()));
        place.machine.assert_free("afterwards");
    }
}

/// The same by a folder of nodes: rules are put in their way, and all else in there stays.
#[test]
fn a_folder_of_nodes_in_a_user_namespace() {
    with_each_runtime(|runtime, view| {
        let place = Place::new("strip", runtime, view);
        let [uids, gids] = Podman::user_namespace();
        let volume = format!("--volume={}:/devs:dev", place.machine.dev().display());
        let probe = Probe::new().reads("/devs/nvidia0").reads("/dev/null").script();
        let seen = Seen::read(&place.podman.run(&[&uids, &gids, &volume], &probe).ok().stdout);
        let answers = (seen.reads("/devs/nvidia0"), seen.reads("/dev/null"));
        assert_eq!(
            answers,
            (Answer::NotPermitted, Answer::Done),
            "{runtime} {view}: {seen:?}"
        );
    });
}

/// With a user namespace Podman writes no device rules: a mount is all that it takes.
#[test]
fn a_mount_into_a_user_namespace() {
    for (mode, is_there) in [("off", true), ("strip", false)] {
        with_each_runtime(|runtime, view| {
            let place = Place::new(mode, runtime, view);
            let [uids, gids] = Podman::user_namespace();
            let node = place.machine.dev().join("nvidia0");
            let volume = format!("--volume={}:/dev/nvidia0:dev", node.display());
            let outcome = place.podman.run(&[&uids, &gids, &volume], &probe(&place.machine));
            let seen = Seen::read(&outcome.ok().stdout);
            let nodes = seen.nodes();
            assert_eq!(
                nodes.contains_key("/dev/nvidia0"),
                is_there,
                "{runtime} {view} {mode}: {seen:?}"
            );
        });
    }
}
