//! The records of held devices: an unreadable lease costs only its own devices, and an older program's leases get
//! theirs. What a writer leaves that is killed between two files keeps nothing out of use.

use std::fs;
use std::path::PathBuf;

use oci_mig_hook::lease::{DeviceRecord, Lease, LeaseState, Ledger};
use oci_mig_hook::release;

use crate::node::{Scratch, called, container, lease, uuid};
use crate::transaction::{gone, one, reserve};

fn files(scratch: &Scratch, folder: &str) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(scratch.path().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn spoil(scratch: &Scratch, lease: &Lease) -> PathBuf {
    let path = scratch.path().join(format!("leases/{}.json", lease.id));
    fs::write(&path, "{\"version\":2,").unwrap();
    path
}

/// A container of two devices, whose lease can't be read any more.
fn with_two_unreadable(scratch: &Scratch) -> (Ledger, Lease, PathBuf) {
    let ledger = Ledger::open(scratch.path()).unwrap();
    let two = [("mig.profile", "1g.10gb"), ("mig.count", "2")];
    let lease = reserve(&ledger, &two, container("broken"), LeaseState::Held).unwrap();
    let path = spoil(scratch, &lease);
    (ledger, lease, path)
}

#[test]
fn each_held_device_has_a_record_as_long_as_its_lease() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let two = [("mig.profile", "1g.10gb"), ("mig.count", "2")];
    let lease = reserve(&ledger, &two, container("a"), LeaseState::Held).unwrap();
    let names: Vec<String> = lease.names().map(|name| name.to_string()).collect();
    assert_eq!(files(&scratch, "devices"), names);
    let text = fs::read_to_string(scratch.path().join("devices").join(&names[0])).unwrap();
    let record: DeviceRecord = serde_json::from_str(&text).unwrap();
    assert_eq!((record.lease, record.of), (lease.id.clone(), 2));
    ledger.lock().unwrap().remove(&lease).unwrap();
    assert_eq!(files(&scratch, "devices"), [""; 0]);
}

#[test]
fn an_unreadable_lease_costs_its_own_devices_alone() {
    let scratch = Scratch::new();
    let (ledger, broken, path) = with_two_unreadable(&scratch);
    for k in 0..5 {
        let given = one(&ledger, &format!("container-{k}")).unwrap();
        assert!(given.names().all(|name| !broken.names().any(|held| held == name)));
    }
    let refusal = one(&ledger, "one-too-many").unwrap_err().to_string();
    assert!(
        refusal.contains("7 of 7 held") && refusal.contains("broken"),
        "{refusal}"
    );
    assert!(
        path.exists(),
        "it is for its container's end, or for a person, to remove"
    );
    assert!(ledger.get(&broken.id).is_err(), "nobody confirms it");
}

#[test]
fn an_unreadable_lease_goes_when_its_holder_has() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let four = [("mig.profile", "1g.10gb"), ("mig.count", "4")];
    let broken = reserve(&ledger, &four, gone("broken"), LeaseState::Held).unwrap();
    let path = spoil(&scratch, &broken);
    let seven = [("mig.profile", "1g.10gb"), ("mig.count", "7")];
    reserve(&ledger, &seven, container("a"), LeaseState::Held).unwrap();
    assert!(!path.exists());
    assert_eq!(files(&scratch, "devices").len(), 7);
}

/// All or nothing is known of it: with one record less, it might hold any device.
#[test]
fn an_unreadable_lease_with_a_record_too_few_costs_every_device() {
    type Spoil = fn(&str);
    let spoils: [Spoil; 3] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, "{}").unwrap(),
        |path| {
            let text = fs::read_to_string(path).unwrap();
            fs::write(path, text.replace("\"version\":2", "\"version\":4")).unwrap();
        },
    ];
    for spoil in spoils {
        let scratch = Scratch::new();
        let (ledger, broken, path) = with_two_unreadable(&scratch);
        let record = broken.names().next().unwrap().to_string();
        spoil(scratch.path().join("devices").join(record).to_str().unwrap());
        let failure = one(&ledger, "a").unwrap_err();
        assert_eq!(failure.exit() as i32, 3);
        let expected = format!("ledger: unreadable lease file {}: ", path.display());
        assert!(failure.to_string().starts_with(&expected), "{failure}");
        assert!(failure.to_string().contains("release --unreadable"), "{failure}");
    }
}

