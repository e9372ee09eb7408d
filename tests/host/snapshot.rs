//! When what is remembered still holds: one test for each reason that it doesn't.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use fake_node::Scratch;
use serde_json::{Value, json};

use crate::{file, ledger, node, ok, program, remembered};

/// A node whose inventory is remembered.
fn known(name: &str) -> Scratch {
    let node = node(name);
    ok(&mut program(&node, &["refresh"]));
    assert!(remembered(&node).is_some());
    node
}

/// Changes what stands in the file.
fn edit(node: &Scratch, change: impl FnOnce(&mut Value)) {
    let mut snapshot = serde_json::from_slice(&fs::read(file(node)).expect("a file")).expect("JSON");
    change(&mut snapshot);
    fs::write(file(node), snapshot.to_string()).expect("a file");
}

/// Nothing is remembered once `change` was done to a node, and everything is once it was undone.
#[track_caller]
fn voids(what: &str, change: impl FnOnce(&Scratch), undo: impl FnOnce(&Scratch)) {
    let node = known("one-gpu");
    change(&node);
    assert_eq!(remembered(&node), None, "{what}");
    undo(&node);
    assert!(remembered(&node).is_some(), "{what}, undone");
}

/// Nothing is remembered once that field has that value.
#[track_caller]
fn field_voids(pointer: &str, value: Value) {
    let node = known("one-gpu");
    edit(&node, |snapshot| {
        *snapshot.pointer_mut(pointer).expect(pointer) = value.clone();
    });
    assert_eq!(remembered(&node), None, "{pointer} = {value}");
}

#[test]
fn it_is_what_the_driver_said() {
    for name in ["one-gpu", "hgx-h100", "mixed", "old-driver", "holes"] {
        let node = known(name);
        let inventory = remembered(&node).expect("an inventory");
        let mut devices: Vec<_> = inventory
            .devices()
            .map(|device| device.name().to_string())
            .collect();
        let mut expected: Vec<_> = node
            .devices()
            .expect("devices")
            .into_iter()
            .map(|device| device.uuid)
            .chain(node.whole_gpus().expect("GPUs").into_iter().map(|gpu| gpu.uuid))
            .collect();
        devices.sort();
        expected.sort();
        assert_eq!(devices, expected, "{name}");
        node.start_trace().expect("a trace");
        remembered(&node).expect("an inventory");
        assert_eq!(node.trace().expect("a trace"), [], "the driver was asked");
    }
}

#[test]
fn another_boot_or_another_program() {
    field_voids("/key/boot", json!("01234567-89ab-cdef-0123-456789abcdef"));
    field_voids("/key/program", json!("0.0.1"));
    field_voids("/key/program", json!("99.0.0"));
}

#[test]
fn another_driver() {
    let version = |node: &Scratch| node.proc().join("driver/nvidia/version");
    let text = |node: &Scratch| fs::read_to_string(version(node)).expect("version");
    let other = |node: &Scratch| text(node).replace("550.54.15", "550.54.16");
    voids(
        "another version",
        |node| fs::write(version(node), other(node)).expect("version"),
        |node| fs::write(version(node), text(node).replace(".16", ".15")).expect("version"),
    );
    let aside = |node: &Scratch| node.dir().join("version");
    voids(
        "no driver",
        |node| fs::rename(version(node), aside(node)).expect("version"),
        |node| fs::rename(aside(node), version(node)).expect("version"),
    );
}

#[test]
fn another_library() {
    let replace = |node: &Scratch, old: &str, new: &str| {
        let text = fs::read_to_string(node.config()).expect("config.toml");
        fs::write(node.config(), text.replace(old, new)).expect("config.toml");
    };
    voids(
        "another library",
        |node| replace(node, "libnvidia-ml.so.1", "libnvidia-ml.so"),
        |node| replace(node, "libnvidia-ml.so", "libnvidia-ml.so.1"),
    );
}

#[test]
fn other_gpus_or_instances() {
    for folder in [
        "gpus/0000:0f:00.0",
        "capabilities/gpu1",
        "capabilities/gpu0/mig/gi2",
        "capabilities/gpu0/mig/gi1/ci1",
    ] {
        let path = |node: &Scratch| node.proc().join("driver/nvidia").join(folder);
        voids(
            folder,
            |node| fs::create_dir_all(path(node)).expect("a folder"),
            |node| fs::remove_dir(path(node)).expect("a folder"),
        );
    }
    for folder in [
        "gpus/0000:07:00.0",
        "capabilities/gpu0",
        "capabilities/gpu0/mig",
        "capabilities/gpu0/mig/gi1",
        "capabilities/gpu0/mig/gi1/ci0",
        "capabilities",
        "gpus",
    ] {
        let path = |node: &Scratch| node.proc().join("driver/nvidia").join(folder);
        let aside = |node: &Scratch| node.dir().join("aside");
        voids(
            folder,
            |node| fs::rename(path(node), aside(node)).expect("a folder"),
            |node| fs::rename(aside(node), path(node)).expect("a folder"),
        );
    }
}

