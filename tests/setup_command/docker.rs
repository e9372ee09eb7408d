//! daemon.json, in every layout that people and programs give it.

use std::fs;

use serde_json::{Value, json};

use crate::place::Place;

fn place() -> Place {
    Place::new("docker", "daemon.json")
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

/// As nvidia-ctk leaves it, with four spaces.
const NVIDIA: &str = r#"{
    "default-runtime": "nvidia",
    "runtimes": {
        "nvidia": {
            "args": [],
            "path": "nvidia-container-runtime"
        }
    }
}
"#;

/// By hand: two spaces, lists on one line, numbers as somebody typed them, no newline at the end.
const BY_HAND: &str = r#"{
  "log-driver": "json-file", "log-opts": { "max-size": "10m" },
  "registry-mirrors": ["https:\/\/mirror.example"],
  "shutdown-timeout": 1.5e1
}"#;

#[test]
fn there_and_back() {
    let tabs = NVIDIA.replace("    ", "\t");
    let compact = "{\"debug\":true,\"runtimes\":{\"kata\":{\"runtimeType\":\"io.containerd.kata.v2\"}}}";
    let empty = [
        "",
        "{}",
        "{\n}\n",
        "{\"runtimes\": {}}\n",
        "{\n  \"runtimes\": {\n  }\n}\n",
    ];
    let crlf = BY_HAND.replace('\n', "\r\n");
    for text in [NVIDIA, &tabs, BY_HAND, &crlf, compact].into_iter().chain(empty) {
        let place = place().with(text);
        place.there_and_back(|after| {
            let mut expected = match text {
                "" => json!({}),
                _ => parsed(text),
            };
            expected["runtimes"]["mig"] = json!({"path": place.wrapper()});
            assert_eq!(parsed(after), expected);
        });
    }
    place().there_and_back(|after| assert_eq!(after.lines().count(), 7));
}

#[test]
fn only_our_lines_are_added() {
    for (text, indent) in [(NVIDIA.to_owned(), "    "), (NVIDIA.replace("    ", "\t"), "\t")] {
        let place = place().with(&text);
        place.setup(&[]).ok();
        let entry = format!(
            ",\n{0}{0}\"mig\": {{\n{0}{0}{0}\"path\": \"{1}\"\n{0}{0}}}\n",
            indent,
            place.wrapper().display()
        );
        let end = format!("{indent}}}\n}}\n");
        let before = text.strip_suffix(&end).unwrap().strip_suffix('\n').unwrap();
        assert_eq!(place.text().unwrap(), format!("{before}{entry}{end}"));
    }
}

#[test]
fn an_edit_since_outlives_the_undo() {
    let place = place().with(NVIDIA);
    place.setup(&[]).ok();
    let edited = place
        .text()
        .unwrap()
        .replace("\"default-runtime\": \"nvidia\",\n", "\"debug\": true,\n");
    fs::write(place.file(), &edited).unwrap();
    let said = place.setup(&["--undo"]).ok();
    let expected = NVIDIA.replace("\"default-runtime\": \"nvidia\",\n", "\"debug\": true,\n");
    assert_eq!(place.text().unwrap(), expected);
    assert!(
        said.stdout.contains("before-oci-mig-hook stays: "),
        "{}",
        said.stdout
    );
    assert_eq!(fs::read_to_string(place.backup()).unwrap(), NVIDIA);
}

#[test]
fn a_file_of_ours_stays_where_somebody_wrote_into_it() {
    let place = place();
    place.setup(&[]).ok();
    let edited = place.text().unwrap().replacen('{', "{\n    \"debug\": true,", 1);
    fs::write(place.file(), edited).unwrap();
    place.setup(&["--undo"]).ok();
    assert_eq!(place.text().unwrap(), "{\n    \"debug\": true\n}\n");
}

/// The program moved: the entry follows it, and what was added to the entry stays.
#[test]
fn an_entry_of_ours_is_brought_up_to_date() {
    let old =
        "{\"runtimes\": {\"mig\": {\"path\": \"/opt/old/oci-mig-runtime\", \"runtimeArgs\": [\"--debug\"]}}}";
    let place = place().with(old);
    let said = place.json(&[]);
    assert_eq!(
        (&said["changed"], &said["files"][0]["backup"]),
        (&json!(true), &Value::Null)
    );
    let wrapper = place.wrapper().display().to_string();
    assert_eq!(
        place.text().unwrap(),
        old.replace("/opt/old/oci-mig-runtime", &wrapper)
    );
    place.setup(&["--undo"]).ok();
    assert_eq!(place.text(), None, "it said nothing else");
}

#[test]
fn what_is_not_ours_stays() {
    let theirs = place().with(r#"{"runtimes": {"mig": {"path": "/usr/bin/kata"}}}"#);
    let line = "P/daemon.json has a runtime 'mig' that is not ours: it is /usr/bin/kata; rename or remove that one first; nothing was changed";
    theirs.refused(&[], 1, line);
    theirs.refused(&["--undo"], 1, line);
    let shim = place().with(r#"{"runtimes": {"mig": {"runtimeType": "io.containerd.kata.v2"}}}"#);
    shim.refused(
        &["--dry-run"],
        1,
        "P/daemon.json has a runtime 'mig' that is not ours: it is another kind of runtime; rename or remove that one first; nothing was changed",
    );
    let default = format!(
        r#"{{"default-runtime": "mig", "runtimes": {{"mig": {{"path": "{}"}}}}}}"#,
        theirs.wrapper().display()
    );
    place().with(&default).refused(
        &["--undo"],
        1,
        "P/daemon.json was left alone: its default-runtime is mig; name another default-runtime first",
    );
}

#[test]
fn what_cant_be_read_is_told_and_left_alone() {
    place().with("{\n  \"debug\": true,\n}\n").refused(
        &[],
        3,
        "P/daemon.json is not JSON: trailing comma at line 3 column 1; correct it first; nothing was changed",
    );
    place().with("{\"runtimes\": []}").refused(
        &["--undo"],
        3,
        "P/daemon.json can't be added to: its runtimes is not an object; correct it first; nothing was changed",
    );
    let gone = place().with("{}");
    fs::remove_file(gone.wrapper()).unwrap();
    gone.refused(
        &[],
        3,
        "no runtime at P/oci-mig-runtime: No such file or directory (os error 2); install oci-mig-runtime beside oci-mig-hook, or name it with --runtime-path",
    );
    gone.refused(
        &["--config", "/no/such/file"],
        3,
        "configuration file /no/such/file: No such file or directory (os error 2); correct it; every key is explained in oci-mig-hook(1)",
    );
}

/// The wrapper's configuration comes by containerd's environment: it is told, not done.
#[test]
fn a_configuration_file_is_told_for_the_service() {
    let place = place();
    let config = place.folder.join("own.toml");
    fs::write(&config, "").unwrap();
    let said = place.json(&["--config", config.to_str().unwrap()]);
    let next = said["next"].as_array().unwrap();
    let line = format!("Environment=OCI_MIG_HOOK_CONFIG={}", config.display());
    assert!(
        next.iter().any(|step| step.as_str().unwrap().contains(&line)),
        "{next:?}"
    );
}

/// The programs may be gone before the entry.
#[test]
fn an_undo_needs_no_wrapper() {
    let place = place().with(NVIDIA);
    place.setup(&[]).ok();
    fs::remove_file(place.wrapper()).unwrap();
    let said = place.json(&["--undo"]);
    assert_eq!(place.text().unwrap(), NVIDIA);
    assert_eq!(said["next"], json!(["systemctl reload docker"]));
}
