//! CRI-O's drop-in, beside the files that its packages and its administrators have.

use std::fs;

use serde_json::json;
use toml::{Table, Value};

use crate::place::Place;

/// What CRI-O's packages ship.
const PACKAGED: &str = r#"[crio.image]
signature_policy = "/etc/crio/policy.json"

[crio.runtime]
default_runtime = "crun"

[crio.runtime.runtimes.crun]
runtime_path = "/usr/libexec/crio/crun"
runtime_root = "/run/crun"
monitor_path = "/usr/libexec/crio/conmon"
allowed_annotations = [
    "io.containers.trace-syscall",
]

[crio.runtime.runtimes.runc]
runtime_path = "/usr/libexec/crio/runc"
monitor_path = "/usr/libexec/crio/other-conmon"
"#;

fn place() -> Place {
    let place = Place::new("crio", "crio.conf.d/50-oci-mig-hook.conf");
    fs::write(place.folder.join("crio.conf"), "[crio]\n# all as it comes\n").unwrap();
    place
}

fn entry(text: &str) -> Value {
    let all: Table = toml::from_str(text).unwrap();
    all["crio"]["runtime"]["runtimes"]["mig"].clone()
}

#[test]
fn there_and_back() {
    let place = place();
    fs::write(place.folder.join("crio.conf.d/10-crio.conf"), PACKAGED).unwrap();
    place.there_and_back(|after| {
        let entry = entry(after);
        assert_eq!(entry["runtime_path"].as_str(), place.wrapper().to_str());
        assert_eq!(entry["runtime_type"].as_str(), Some("oci"));
        // Without it CRI-O doesn't start where no conmon is in PATH.
        assert_eq!(entry["monitor_path"].as_str(), Some("/usr/libexec/crio/conmon"));
        // With a word in it that CRI-O doesn't know, CRI-O drops the runtime.
        assert_eq!(entry.get("allowed_annotations"), None);
    });
}

#[test]
fn a_drop_in_of_that_name_with_other_things_in_it_keeps_them() {
    for text in ["[crio.api]\nstream_port = \"0\"\n", "# mine", "[crio]"] {
        place()
            .with(text)
            .there_and_back(|after| assert!(after.starts_with(text), "{after}"));
    }
}

#[test]
fn edits_since_outlive_setup_and_undo() {
    let place = place();
    place.setup(&[]).ok();
    let edited = place.text().unwrap()
        + "  privileged_without_host_devices = true\n\n[crio.api]\nstream_port = \"0\"\n";
    fs::write(place.file(), &edited).unwrap();
    assert_eq!(place.json(&[])["changed"], json!(false));
    place.setup(&["--undo"]).ok();
    assert_eq!(place.text().unwrap().trim(), "[crio.api]\nstream_port = \"0\"");
}

/// conmon gets its environment from the table, not from CRI-O's.
#[test]
fn a_configuration_file_is_in_conmon_s_environment() {
    let place = place();
    let config = |name: &str| {
        let path = place.folder.join(name);
        fs::write(&path, "").unwrap();
        path.display().to_string()
    };
    let variables = || -> Vec<String> {
        let entry = entry(&place.text().unwrap());
        let list = entry["monitor_env"].as_array().unwrap().iter();
        list.map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    place.setup(&["--config", &config("one.toml")]).ok();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
    let of = |name| format!("OCI_MIG_HOOK_CONFIG={}", config(name));
    assert_eq!(variables(), [path.clone(), of("one.toml")]);
    let said = place.json(&["--config", &config("two.toml")]);
    assert_eq!(variables(), [path, of("two.toml")]);
    assert!(
        said["next"][0].as_str().unwrap().contains(&of("two.toml")),
        "{said}"
    );
    assert_eq!(
        place.json(&[])["changed"],
        json!(false),
        "one that is there stays"
    );
    place.setup(&["--undo"]).ok();
    assert_eq!(place.text(), None);
}

#[test]
fn what_is_not_ours_stays() {
    let theirs = "[crio.runtime.runtimes.mig]\nruntime_path = \"/usr/bin/kata\"\n";
    let line = "P/crio.conf.d/50-oci-mig-hook.conf has a runtime 'mig' that is not ours: it is /usr/bin/kata; rename or remove that one first; nothing was changed";
    let own = place().with(theirs);
    own.refused(&[], 1, line);
    own.refused(&["--undo"], 1, line);
    let beside = place();
    fs::write(beside.folder.join("crio.conf.d/60-mine.conf"), theirs).unwrap();
    beside.refused(
        &[],
        1,
        "P/crio.conf.d/60-mine.conf has a runtime 'mig' too: CRI-O would merge it with ours; remove that one first; nothing was changed",
    );
    let default = place();
    default.setup(&[]).ok();
    fs::write(
        default.folder.join("crio.conf"),
        "[crio.runtime]\ndefault_runtime = \"mig\"\n",
    )
    .unwrap();
    default.refused(
        &["--undo"],
        1,
        "P/crio.conf.d/50-oci-mig-hook.conf was left alone: CRI-O's default_runtime is mig; name another default_runtime first",
    );
}

#[test]
fn a_file_that_cri_o_cant_read_either_is_told() {
    let place = place();
    fs::write(place.folder.join("crio.conf"), "[crio\n").unwrap();
    place.refused(
        &[],
        3,
        "P/crio.conf is not TOML: line 1: unclosed table, expected `]`; correct it first; nothing was changed",
    );
}
