//! Who uses a device, as the check and `status` see it.

use std::fs;
use std::process::{Child, Command};

use fake_node::Scratch;
use oci_mig_hook::mig::{Checked, User};
use serde_json::Value;

use crate::check::{check_users, inventory};
use crate::{cut, instance, node, ok, program, up};

/// A process that sleeps, under a name that its file gives it; ended when dropped.
struct Sleeper(Child);

impl Sleeper {
    fn named(node: &Scratch, name: &str) -> Sleeper {
        let file = node.dir().join(name);
        // A copy could still be open for writing in another test's child.
        std::os::unix::fs::symlink("/bin/sleep", &file).expect("a program");
        Sleeper(Command::new(file).arg("1000").spawn().expect("a process"))
    }

    fn user(&self, name: &str) -> User {
        User {
            pid: self.0.id(),
            name: name.to_owned(),
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Seven devices of 1g.10gb, and their UUIDs.
fn seven() -> (Scratch, Vec<String>) {
    let node = up(&cut(vec![instance("1g.10gb"); 7]));
    let devices = node.devices().expect("devices").into_iter();
    let uuids = devices.map(|device| device.uuid).collect();
    (node, uuids)
}

fn uses(node: &Scratch, kind: &str, uuid: &str, pid: u32) {
    node.set(&[&format!("{kind}={uuid}:{pid}")])
        .expect("a process on a device");
}

#[test]
fn the_check_names_everyone_who_uses_a_device() {
    let (node, uuids) = seven();
    let sleepers = ["trainer", "Xorg", "mps-client"].map(|name| Sleeper::named(&node, name));
    let known = inventory(&node);
    for (kind, sleeper, device) in [
        ("process", 0, 1),
        ("graphics", 1, 2),
        ("mps", 2, 3),
        ("graphics", 0, 1),
    ] {
        uses(&node, kind, &uuids[device], sleepers[sleeper].0.id());
    }
    uses(&node, "process", &uuids[1], sleepers[2].0.id());
    let mut both = vec![sleepers[0].user("trainer"), sleepers[2].user("mps-client")];
    both.sort();
    let expected = [
        Checked::AsKnown,
        Checked::InUse(both),
        Checked::InUse(vec![sleepers[1].user("Xorg")]),
        Checked::InUse(vec![sleepers[2].user("mps-client")]),
    ];
    assert_eq!(check_users(&node, &known, true)[..4], expected);
    assert_eq!(
        check_users(&node, &known, false),
        vec![Checked::AsKnown; 7],
        "when not asked for"
    );
}

/// A process is free to call itself anything.
#[test]
fn a_name_is_made_safe_for_one_line() {
    let (node, uuids) = seven();
    let sleeper = Sleeper::named(&node, "a\nb\u{1b}[2J");
    uses(&node, "process", &uuids[0], sleeper.0.id());
    let checked = check_users(&node, &inventory(&node), true);
    assert_eq!(checked[0], Checked::InUse(vec![sleeper.user("a\\nb\\u{1b}[2J")]));
}

/// Of another pid namespace, or gone by now and still listed: not ours to judge.
#[test]
fn a_process_that_is_not_seen_uses_it_all_the_same() {
    let (node, uuids) = seven();
    uses(&node, "process", &uuids[0], 4_194_304);
    let nobody = User {
        pid: 4_194_304,
        name: String::new(),
    };
    assert_eq!(
        check_users(&node, &inventory(&node), true)[0],
        Checked::InUse(vec![nobody])
    );
}

#[test]
fn where_nvml_cannot_tell_nobody_uses_it() {
    let (node, uuids) = seven();
    uses(&node, "process", &uuids[0], 1);
    let known = inventory(&node);
    node.set(&["fail=nvmlDeviceGetComputeRunningProcesses:NOT_SUPPORTED"])
        .expect("a fault");
    assert_eq!(check_users(&node, &known, true), vec![Checked::AsKnown; 7]);
    node.set(&[
        "fail=",
        "fail=nvmlDeviceGetGraphicsRunningProcesses:NOT_SUPPORTED",
    ])
    .expect("a fault");
    assert!(
        matches!(check_users(&node, &known, true)[0], Checked::InUse(_)),
        "by another list"
    );
    node.set(&["fail=", "fail=nvmlDeviceGetMPSComputeRunningProcesses:999"])
        .expect("a fault");
    let checked = check_users(&node, &known, true);
    let line = "GPU 0: NVML: an internal driver error occurred".to_owned();
    assert_eq!(checked, vec![Checked::Differs(line); 7], "an error is no answer");
}

/// A device that is another is no matter of who uses it.
#[test]
fn what_differs_comes_first() {
    let (node, _) = seven();
    let known = inventory(&node);
    let other = cut(vec![instance("1g.10gb+me")]);
    node.repartition(&other).expect("a repartition");
    let uuid = node.devices().expect("devices")[0].uuid.clone();
    uses(&node, "process", &uuid, 1);
    assert!(matches!(check_users(&node, &known, true)[0], Checked::Differs(_)));
}

fn status(node: &Scratch) -> Value {
    serde_json::from_str(&ok(&mut program(node, &["status", "--json"]))).expect("JSON")
}

#[test]
fn status_shows_who_uses_a_device_without_a_lease() {
    let (node, uuids) = seven();
    let sleepers = ["trainer", "other"].map(|name| Sleeper::named(&node, name));
    uses(&node, "process", &uuids[1], sleepers[0].0.id());
    for sleeper in &sleepers {
        uses(&node, "process", &uuids[2], sleeper.0.id());
    }
    let table = ok(&mut program(&node, &["status"]));
    let row = |device: usize| {
        // A narrow terminal cuts its end off.
        let row = table.lines().find(|line| line.contains(&uuids[device][..30]));
        let words = row.unwrap_or_else(|| panic!("{table}")).split_whitespace();
        words.skip(3).collect::<Vec<_>>().join(" ")
    };
    let [trainer, other] = [&sleepers[0], &sleepers[1]].map(|sleeper| sleeper.0.id());
    assert_eq!(row(0), "- free");
    assert_eq!(row(1), format!("{trainer} trainer in use"));
    let both = [(trainer, "trainer"), (other, "other")];
    let (first, name) = both.into_iter().min().expect("two");
    assert_eq!(row(2), format!("{first} {name} +1 in use"));

    let status = status(&node);
    let device = &status["gpus"][0]["devices"][1];
    assert_eq!(device["state"], "in_use");
    let user = serde_json::json!([{"pid": sleepers[0].0.id(), "name": "trainer"}]);
    assert_eq!((&device["users"], &device["lease"]), (&user, &Value::Null));
    assert_eq!(status["gpus"][0]["devices"][0]["users"], serde_json::json!([]));
}

/// With `ignore` it will be given to a container: it is free, and who uses it is still told.
#[test]
fn what_is_ignored_is_free() {
    let (node, uuids) = seven();
    uses(&node, "process", &uuids[1], 1);
    let config = fs::read_to_string(node.config()).expect("config.toml");
    fs::write(node.config(), format!("unmanaged = \"ignore\"\n{config}")).expect("config.toml");
    let device = &status(&node)["gpus"][0]["devices"][1];
    assert_eq!(
        (&device["state"], &device["users"][0]["pid"]),
        (&"free".into(), &1.into())
    );
}

/// Only `status` asks NVML for users of every device: a full look for a reservation doesn't need it.
#[test]
fn a_full_look_asks_for_no_users() {
    let node = node("one-gpu");
    node.start_trace().expect("a trace");
    ok(&mut program(&node, &["refresh"]));
    let asks = |line: &fake_node::TraceLine| line.function.contains("RunningProcesses");
    assert!(!node.trace().expect("a trace").iter().any(asks));
    ok(&mut program(&node, &["status"]));
    assert!(node.trace().expect("a trace").iter().any(asks));
}
