//! config.toml: as distributions ship it, as containerd itself writes it, as people leave it. Where containerd can be
//! asked what it makes of the result, it is.

use std::fs;
use std::path::Path;
use std::process::Command;

use toml::{Table, Value};

use crate::place::{Place, Said};

/// What Debian 12 ships.
const DEBIAN: &str = r#"version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"#;

/// What Docker's own package ships: no version, CRI switched off, the rest as comments.
const DOCKER: &str = r#"#   Licensed under the Apache License, Version 2.0 (the "License");

disabled_plugins = ["cri"]

#root = "/var/lib/containerd"
#state = "/run/containerd"

#[grpc]
#  address = "/run/containerd/containerd.sock"
"#;

/// By hand: comments everywhere, systemd's cgroups, no newline at the end.
const BY_HAND: &str = r#"# our nodes
version = 2 # don't touch
disabled_plugins = ["io.containerd.grpc.v1.cri"]

[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "crun" # since March
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun.options]
    BinaryName = "/usr/bin/crun"
    SystemdCgroup = true
# the end"#;

/// As containerd 2.x writes it.
const VERSION_3: &str = r#"version = 3
root = '/var/lib/containerd'
imports = ['conf.d/*.toml']

[plugins]
  [plugins.'io.containerd.cri.v1.runtime']
    enable_cdi = true

    [plugins.'io.containerd.cri.v1.runtime'.containerd]
      default_runtime_name = 'runc'

      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes]
        [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
          runtime_type = 'io.containerd.runc.v2'

          [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
            SystemdCgroup = false
"#;

fn place() -> Place {
    Place::new("containerd", "config.toml")
}

fn containerd(args: &[&str]) -> String {
    let mut command = Command::new("containerd");
    let said = Said::of(command.args(args));
    assert_eq!(said.code, 0, "containerd {args:?}: {}", said.stderr);
    said.stdout
}

/// CRI's runtimes in this text.
fn runtimes(text: &str) -> Table {
    let all: Table = toml::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"));
    let cri = match all["version"].as_integer() {
        Some(2) => "io.containerd.grpc.v1.cri",
        _ => "io.containerd.cri.v1.runtime",
    };
    all["plugins"][cri]["containerd"]["runtimes"]
        .as_table()
        .unwrap()
        .clone()
}

#[track_caller]
fn assert_is_ours(entry: &Value, wrapper: &Path, systemd: Option<bool>) {
    assert_eq!(entry["runtime_type"].as_str(), Some("io.containerd.runc.v2"));
    let patterns: Vec<Value> = ["mig.*", "mig.*/*"]
        .map(|text| Value::String(text.to_owned()))
        .to_vec();
    assert_eq!(entry["pod_annotations"].as_array(), Some(&patterns));
    assert_eq!(entry["options"]["BinaryName"].as_str(), wrapper.to_str());
    assert_eq!(
        entry["options"].get("SystemdCgroup").and_then(Value::as_bool),
        systemd
    );
}

#[test]
fn there_and_back() {
    let default = containerd(&["config", "default"]);
    for (text, systemd) in [
        (DEBIAN, None),
        (&default, Some(false)),
        (BY_HAND, Some(true)),
        (VERSION_3, Some(false)),
        (&VERSION_3.replace("version = 3", "version = 4"), Some(false)),
        (&DEBIAN.replace('\n', "\r\n"), None),
    ] {
        let place = place().with(text);
        place.there_and_back(|after| {
            assert!(after.starts_with(text), "what was there stays as it was");
            assert_is_ours(&runtimes(after)["mig"], &place.wrapper(), systemd);
        });
    }
}

#[test]
fn containerd_takes_it() {
    let default = containerd(&["config", "default"]);
    let by_hand = BY_HAND.replace("disabled_plugins", "# disabled_plugins");
    for text in [
        Some(DEBIAN),
        Some(default.as_str()),
        Some(by_hand.as_str()),
        Some(""),
        Some("# nothing\n"),
        None,
    ] {
        let place = match text {
            Some(text) => place().with(text),
            None => place(),
        };
        place.there_and_back(|_| {
            let file = place.file().to_str().unwrap();
            let dump = containerd(&["--config", file, "config", "dump"]);
            let entry = &runtimes(&dump)["mig"];
            assert_eq!(
                entry["options"]["BinaryName"].as_str(),
                place.wrapper().to_str(),
                "{text:?}"
            );
        });
    }
}

/// The hooks folder's files are what `setup` writes where there is nothing yet.
#[test]
fn a_new_file_is_the_one_in_the_hooks_folder() {
    for (version, name) in [(2, "config-v2.toml"), (3, "config-v3.toml")] {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("hooks/containerd")
            .join(name);
        let shipped = fs::read_to_string(shipped).unwrap();
        let place = place().with(&format!("version = {version}\n"));
        place.setup(&[]).ok();
        let written = place.text().unwrap();
        assert_eq!(
            written.replace(place.wrapper().to_str().unwrap(), "/usr/bin/oci-mig-runtime"),
            shipped
        );
    }
}

#[test]
fn edits_since_outlive_the_undo() {
    let place = place().with(BY_HAND);
    place.setup(&[]).ok();
    let text = place.text().unwrap();
    let edited = text.replace("# since March", "# since April")
        + "\n# theirs\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.kata]\n  runtime_type = \"io.containerd.kata.v2\"\n";
    let edited = edited.replace(
        "    BinaryName = \"/",
        "    # in ours\n    ShimCgroup = \"\"\n    BinaryName = \"/",
    );
    fs::write(place.file(), edited).unwrap();
    let again = place.setup(&[]).ok();
    assert!(again.stdout.starts_with("unchanged: "), "{}", again.stdout);
    place.setup(&["--undo"]).ok();
    let expected = BY_HAND.replace("# since March", "# since April")
        + "\n\n# theirs\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.kata]\n  runtime_type = \"io.containerd.kata.v2\"\n";
    let expected = expected.replace("# the end\n\n", "# the end\n");
    let left = place.text().unwrap();
    let normal = |text: &str| text.replace("# the end\n\n", "# the end\n");
    assert_eq!(
        normal(&left),
        expected.replace(
            "    BinaryName = \"/usr/bin/crun\"",
            "    # in ours\n    ShimCgroup = \"\"\n    BinaryName = \"/usr/bin/crun\""
        )
    );
    assert!(!left.contains("mig"), "{left}");
}

/// What somebody took out of the file since isn't put in again.
#[test]
fn the_backup_is_not_put_back_over_an_edit() {
    let place = place().with(DEBIAN);
    place.setup(&[]).ok();
    let text = place.text().unwrap();
    let (_, entry) = text.split_once("\n\n# oci-mig-hook").unwrap();
    fs::write(place.file(), format!("version = 2\n\n# oci-mig-hook{entry}")).unwrap();
    place.setup(&["--undo"]).ok();
    assert_eq!(place.text().unwrap(), "version = 2\n");
    assert_eq!(fs::read_to_string(place.backup()).unwrap(), DEBIAN);
}

#[test]
fn an_entry_written_by_hand_is_ours_when_it_calls_the_wrapper() {
    let by_hand = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes]\nmig = { runtime_type = \"io.containerd.runc.v2\", pod_annotations = [\"mig.*\", \"mig.*/*\"], options = { BinaryName = \"/opt/oci-mig-runtime\" } } # mine\n";
    let place = place().with(by_hand);
    place.setup(&[]).ok();
    let wrapper = place.wrapper().display().to_string();
    assert_eq!(
        place.text().unwrap(),
        by_hand.replace("/opt/oci-mig-runtime", &wrapper)
    );
    place.setup(&["--undo"]).ok();
    let left = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes]\n";
    assert_eq!(place.text().unwrap(), left);
}

#[test]
fn what_is_not_ours_stays() {
    let entry = |lines: &str| {
        format!("version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.mig]\n{lines}\n")
    };
    let theirs = place().with(&entry("runtime_type = \"io.containerd.kata.v2\""));
    let line = "P/config.toml has a runtime 'mig' that is not ours: it is another kind of runtime; rename or remove that one first; nothing was changed";
    theirs.refused(&[], 1, line);
    theirs.refused(&["--undo"], 1, line);
    place().with(&entry("options = { BinaryName = \"/bin/x\" }")).refused(
        &[],
        1,
        "P/config.toml has a runtime 'mig' that is not ours: it is /bin/x; rename or remove that one first; nothing was changed",
    );
    place().with(&entry("options = { BinaryName = \"/bin/oci-mig-runtime\" }\npod_annotations = [\"mig.*\"]")).refused(
        &[],
        1,
        "the runtime 'mig' in P/config.toml would never see a request: pod_annotations lacks one of [\"mig.*\", \"mig.*/*\"]; add both, or run this with --undo and then again; nothing was changed",
    );
    let place = place().with(BY_HAND);
    place.setup(&[]).ok();
    fs::write(
        place.file(),
        place
            .text()
            .unwrap()
            .replace("\"crun\" # since", "\"mig\" # since"),
    )
    .unwrap();
    place.refused(
        &["--undo"],
        1,
        "P/config.toml was left alone: its default_runtime_name is mig; name another default runtime first",
    );
}

#[test]
fn what_cant_be_added_to_is_told() {
    assert_eq!(
        place().with(DOCKER).json(&["--undo"])["changed"],
        serde_json::json!(false)
    );
    place().with(DOCKER).refused(
        &[],
        1,
        "P/config.toml has no 'version = 2': containerd reads it as version 1, which has other names for everything; write what you need of it into the output of 'containerd config default', then run this again",
    );
    place().with("version = 2\n[plugins\n").refused(
        &[],
        3,
        "P/config.toml is not TOML: line 2: unclosed table, expected `]`; correct it first; nothing was changed",
    );
    place()
        .with("version = 2\nplugins = { \"io.containerd.grpc.v1.cri\" = { containerd = { runtimes = {} } } }\n")
        .refused(
            &[],
            1,
            "P/config.toml can't be added to: plugins.io.containerd.grpc.v1.cri.containerd.runtimes is written inline, in braces or with dots; write it as a [table], or add the runtime by hand; nothing was changed",
        );
}

/// Without a file, containerd is asked which it reads; where it isn't there, the operator is.
#[test]
fn without_a_file_and_without_containerd_the_version_is_asked_for() {
    let place = place();
    let said = Said::of(place.command(&[]).env("PATH", "/nowhere"));
    assert_eq!(said.code, 3);
    let place = place.folder.display().to_string();
    assert_eq!(
        said.stderr.replace(&place, "P"),
        "oci-mig-hook: P/config.toml says no version: containerd --version: No such file or directory (os error 2); write 'version = 2' (containerd 1.x) or 'version = 3' (2.x) into it, then run this again\n"
    );
}

#[test]
fn what_would_keep_it_from_counting_is_told() {
    let off = place().with(BY_HAND);
    let note = off.json(&["--dry-run"])["notes"][0].as_str().unwrap().to_owned();
    assert!(
        note.starts_with(
            "Kubernetes can't use this containerd: disabled_plugins has \"io.containerd.grpc.v1.cri\"."
        ),
        "{note}"
    );
    let importing = place();
    let folder = importing.folder.join("conf.d");
    fs::create_dir(&folder).unwrap();
    let imports = format!("version = 2\nimports = [\"{}/*.toml\"]\n", folder.display());
    fs::write(importing.file(), imports).unwrap();
    fs::write(folder.join("a.toml"), "version = 2\n").unwrap();
    assert_eq!(importing.json(&["--dry-run"])["notes"], serde_json::json!([]));
    fs::write(folder.join("b.toml"), DEBIAN).unwrap();
    let note = importing.json(&[])["notes"][0].as_str().unwrap().to_owned();
    assert!(
        note.starts_with(folder.join("b.toml").to_str().unwrap()),
        "{note}"
    );
    importing.setup(&["--undo"]).ok();
    let merged = importing.text().unwrap().replace("version = 2", "version = 3");
    let merged = place().with(&merged).json(&["--dry-run"]);
    assert_eq!(merged["notes"], serde_json::json!([]), "2.x merges");
    importing.setup(&[]).ok();
    // What the note says is what this containerd does.
    if containerd(&["--version"]).contains(" 1.") {
        let dump = containerd(&["--config", importing.file().to_str().unwrap(), "config", "dump"]);
        assert!(!runtimes(&dump).contains_key("mig"), "{dump}");
    }
}
