//! GPUs at which NVML hung: marked, left alone for a while, and asked again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use fake_node::Scratch;
use oci_mig_hook::mig::Inventory;
use serde_json::{Value, json};

use crate::{file, ledger, names, node, ok, program, remembered, said};

/// Two GPUs, whose NVML gets a second for each call.
fn impatient() -> Scratch {
    let node = node("id-maps");
    configure(&node, "deadline", "1s");
    node
}

fn configure(node: &Scratch, key: &str, value: &str) {
    let text = fs::read_to_string(node.config()).expect("config.toml");
    let line = format!("[nvml]\n{key} = {value:?}\n");
    fs::write(node.config(), text.replace("[nvml]\n", &line)).expect("config.toml");
}

/// `refresh`, which hangs at that call; what it says.
#[track_caller]
fn hangs(node: &Scratch, call: &str) -> String {
    node.set(&[&format!("hang={call}")]).expect("a fault");
    let output = program(node, &["refresh"])
        .output()
        .expect("the program under test");
    node.set(&["hang="]).expect("no fault");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    String::from_utf8(output.stderr).expect("text")
}

/// A node whose inventory is remembered, and which has hung at GPU 1 since.
fn marked() -> Scratch {
    let node = impatient();
    ok(&mut program(&node, &["refresh"]));
    hangs(&node, "nvmlDeviceGetMigMode@1");
    assert_eq!(left_alone(&node), [1]);
    node
}

fn mark(node: &Scratch) -> PathBuf {
    ledger(node).join("stuck/1")
}

/// The GPUs that are left out of what is remembered, because the driver hung at them.
fn left_alone(node: &Scratch) -> Vec<u32> {
    let inventory = remembered(node).expect("an inventory");
    let left_out = inventory.left_out.iter();
    let left_alone = left_out.filter(|left| left.reason.starts_with("the driver hung at "));
    let numbers: Vec<u32> = left_alone
        .map(|left| {
            left.what
                .strip_prefix("GPU ")
                .expect("a GPU")
                .parse()
                .expect("a number")
        })
        .collect();
    let there: Vec<u32> = indexes(&inventory);
    assert!(numbers.iter().all(|gpu| !there.contains(gpu)), "{there:?}");
    numbers
}

fn indexes(inventory: &Inventory) -> Vec<u32> {
    inventory.gpus.iter().map(|gpu| gpu.index).collect()
}

#[test]
fn the_gpu_is_named_and_left_alone() {
    let node = impatient();
    ok(&mut program(&node, &["refresh"]));
    let line = hangs(&node, "nvmlDeviceGetMigMode@1");
    let expected = "oci-mig-hook: NVML hangs: no answer to nvmlDeviceGetMigMode for GPU 1 within 1s, so GPU 1 is left \
                    alone for 5m; ";
    assert!(line.starts_with(expected), "{line}");
    assert_eq!(left_alone(&node), [1]);

    // Nobody touches it, so a call that still hangs does no harm.
    node.set(&["hang=nvmlDeviceGetMigMode@1", "hang=nvmlDeviceGetHandleByIndex@1"])
        .expect("a fault");
    node.start_trace().expect("a trace");
    let status = ok(&mut program(&node, &["status"]));
    assert!(
        !node
            .trace()
            .expect("a trace")
            .iter()
            .any(|line| line.gpu == Some(1))
    );
    let line = status.lines().last().expect("a line");
    let expected = "left out: GPU 1: the driver hung at nvmlDeviceGetMigMode ";
    assert!(line.starts_with(expected), "{status}");
    assert!(
        line.ends_with(" more ('oci-mig-hook refresh' asks it again)"),
        "{status}"
    );
    assert_eq!(names(&ledger(&node).join("stuck")), ["1"], "the mark stays");
}

/// An init that attaches every GPU would touch the one that hangs.
#[test]
fn nothing_attaches_it_by_the_way() {
    let node = marked();
    node.set(&[
        "needs_attach=1",
        "hang=nvmlDeviceGetMigMode@1",
        "first_touch_ms=1",
    ])
    .expect("faults");
    node.start_trace().expect("a trace");
    let text = ok(&mut program(&node, &["status"]));
    assert!(text.contains("left out: GPU 0: NVML: "), "{text}");
    let inits = node.trace().expect("a trace").into_iter();
    assert_eq!(inits.filter(|line| line.function.contains("Init")).count(), 1);
}

