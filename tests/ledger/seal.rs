//! What a reservation relies on without reading every lease: the records of held devices, as long as nobody else has changed
//! the ledger's folders. Whatever was done to them by hand is seen, and a record alone takes nothing from anybody.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use oci_mig_hook::lease::liveness::Here;
use oci_mig_hook::lease::{DeviceRecord, Holder, Lease, LeaseState, LeasedDevice, Ledger, VERSION};
use oci_mig_hook::mig::GpuInstanceId;

use crate::node::{Scratch, called, container, container_of, lease, lease_of, uuid};
use crate::transaction::{gone, one, reserve};

const ONE: [(&str, &str); 1] = [("mig.profile", "1g.10gb")];

/// A ledger with one lease, of device 0, that was read and sealed.
struct Sealed {
    scratch: Scratch,
    ledger: Ledger,
    lease: Lease,
}

impl Sealed {
    fn new() -> Sealed {
        let scratch = Scratch::new();
        let ledger = Ledger::open(scratch.path()).unwrap();
        let lease = one(&ledger, "first").unwrap();
        let sealed = Sealed {
            scratch,
            ledger,
            lease,
        };
        assert!(sealed.is_sealed());
        sealed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn is_sealed(&self) -> bool {
        ["leases", "devices"]
            .iter()
            .all(|folder| fs::metadata(self.path(folder)).unwrap().mtime() == i64::from(VERSION))
    }

    fn lease_file(&self) -> PathBuf {
        self.path(&format!("leases/{}.json", self.lease.id))
    }

    fn record_file(&self) -> PathBuf {
        self.path(&format!("devices/{}", uuid(0)))
    }

    /// The record of device 0 comes to say something else, in its place.
    fn rewrite_record(&self, change: impl FnOnce(&mut DeviceRecord)) {
        let text = fs::read_to_string(self.record_file()).unwrap();
        let mut record: DeviceRecord = serde_json::from_str(&text).unwrap();
        change(&mut record);
        fs::write(self.record_file(), serde_json::to_string(&record).unwrap()).unwrap();
        assert!(self.is_sealed(), "no folder was changed");
    }
}

#[test]
fn a_ledger_stays_sealed_through_every_stage_of_this_program() {
    let sealed = Sealed::new();
    let other = reserve(&sealed.ledger, &ONE, container("b"), LeaseState::Pending).unwrap();
    assert!(sealed.is_sealed(), "a reservation");
    let mut locked = sealed.ledger.lock().unwrap();
    locked.put(&other).unwrap();
    assert!(!sealed.is_sealed(), "while it changes something");
    drop(locked);
    assert!(sealed.is_sealed(), "a confirmation");
    sealed.ledger.lock().unwrap().remove(&other).unwrap();
    assert!(sealed.is_sealed(), "a release");
}

/// It was killed after its change, and before it set the seal again.
#[test]
fn who_was_killed_over_a_change_leaves_a_broken_seal_and_the_next_reservation_mends_it() {
    let sealed = Sealed::new();
    let mut locked = sealed.ledger.lock().unwrap();
    locked.put(&sealed.lease).unwrap();
    std::mem::forget(locked);
    let again = Ledger::open(sealed.scratch.path()).unwrap();
    assert!(!sealed.is_sealed());
    // The lock went with the process; here it is still held by this one.
    fs::remove_file(sealed.path("lock")).unwrap();
    assert!(one(&again, "next").unwrap().names().eq([called(1)]));
    assert!(sealed.is_sealed());
}

/// So what has gathered beside the leases costs a reservation nothing.
#[test]
fn a_sealed_ledgers_leases_are_not_even_listed() {
    let sealed = Sealed::new();
    fs::write(sealed.path("leases/broken.json"), "{").unwrap();
    seal(&sealed);
    assert!(one(&sealed.ledger, "next").unwrap().names().eq([called(1)]));
    assert_eq!(sealed.ledger.contents().unwrap().unreadable.len(), 1);
}

/// As this program does.
fn seal(sealed: &Sealed) {
    for folder in ["leases", "devices"] {
        let touch = Command::new("touch")
            .args(["--no-create", "-m", "-d", &format!("@{VERSION}")])
            .arg(sealed.path(folder))
            .status();
        assert!(touch.unwrap().success());
    }
    assert!(sealed.is_sealed());
}

#[test]
fn a_lease_that_somebody_else_put_there_is_seen() {
    let sealed = Sealed::new();
    let mut other = lease("by hand", LeaseState::Held);
    let LeasedDevice::Mig(device) = &mut other.devices[0] else {
        panic!("a MIG device: {other:?}");
    };
    device.uuid = uuid(1);
    device.gi = GpuInstanceId(8);
    let path = sealed.path(&format!("leases/{}.json", other.id));
    fs::write(path, serde_json::to_string(&other).unwrap()).unwrap();
    assert!(one(&sealed.ledger, "next").unwrap().names().eq([called(2)]));

    fs::write(sealed.path("leases/broken.json"), "{").unwrap();
    let failure = one(&sealed.ledger, "last").unwrap_err();
    assert_eq!(failure.exit() as i32, 3);
    assert!(failure.to_string().contains("leases/broken.json"), "{failure}");
    assert!(!sealed.is_sealed(), "until it can be told what that is");
}

#[test]
fn a_lease_whose_record_somebody_took_away_or_spoiled_still_stands() {
    type Spoil = fn(&Sealed);
    let spoils: [Spoil; 3] = [
        |sealed| fs::remove_file(sealed.record_file()).unwrap(),
        |sealed| fs::write(sealed.record_file(), "{").unwrap(),
        |sealed| sealed.rewrite_record(|record| record.of = 2),
    ];
    for spoil in spoils {
        let sealed = Sealed::new();
        spoil(&sealed);
        assert!(one(&sealed.ledger, "next").unwrap().names().eq([called(1)]));
    }
}

#[test]
fn a_record_whose_lease_is_gone_keeps_nothing_out_of_use() {
    let sealed = Sealed::new();
    fs::remove_file(sealed.lease_file()).unwrap();
    seal(&sealed);
    assert!(one(&sealed.ledger, "next").unwrap().names().eq([called(0)]));
}

/// A confirm was killed between the two: the record knows of the container's process, which is about to be killed.
#[test]
fn a_record_that_knows_more_than_its_lease_keeps_the_device_while_its_own_process_lives() {
    let sealed = Sealed::new();
    let maker = lease_of(gone("made"), LeaseState::Pending);
    sealed.ledger.lock().unwrap().remove(&sealed.lease).unwrap();
    sealed.ledger.lock().unwrap().put(&maker).unwrap();
    let mut first = Command::new("sleep").arg("100").spawn().unwrap();
    let here = Here::look().unwrap();
    let process = here.name_process(first.id() as i32).unwrap();
    sealed.rewrite_record(|record| {
        record.state = LeaseState::Held;
        record.holder = Holder::Container(container_of("made", process));
    });
    assert!(one(&sealed.ledger, "next").unwrap().names().eq([called(1)]));
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(one(&sealed.ledger, "last").unwrap().names().eq([called(0)]));
}

/// The other way round: it would be taken from a holder that lives.
#[test]
fn a_record_alone_takes_nothing_from_anybody() {
    let sealed = Sealed::new();
    let holder = Holder::Container(gone("first"));
    sealed.rewrite_record(|record| record.holder = holder);
    assert!(one(&sealed.ledger, "next").unwrap().names().eq([called(1)]));
    assert!(sealed.lease_file().exists());
}

#[test]
fn who_asks_again_gets_its_own_lease_whole() {
    let sealed = Sealed::new();
    let pending = reserve(&sealed.ledger, &ONE, container("again"), LeaseState::Pending).unwrap();
    let again = reserve(&sealed.ledger, &ONE, container("again"), LeaseState::Pending).unwrap();
    assert_eq!((&again.id, &again.request), (&pending.id, &pending.request));
    assert!(!again.request.is_empty());
}
