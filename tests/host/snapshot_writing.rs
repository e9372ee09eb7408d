//! How the snapshot is written: by whom, when not, and with nothing left behind whatever comes between.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fake_node::Scratch;

use crate::{PROGRAM, file, ledger, names, node, ok, program, remembered};

#[test]
fn it_is_its_owners_alone_and_the_only_file() {
    let node = node("one-gpu");
    for _ in 0..3 {
        ok(&mut program(&node, &["refresh"]));
        assert!(names(&ledger(&node)).contains(&"inventory.json".to_owned()));
        let strange = names(&ledger(&node));
        let strange: Vec<_> = strange
            .iter()
            .filter(|name| !EXPECTED.contains(&name.as_str()))
            .collect();
        assert!(strange.is_empty(), "{strange:?}");
    }
    let found = fs::metadata(file(&node)).expect("a file");
    assert_eq!((found.mode() & 0o7777, found.nlink(), found.uid()), (0o600, 1, 0));
}

/// What the ledger's folder may hold after a refresh.
const EXPECTED: [&str; 4] = ["inventory.json", "leases", "devices", "lock"];

#[test]
fn status_writes_it_too_where_there_is_a_ledger() {
    let node = node("one-gpu");
    ok(&mut program(&node, &["status"]));
    assert!(!ledger(&node).exists(), "status makes no folder");
    fs::create_dir(ledger(&node)).expect("a folder");
    fs::set_permissions(ledger(&node), fs::Permissions::from_mode(0o700)).expect("a mode");
    ok(&mut program(&node, &["status"]));
    assert!(remembered(&node).is_some());
}

#[test]
fn nobody_but_root_writes_it() {
    let node = node("one-gpu");
    fs::create_dir(ledger(&node)).expect("a folder");
    chown(ledger(&node), Some(65534), Some(65534)).expect("chown");
    // Others may look into the simulated node.
    let mut status = program(&node, &["status"]);
    status.uid(65534).gid(65534);
    ok(&mut status);
    assert_eq!(names(&ledger(&node)), [""; 0], "somebody else's folder");
    ok(&mut program(&node, &["status"]));
    assert_eq!(names(&ledger(&node)), [""; 0], "a folder that isn't root's");
}

#[test]
fn a_folder_that_others_write_gets_none() {
    let node = node("one-gpu");
    fs::create_dir(ledger(&node)).expect("a folder");
    fs::set_permissions(ledger(&node), fs::Permissions::from_mode(0o1777)).expect("a mode");
    ok(&mut program(&node, &["status"]));
    assert_eq!(names(&ledger(&node)), [""; 0]);
}

/// What NVML says while GPUs are being cut may be of before or of after.
#[test]
fn what_changes_meanwhile_is_not_remembered() {
    let node = node("one-gpu");
    node.start_trace().expect("a trace");
    node.set(&["hang=nvmlDeviceGetMigMode"]).expect("a fault");
    let refresh = program(&node, &["refresh"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program under test");
    until("NVML to be asked", || {
        let trace = node.trace().expect("a trace");
        trace.iter().any(|line| line.function == "nvmlDeviceGetMigMode")
    });
    let new = node.proc().join("driver/nvidia/capabilities/gpu0/mig/gi2");
    fs::create_dir(&new).expect("a folder");
    node.set(&["hang="]).expect("no fault");
    let output = refresh.wait_with_output().expect("its end");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("\nnot remembered: "), "{text}");
    assert!(!file(&node).exists());
    fs::remove_dir(&new).expect("a folder");
    assert_eq!(remembered(&node), None);
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// `refresh` with one system call of its own process tampered with: strace's inject.
fn tampered(node: &Scratch, inject: &str) {
    let mut command = Command::new("strace");
    command.args(["-o", "/dev/null", "-e", &format!("inject={inject}")]);
    command.args([PROGRAM, "refresh", "--config"]).arg(node.config());
    let ran = command.output();
    ran.expect("strace (run tests/setup)");
}

/// The calls that write it, as strace counts them.
fn calls(node: &Scratch) -> Vec<(String, usize)> {
    let log = node.dir().join("strace");
    let mut command = Command::new("strace");
    command
        .arg("-o")
        .arg(&log)
        .args([PROGRAM, "refresh", "--config"])
        .arg(node.config());
    ok(&mut command);
    let text = fs::read_to_string(&log).expect("a log");
    let mut counts = std::collections::BTreeMap::new();
    let mut calls = Vec::new();
    let mut writing = false;
    for line in text.lines() {
        let name = line.split('(').next().unwrap_or_default().to_owned();
        let count = counts.entry(name.clone()).or_insert(0);
        *count += 1;
        writing |= line.contains("O_TMPFILE");
        if writing {
            calls.push((name.clone(), *count));
        }
        writing &= name != "linkat";
    }
    calls
}

/// Killed before or failing at any of its calls: what was remembered is there or not, and nothing else is.
#[test]
fn nothing_is_left_behind() {
    let node = node("one-gpu");
    ok(&mut program(&node, &["refresh"]));
    let calls = calls(&node);
    let named: Vec<&str> = calls.iter().map(|(name, _)| name.as_str()).collect();
    for needed in ["openat", "write", "unlinkat", "linkat"] {
        assert!(named.contains(&needed), "{named:?}");
    }
    let whole = fs::read(file(&node)).expect("a file").len();
    for (call, at) in &calls {
        for how in [
            "signal=KILL",
            "error=EIO",
            "error=ENOSPC",
            "error=EOPNOTSUPP",
            "error=EPERM",
            "error=EEXIST",
        ] {
            tampered(&node, &format!("{call}:{how}:when={at}"));
            let what = format!("{call} number {at}, {how}");
            let left = names(&ledger(&node));
            assert!(
                left.iter().all(|name| EXPECTED.contains(&name.as_str())),
                "{what}: {left:?}"
            );
            assert_whole(&file(&node), whole, &what);
            ok(&mut program(&node, &["refresh"]));
            assert!(remembered(&node).is_some(), "{what}");
        }
    }
}

/// None, or all of it.
fn assert_whole(path: &Path, whole: usize, what: &str) {
    if let Ok(text) = fs::read(path) {
        assert!(
            text.len().abs_diff(whole) < 10,
            "{what}: {} of {whole} bytes",
            text.len()
        );
        let json = serde_json::from_slice::<serde_json::Value>(&text);
        assert!(json.is_ok(), "{what}: {json:?}");
    }
}

/// Where a file system has no files without names, nothing is remembered, and nothing fails.
#[test]
fn a_file_system_that_cannot_is_no_failure() {
    let node = node("one-gpu");
    ok(&mut program(&node, &["refresh"]));
    let (call, at) = calls(&node)[0].clone();
    assert_eq!(call, "openat");
    fs::remove_file(file(&node)).expect("a file");
    let mut command = Command::new("strace");
    command.args([
        "-o",
        "/dev/null",
        "-e",
        &format!("inject={call}:error=EOPNOTSUPP:when={at}"),
    ]);
    let text = ok(command.args([PROGRAM, "refresh", "--config"]).arg(node.config()));
    assert!(text.contains("\nnot remembered: "), "{text}");
    assert!(!file(&node).exists());
}
