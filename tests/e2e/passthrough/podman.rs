//! Containers that did not ask, through Podman itself, with our hooks installed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Broken;
use crate::support::cgroups::View;
use crate::support::machine::PROGRAM;
use crate::support::podman::Podman;
use crate::support::process::run;
use crate::support::runtime::{Runtime, everywhere};
use crate::support::scratch::Scratch;

/// A hooks folder, and what our hook was called with there.
struct Hooks {
    folder: Scratch,
    broken: Broken,
}

impl Hooks {
    fn new() -> Self {
        Self {
            folder: Scratch::new("hooks"),
            broken: Broken::new(),
        }
    }

    /// An entry that calls our program for `stage` and keeps what went in and what came out.
    fn add(&self, stage: &str, mut entry: Value) {
        let [_, option, config] = self.broken.arguments(stage);
        let record = self.folder.join(stage);
        let script = format!(
            "#!/bin/sh\ncat >{record}.in\n{PROGRAM} {stage} {option} {config} <{record}.in >{record}.out || exit $?\n\
             cat {record}.out\n",
            record = record.display(),
        );
        entry["hook"]["path"] = json!(self.folder.program(&format!("{stage}.sh"), &script));
        entry["stages"] = json!([stage]);
        self.folder
            .file(&format!("hooks.d/{stage}.json"), &entry.to_string());
    }

    fn podman(&self, runtime: Runtime, view: View) -> Podman {
        Podman::new(runtime, view, &[&self.folder.join("hooks.d")])
    }

    /// What went in and what came out at the last call for `stage`; none where there was no call.
    fn take(&self, stage: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let take = |end: &str| {
            let path = self.folder.join(format!("{stage}.{end}"));
            let bytes = fs::read(&path).ok()?;
            fs::remove_file(&path).expect("a file of ours");
            Some(bytes)
        };
        Some((take("in")?, take("out").unwrap_or_default()))
    }
}

/// `hooks/podman/oci-mig-hook.json`, as an administrator copies it.
fn of_the_repository() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks/podman/oci-mig-hook.json");
    serde_json::from_str(&fs::read_to_string(path).expect("the hook")).expect("JSON")
}

/// One that Podman calls for every container.
fn always() -> Value {
    json!({"version": "1.0.0", "hook": {"path": ""}, "when": {"always": true}, "stages": []})
}

fn with_each_runtime(story: impl Fn(Runtime, View)) {
    everywhere().for_each(|(runtime, view)| story(runtime, view));
}

/// The config.json in the bundle of a container of this Podman.
fn bundles_config(podman: &Podman, id: &str) -> Value {
    let outcome = podman
        .call(&["inspect", "--format", "{{.OCIConfigPath}}", id])
        .ok();
    let path = PathBuf::from(outcome.stdout.trim());
    serde_json::from_slice(&fs::read(path).expect("the bundle's config.json")).expect("JSON")
}

/// Nothing of ours stands in it.
#[track_caller]
fn assert_unedited(config: &Value) {
    let text = config.to_string();
    for ours in [
        "oci-mig-hook ",
        "/dev/nvidia",
        "NVIDIA_VISIBLE_DEVICES",
        "mig.lease",
    ] {
        assert!(!text.contains(ours), "{ours}: {text}");
    }
    assert_eq!(config["hooks"].get("createRuntime"), None, "{text}");
}

#[test]
fn the_hook_of_the_repository_is_not_even_called() {
    with_each_runtime(|runtime, view| {
        let hooks = Hooks::new();
        hooks.add("precreate", of_the_repository());
        let podman = hooks.podman(runtime, view);
        assert_eq!(podman.run(&[], "echo here").ok().stdout, "here\n");
        let others = [
            "--annotation=mig.example.com/x=1g.10gb",
            "--annotation=xmig.profile=1g.10gb",
        ];
        let id = podman.sleeper(&others);
        assert_unedited(&bundles_config(&podman, &id));
        assert_eq!(hooks.take("precreate"), None, "{runtime} {view}");
        // It is there, though: who asks gets to hear of the broken configuration.
        podman.run(&["--annotation=mig.profile=1g.10gb"], "true").failed();
        assert!(hooks.take("precreate").is_some(), "{runtime} {view}");
    });
}

#[test]
fn called_for_every_container_it_changes_nothing() {
    with_each_runtime(|runtime, view| {
        let hooks = Hooks::new();
        hooks.add("precreate", always());
        hooks.add("poststop", always());
        let podman = hooks.podman(runtime, view);
        let options = [
            "--annotation=mig.example.com/x=1g.10gb",
            "--env=mig.profile=1g.10gb",
        ];
        let id = podman.sleeper(&options);
        let (document, answer) = hooks.take("precreate").expect("a call");
        assert!(
            !document.is_empty() && document == answer,
            "{runtime} {view}: not the same bytes"
        );
        assert_unedited(&bundles_config(&podman, &id));
        run(podman.command("rm").args(["--force", "--time=0", &id])).ok();
        let (_, answer) = hooks.take("poststop").expect("a call");
        assert!(answer.is_empty(), "{runtime} {view}");
    });
}
