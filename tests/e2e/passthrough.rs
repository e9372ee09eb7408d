//! A container that did not ask is none of our business: its config.json comes back byte for byte, nothing is said,
//! nothing is opened. However broken our own configuration, ledger or driver may be, it starts.

mod podman;
mod trace;

use std::fs::File;
use std::process::{Command, Output};

use serde_json::json;

use crate::support::machine::{Machine, PROGRAM};
use crate::support::runtime::{Engine, everywhere};
use crate::support::scratch::Scratch;

/// The stages that get a container's state.
const STATE_STAGES: [&str; 3] = ["createRuntime", "prestart", "poststop"];

/// A hook of ours on a machine where nothing of ours is in order: whoever looks at it fails.
struct Broken(Scratch);

impl Broken {
    fn new() -> Self {
        let folder = Scratch::new("broken");
        let gone = folder.join("gone");
        let text =
            format!("[driver]\nproc = {gone:?}\ndev = {gone:?}\n[ledger]\ndir = {gone:?}\nnonsense = ][\n");
        folder.file("config.toml", &text);
        Self(folder)
    }

    /// The arguments of an entry for this stage.
    fn arguments(&self, stage: &str) -> [String; 3] {
        let config = self.0.join("config.toml").display().to_string();
        [stage.to_owned(), "--config".to_owned(), config]
    }

    /// The stage with this document on its standard input. Files, not pipes: a document may be large.
    fn call(&self, stage: &str, document: &[u8]) -> Output {
        let path = self.0.join("document");
        std::fs::write(&path, document).expect("a file of ours");
        let mut command = Command::new(PROGRAM);
        command.args(self.arguments(stage));
        command.stdin(File::open(&path).expect("a file of ours"));
        command.output().expect("the program under test")
    }

    /// That call echoes the document and says nothing.
    #[track_caller]
    fn echoes(&self, document: &[u8]) {
        let output = self.call("precreate", document);
        assert!(output.status.success(), "{output:?}");
        assert!(
            output.stdout == document,
            "not the same bytes:\n{}\n{}",
            String::from_utf8_lossy(document),
            String::from_utf8_lossy(&output.stdout)
        );
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

/// A config.json as engines write it, with these annotations.
fn config(annotations: &serde_json::Value) -> serde_json::Value {
    json!({
        "ociVersion": "1.0.2-dev",
        "process": {
            "args": ["sh", "-c", "echo mig.profile=1g.10gb >/etc/mig.conf"],
            "env": ["mig.profile=1g.10gb", "MOTD=a tab\tand an \u{e4}"],
            "rlimits": [{"type": "RLIMIT_CORE", "hard": u64::MAX, "soft": u64::MAX}]
        },
        "hooks": null,
        "annotations": annotations,
        "linux": {"resources": {"memory": {"limit": i64::MIN}, "unknown": [1.5, null, {}]}}
    })
}

#[test]
fn precreate_gives_back_any_formatting_byte_for_byte() {
    let broken = Broken::new();
    let compact = config(&json!({"run.oci.handler": "crun"})).to_string();
    let pretty = serde_json::to_string_pretty(&config(&json!(null))).expect("JSON");
    for text in [&compact, &pretty] {
        for end in ["", "\n", "\r\n\r\n", " \t "] {
            broken.echoes(format!("{text}{end}").as_bytes());
        }
    }
    broken.echoes(pretty.replace("  ", "\t").replace('\n', "\r\n").as_bytes());
    // As engines escape: slashes, letters, a number with more digits than any type has, one member twice.
    broken.echoes(
        br#"{ "annotations":{"io.podman\/x":"\u003ca\u003e \u006d"}, "n": 123456789012345678901234567890 }"#,
    );
    broken.echoes(br#"{"annotations":{"\u006dif.profile":"1g.10gb"},"x":1.0e+2,"zz":[1,{"zz":[]}]}"#);
    broken.echoes(br#"{"annotations":{"a":"1"},"annotations":{"a":"2"}}"#);
    let large = json!({"annotations": {"note": "mig. ".repeat(400_000)}}).to_string();
    broken.echoes(large.as_bytes());
}

#[test]
fn annotations_of_others_are_not_ours() {
    let broken = Broken::new();
    for key in [
        "mig.example.com/x",
        "mig.example.com",
        "mig.profile.example",
        "Mig.profile",
        "nvidia.com/mig.profile",
        "mig",
        "migration",
        "mig/profile",
        " mig.profile",
    ] {
        broken.echoes(
            config(&json!({key: "1g.10gb", "other": "mig.profile"}))
                .to_string()
                .as_bytes(),
        );
        for stage in STATE_STAGES {
            silent(&broken, stage, &json!({key: "1g.10gb"}));
        }
    }
}

/// Whoever sends it knows what it is; saying what is wrong with it is Podman's part.
#[test]
fn what_is_no_config_comes_back_too() {
    let broken = Broken::new();
    for document in [&b""[..], b"{}", b"null", b"[]", b"not JSON", b"\xff\xfe\0"] {
        broken.echoes(document);
    }
}

#[test]
fn the_other_stages_say_and_do_nothing() {
    let broken = Broken::new();
    for stage in STATE_STAGES {
        silent(&broken, stage, &json!(null));
        silent(&broken, stage, &json!({}));
        silent(&broken, stage, &json!({"run.oci.handler": "mig.profile"}));
        // crun's forms: no annotations at all, pretty-printed, and a stopped container's pid of 0.
        let crun = "{\n  \"ociVersion\": \"1.0\",\n  \"id\": \"a\",\n  \"pid\": 0,\n  \"root\": \"rootfs\",\n  \
                    \"bundle\": \"\\/var\\/b\",\n  \"status\": \"stopped\"\n}\n";
        quiet(&broken.call(stage, crun.as_bytes()), stage);
    }
}

/// This stage says nothing of a container with these annotations.
#[track_caller]
fn silent(broken: &Broken, stage: &str, annotations: &serde_json::Value) {
    let state = json!({"ociVersion": "1.0.2-dev", "id": "a", "status": "creating", "pid": std::process::id(),
                       "bundle": "/no/such/bundle", "annotations": annotations});
    quiet(&broken.call(stage, state.to_string().as_bytes()), stage);
}

#[track_caller]
fn quiet(output: &Output, stage: &str) {
    let silent = output.stdout.is_empty() && output.stderr.is_empty();
    assert!(output.status.success() && silent, "{stage}: {output:?}");
}

/// Plain runc and crun, with our hooks in the config.json of a container that did not ask.
#[test]
fn a_bundle_that_asks_for_nothing_stays_as_it_is() {
    for (runtime, view) in everywhere() {
        let machine = Machine::with(&["1g.10gb"]);
        let bundle = machine.bundle().annotation("mig.example.com/x", "1g.10gb");
        let bundle = bundle.script("ls /dev | grep nvidia | wc -l").write();
        let before = std::fs::read(bundle.config_file()).expect("config.json");
        let outcome = Engine::new(runtime, view).run(&bundle).ok();
        assert_eq!(outcome.stdout, "0\n", "{runtime} {view}");
        let after = std::fs::read(bundle.config_file()).expect("config.json");
        assert!(before == after, "{runtime} {view}: config.json has changed");
        assert!(!machine.ledger().exists(), "{runtime} {view}");
    }
}