#[test]
fn refresh_asks_it_again() {
    let node = marked();
    hangs(&node, "nvmlDeviceGetMigMode@1");
    assert_eq!(left_alone(&node), [1], "it still hangs");
    let text = ok(&mut program(&node, &["refresh"]));
    assert!(text.starts_with("6 MIG devices on 2 GPUs, "), "{text}");
    assert_eq!(left_alone(&node), [0; 0]);
    assert_eq!(names(&ledger(&node).join("stuck")), [""; 0], "it answers");
}

#[test]
fn a_call_that_is_about_no_gpu_marks_none() {
    let node = impatient();
    for call in ["nvmlInitWithFlags", "nvmlDeviceGetCount"] {
        let line = hangs(&node, call);
        assert!(!line.contains("left alone"), "{line}");
        assert!(!ledger(&node).join("stuck").exists());
    }
}

#[test]
fn it_can_be_turned_off() {
    let node = impatient();
    configure(&node, "avoid", "off");
    let line = hangs(&node, "nvmlDeviceGetMigMode@1");
    assert!(!line.contains("left alone"), "{line}");
    assert!(!ledger(&node).join("stuck").exists());
    let node = marked();
    configure(&node, "avoid", "off");
    assert_eq!(left_alone(&node), [0; 0], "marks of before don't count either");
}

/// No GPU is left alone once that field of its mark has that value.
#[track_caller]
fn void(field: &str, value: Value) {
    let node = marked();
    let mut text: Value = serde_json::from_slice(&fs::read(mark(&node)).expect("a mark")).expect("JSON");
    text[field] = value.clone();
    fs::write(mark(&node), text.to_string()).expect("a mark");
    assert_eq!(left_alone(&node), [0; 0], "{field} = {value}");
    ok(&mut program(&node, &["status"]));
    assert!(!mark(&node).exists(), "{field} = {value}: it is taken away");
}

#[test]
fn a_mark_is_void_after_a_while_or_elsewhere() {
    void("boot", json!("01234567-89ab-cdef-0123-456789abcdef\n"));
    void("gpus", json!(["0000:07:00.0"]));
    void("version", json!(2));
    void("at", json!(u64::MAX / 2));
    let node = marked();
    configure(&node, "avoid", "1ms");
    std::thread::sleep(std::time::Duration::from_millis(2));
    assert_eq!(left_alone(&node), [0; 0], "its time is over");
}

#[test]
fn a_mark_that_is_none_or_not_ours_does_not_count() {
    let node = marked();
    let text = fs::read(mark(&node)).expect("a mark");
    fs::write(mark(&node), &text[..text.len() / 2]).expect("half a mark");
    assert_eq!(left_alone(&node), [0; 0], "half of it");
    fs::write(mark(&node), &text).expect("a mark");
    for name in ["1x", "-1", "99999999999", ".1"] {
        fs::write(mark(&node).with_file_name(name), &text).expect("a file");
        fs::set_permissions(
            mark(&node).with_file_name(name),
            fs::Permissions::from_mode(0o600),
        )
        .expect("a mode");
    }
    assert_eq!(left_alone(&node), [1], "other names");
    chown(mark(&node), Some(65534), None).expect("chown");
    assert_eq!(left_alone(&node), [0; 0], "another's");
    chown(mark(&node), Some(0), None).expect("chown");
    let folder = ledger(&node).join("stuck");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("a mode");
    assert_eq!(left_alone(&node), [0; 0], "a folder that others write");
}

/// The mark is put where there is a ledger; what hung without one is told all the same.
#[test]
fn without_a_ledger_nothing_is_made() {
    let node = impatient();
    node.set(&["hang=nvmlDeviceGetMigMode@1"]).expect("a fault");
    let output = program(&node, &["status"])
        .output()
        .expect("the program under test");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(!ledger(&node).exists());
    assert!(!file(&node).exists());
}
