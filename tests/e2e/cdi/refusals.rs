//! What goes wrong with the file: each case's text and exit code, and what is left of the file.

use fake_node::NodeSpec;

use super::Place;
use crate::support::machine::Machine;
use crate::support::process::{Outcome, run};

#[track_caller]
fn assert_says(outcome: Outcome, code: i32, line: &str) {
    assert_eq!(outcome.stderr, format!("oci-mig-hook: {line}\n"), "{outcome}");
    assert_eq!((outcome.code(), outcome.stdout.as_str()), (code, ""), "{outcome}");
}

const NOTHING: &str = "this machine has no MIG device, and no GPU that is not in MIG mode";
const CREATE: &str = "create MIG devices with 'nvidia-smi mig -cgi PROFILE -C', and repeat";

#[test]
fn a_machine_with_nothing_to_offer() {
    let place = Place::of(Machine::with(&[]));
    let line = format!("no CDI file to write: {NOTHING}; {CREATE}");
    assert_says(run(&mut place.cdi(&[])), 1, &line);
    assert_says(run(&mut place.cdi(&["--check"])), 1, &line);
    assert_says(run(&mut place.cdi_to("-".as_ref(), &[])), 1, &line);
    assert_eq!(place.files(), [""; 0]);
    let lost = Place::of(Machine::with(&[]));
    lost.machine.set(&["lost=0"]).expect("a fault");
    let line = format!(
        "no CDI file to write: {NOTHING}; left out: GPU 0 (it has fallen off the bus (reset the machine; 'dmesg' tells \
         why)); {CREATE}"
    );
    assert_says(run(&mut lost.cdi(&[])), 1, &line);
}

/// Its devices' numbers may be another's by now.
#[test]
fn a_file_whose_devices_are_all_gone_is_removed() {
    let place = Place::named("mig-off");
    run(&mut place.cdi(&[])).ok();
    let uuids: Vec<String> = (0..2).map(|index| place.machine.whole_gpu(index).uuid).collect();
    place.machine.repartition(&NodeSpec::default()).expect("no GPU");
    let path = place.path().display().to_string();
    let mut names = [vec!["0".to_owned(), "1".to_owned()], uuids].concat();
    names.sort();
    let stale = format!(
        "CDI file {path} is stale: gone: {}; write it anew with 'oci-mig-hook cdi'",
        names.join(", ")
    );
    assert_says(run(&mut place.cdi(&["--check"])), 1, &stale);
    assert_eq!(place.files(), ["mig.json"], "a look removes nothing");
    let line = format!("CDI file {path} was stale, and is removed: {NOTHING}; {CREATE}");
    assert_says(run(&mut place.cdi(&[])), 1, &line);
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_look_tells_whether_it_still_says_what_is_true() {
    let place = Place::of(Machine::with(&["3g.40gb"]));
    let path = place.path().display().to_string();
    let missing = format!(
        "no CDI file {path}: nobody has written it, or this machine was restarted; write it with 'oci-mig-hook cdi'"
    );
    assert_says(run(&mut place.cdi(&["--check"])), 1, &missing);
    for version in ["0.6.0", "0.5.0"] {
        run(&mut place.cdi(&["--cdi-version", version])).ok();
        let looked = run(&mut place.cdi(&["--check"])).ok();
        assert_eq!(looked.stdout, format!("{path} is up to date: 1 MIG device\n"));
    }
    let text = place.text();
    // As after a driver got another major.
    let other = text.replacen("\"minor\": 255", "\"minor\": 253", 1);
    std::fs::write(place.path(), &other).expect("the file");
    let line = format!(
        "CDI file {path} is stale: its devices are the same by name, and not in what they are or need; write it anew with \
         'oci-mig-hook cdi'"
    );
    assert_says(run(&mut place.cdi(&["--check"])), 1, &line);
    assert_eq!(place.text(), other, "a look changes nothing");
    run(&mut place.cdi(&["--cdi-version", "0.5.0"])).ok();
    assert_eq!(place.text(), text);
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let place = Place::named("one-gpu");
    let path = place.path().display().to_string();
    for (text, why) in [
        (
            r#"{"cdiVersion":"0.5.0","kind":"nvidia.com/gpu","devices":[]}"#,
            "it is of the kind nvidia.com/gpu",
        ),
        ("kind: nvidia.com/gpu\n", "expected value at line 1 column 1"),
        ("", "EOF while parsing a value at line 1 column 0"),
    ] {
        std::fs::write(place.path(), text).expect("a file");
        let line = format!(
            "{path} is not a CDI file of oci-mig-hook: {why}; it was left alone: name another file with --output"
        );
        assert_says(run(&mut place.cdi(&[])), 1, &line);
        assert_says(run(&mut place.cdi(&["--check"])), 1, &line);
        assert_eq!(place.text(), text);
    }
}

#[test]
fn a_command_line_that_is_wrong() {
    let place = Place::named("one-gpu");
    let output = place.folder.join("mig.txt");
    let named = format!(
        "--output {}: engines read no CDI file but *.json and *.yaml; name it so, or write - for standard output",
        output.display()
    );
    assert_says(run(&mut place.cdi_to(&output, &[])), 2, &named);
    assert_says(
        run(&mut place.cdi(&["--cdi-version", "1.0.0"])),
        2,
        "--cdi-version: '1.0.0' is neither 0.5.0 nor 0.6.0; write one of the two",
    );
    assert_says(
        run(&mut place.cdi(&["--driver-capabilities", "compute,cuda"])),
        2,
        "--driver-capabilities: 'cuda' is no driver capability; write compute,utility or all; oci-mig-hook(1) has the \
         others",
    );
    assert_says(
        run(&mut place.cdi_to("-".as_ref(), &["--check"])),
        2,
        "--check and --output -: on standard output there is no file to look at; name the file, or leave --check out",
    );
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_machine_that_can_not_be_asked_or_written_to() {
    let place = Place::named("one-gpu");
    let file = place.folder.file("file", "");
    let below = file.join("mig.json");
    let outcome = run(&mut place.cdi_to(&below, &[]));
    let why = format!(
        "can't read {}: Not a directory (os error 20); nothing was changed",
        below.display()
    );
    assert_says(outcome, 3, &why);
    let folder = place.folder.join("folder.json");
    std::fs::create_dir(&folder).expect("a folder");
    let outcome = run(&mut place.cdi_to(&folder, &[]));
    assert_says(
        outcome,
        3,
        &format!("can't read {}: not a file; nothing was changed", folder.display()),
    );
    run(&mut place.cdi(&[])).ok();
    let text = place.text();
    place
        .machine
        .set(&["fail=nvmlInitWithFlags:999"])
        .expect("a fault");
    let outcome = run(&mut place.cdi(&[])).failed();
    assert_eq!(outcome.code(), 3, "{outcome}");
    assert!(
        outcome.stderr.starts_with("oci-mig-hook: NVML can't be used: "),
        "{outcome}"
    );
    assert_eq!(place.text(), text, "nobody knows that it is wrong");
}