/// A writer was killed between record and lease, or between lease and record.
#[test]
fn a_record_without_its_lease_keeps_nothing_out_of_use() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let lost = lease("a", LeaseState::Held);
    ledger.lock().unwrap().put(&lost).unwrap();
    fs::remove_file(scratch.path().join(format!("leases/{}.json", lost.id))).unwrap();
    assert_eq!(files(&scratch, "devices"), [uuid(0).to_string()]);
    let seven = [("mig.profile", "1g.10gb"), ("mig.count", "7")];
    let all = reserve(&ledger, &seven, container("b"), LeaseState::Held).unwrap();
    let text = fs::read_to_string(scratch.path().join("devices").join(uuid(0).to_string())).unwrap();
    assert_eq!(serde_json::from_str::<DeviceRecord>(&text).unwrap().lease, all.id);
}

/// Its lease was taken back while it was busy, and its device given to the next: found by the model (tests/protocol).
#[test]
fn who_takes_its_reservation_back_late_leaves_the_next_ones_records_alone() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let late = reserve(
        &ledger,
        &[("mig.profile", "1g.10gb")],
        gone("late"),
        LeaseState::Held,
    )
    .unwrap();
    let next = one(&ledger, "next").unwrap();
    assert!(next.names().eq(late.names()));
    release::undo(&mut ledger.lock().unwrap(), &late).unwrap();
    assert_eq!(files(&scratch, "devices"), [uuid(0).to_string()]);
    spoil(&scratch, &next);
    assert!(one(&ledger, "other").unwrap().names().eq([called(1)]));
}

/// What the first released version wrote, which kept no records and knew neither state root nor pid namespace.
#[test]
fn an_older_versions_lease_is_read_and_gets_its_records() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let old = older(&lease("old", LeaseState::Held));
    let path = scratch
        .path()
        .join(format!("leases/{}.json", old["id"].as_str().unwrap()));
    fs::write(&path, old.to_string()).unwrap();
    fs::remove_dir(scratch.path().join("devices")).unwrap();
    // Looked at by a program that may not change anything.
    let looked = Ledger::existing(scratch.path())
        .unwrap()
        .unwrap()
        .contents()
        .unwrap();
    assert_eq!((looked.leases.len(), looked.unreadable.len()), (1, 0));

    let ledger_again = Ledger::open(scratch.path()).unwrap();
    let given = one(&ledger_again, "new").unwrap();
    assert!(given.names().all(|given| given != called(0)));
    let now = &ledger.contents().unwrap().leases;
    let upgraded = now
        .iter()
        .find(|lease| lease.holder.container().id == "old")
        .unwrap();
    assert_eq!(upgraded.version, 2);
    assert_eq!(files(&scratch, "devices").len(), 2);
    assert_eq!(fs::read_dir(scratch.path().join("leases")).unwrap().count(), 2);
}

/// Its lease can't be read, and it has no records: nothing is handed out, as the older program would have done.
#[test]
fn an_older_versions_unreadable_lease_costs_every_device() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    fs::write(
        scratch
            .path()
            .join("leases/00000000000000000000000000000000.json"),
        "{\"version\":1,",
    )
    .unwrap();
    assert_eq!(one(&ledger, "a").unwrap_err().exit() as i32, 3);
}

fn older(lease: &Lease) -> serde_json::Value {
    let mut old = serde_json::to_value(lease).unwrap();
    old["version"] = 1.into();
    let container = old["holder"]["container"].as_object_mut().unwrap();
    container.remove("own_pid_namespace");
    container.remove("state_root");
    old
}