/// Access files are not looked at: what stands in them is read for the device that is chosen.
#[test]
fn only_names_are_looked_at() {
    let node = known("one-gpu");
    let gi = node.proc().join("driver/nvidia/capabilities/gpu0/mig/gi1");
    fs::remove_file(gi.join("access")).expect("an access file");
    fs::write(gi.join("other"), "").expect("a file");
    assert!(remembered(&node).is_some());
}

#[test]
fn a_file_of_another_layout() {
    field_voids("/version", json!(3));
    field_voids("/version", json!(0));
    for place in ["", "/key"] {
        let node = known("one-gpu");
        edit(&node, |snapshot| {
            snapshot.pointer_mut(place).expect(place)["more"] = json!(1)
        });
        assert_eq!(remembered(&node), None, "a field that isn't known in '{place}'");
    }
}

#[test]
fn a_file_that_is_no_snapshot() {
    let node = known("one-gpu");
    let whole = fs::read(file(&node)).expect("a file");
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(file(&node), &whole[..length]).expect("a file");
        assert_eq!(remembered(&node), None, "its first {length} bytes");
    }
    fs::write(file(&node), [&whole[..], b"}"].concat()).expect("a file");
    assert_eq!(remembered(&node), None, "more behind it");
    let huge = [&whole[..], &vec![b' '; 1 << 20]].concat();
    fs::write(file(&node), huge).expect("a file");
    assert_eq!(remembered(&node), None, "a huge file");
    fs::write(file(&node), &whole).expect("a file");
    assert!(remembered(&node).is_some());
}

#[test]
fn a_file_that_is_not_ours_alone() {
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    let aside = |node: &Scratch| node.dir().join("aside");
    voids(
        "another's",
        |node| chown(file(node), Some(65534), None).expect("chown"),
        |node| chown(file(node), Some(0), None).expect("chown"),
    );
    voids(
        "open to others",
        |node| mode(&file(node), 0o644),
        |node| mode(&file(node), 0o600),
    );
    voids(
        "a folder that others write",
        |node| mode(&ledger(node), 0o722),
        |node| mode(&ledger(node), 0o700),
    );
    voids(
        "another's folder",
        |node| chown(ledger(node), Some(65534), None).expect("chown"),
        |node| chown(ledger(node), Some(0), None).expect("chown"),
    );
    voids(
        "a link",
        |node| {
            fs::rename(file(node), aside(node)).expect("a file");
            symlink(aside(node), file(node)).expect("a link");
        },
        |node| fs::rename(aside(node), file(node)).expect("a file"),
    );
    voids(
        "a linked folder",
        |node| {
            fs::rename(ledger(node), aside(node)).expect("a folder");
            symlink(aside(node), ledger(node)).expect("a link");
        },
        |node| {
            fs::remove_file(ledger(node)).expect("a link");
            fs::rename(aside(node), ledger(node)).expect("a folder");
        },
    );
    voids(
        "a fifo",
        |node| {
            fs::rename(file(node), aside(node)).expect("a file");
            nix::unistd::mkfifo(&file(node), nix::sys::stat::Mode::S_IRUSR).expect("a fifo");
        },
        |node| fs::rename(aside(node), file(node)).expect("a file"),
    );
    voids(
        "a folder",
        |node| {
            fs::rename(file(node), aside(node)).expect("a file");
            fs::create_dir(file(node)).expect("a folder");
        },
        |node| {
            fs::remove_dir(file(node)).expect("a folder");
            fs::rename(aside(node), file(node)).expect("a file");
        },
    );
}

/// Makes it that much older, in milliseconds.
fn age(node: &Scratch, by: i64) {
    edit(node, |snapshot| {
        let taken = snapshot["taken"].as_i64().expect("a time");
        snapshot["taken"] = json!((taken - by).max(0));
    });
}

/// What fell off the bus, or failed, may come back and leave no trace in /proc.
#[test]
fn what_lacks_something_holds_for_a_minute() {
    let lacking = known("excluded-lost");
    age(&lacking, 50_000);
    assert!(remembered(&lacking).is_some(), "a young one");
    age(&lacking, 11_000);
    assert_eq!(remembered(&lacking), None, "an old one");

    let node = node("one-gpu");
    node.set(&["fail=nvmlDeviceGetAttributes:999"]).expect("a fault");
    ok(&mut program(&node, &["refresh"]));
    age(&node, 61_000);
    assert_eq!(remembered(&node), None, "devices that failed");
}

/// A GPU that the driver was told to leave out stays out until the driver is loaded anew.
#[test]
fn what_lacks_nothing_but_an_excluded_gpu_holds() {
    for name in ["one-gpu", "excluded-lost"] {
        let node = node(name);
        node.set(&["lost="]).expect("no fault");
        ok(&mut program(&node, &["refresh"]));
        age(&node, i64::MAX / 2);
        assert!(remembered(&node).is_some(), "{name}");
    }
}

#[test]
fn one_of_the_future() {
    let node = known("one-gpu");
    age(&node, -3_600_000);
    assert_eq!(remembered(&node), None);
}
