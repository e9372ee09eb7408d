//! `gc`.

use std::fs;

use serde_json::json;

use super::{Place, short};
use crate::support::process::{is_alive, kill, until};

#[test]
fn who_is_gone_gives_back_and_who_lives_keeps() {
    let place = Place::new(3);
    let (gone_bundle, bundle) = (place.bundle(), place.bundle());
    let living = place.living(&bundle);
    let (gone, pid) = place.ended(&gone_bundle);
    let device = place.device_of(&gone);

    let would = place.call("gc", &["--dry-run"]).ok();
    let line = format!(
        "{device} (1g.10gb) of container {}: its process {pid} is gone",
        short(&gone)
    );
    assert_eq!(
        would.stdout,
        format!("would take back {line}\n1 container holds its devices\n"),
        "{would}"
    );
    assert_eq!(place.machine.leases(), 2, "a dry run changed something");

    let did = place.call("gc", &[]).ok();
    assert_eq!(
        did.stdout,
        format!("took back {line}\n1 container holds its devices\n"),
        "{did}"
    );
    assert_eq!(place.machine.leases(), 1);
    place.device_of(&living);

    let again = place.call("gc", &[]).ok();
    assert_eq!(
        again.stdout, "nothing to take back\n1 container holds its devices\n",
        "{again}"
    );
    living.delete(true).ok();
    assert_eq!(
        place.call("gc", &[]).ok().stdout,
        "nothing to take back\nno container holds a device\n"
    );
}

#[test]
fn json() {
    let place = Place::new(1);
    let bundle = place.bundle();
    let (gone, pid) = place.ended(&bundle);
    let id = place.lease_of(&gone);
    let said = place.json("gc", &[]);
    let taken = &said["taken_back"][0];
    assert_eq!(taken["lease"], json!(id), "{said}");
    assert_eq!(taken["reason"], "holder_gone");
    assert_eq!(taken["state"], "held");
    assert_eq!(taken["why"], format!("its process {pid} is gone"));
    assert_eq!(taken["holder"]["container"]["id"], gone.id());
    assert_eq!(taken["devices"], json!(place.devices()));
    assert_eq!((&said["in_use"], &said["dry_run"]), (&json!(0), &json!(false)));
    place.machine.assert_free("after gc");
}

/// It shared the host's pid namespace, and left a process behind.
#[test]
fn who_left_something_behind_gives_back_when_that_has_ended() {
    let place = Place::new(1);
    let bundle = place
        .machine
        .bundle()
        .annotation("mig.profile", "1g.10gb")
        .without_pid_namespace()
        .script("sleep 1000 & echo $!; wait")
        .write();
    let container = place.living(&bundle);
    until("the one that stays is told", || {
        container.stdout().ends_with('\n')
    });
    let left: i32 = container.stdout().trim().parse().expect("a pid");
    let pid = container.pid();
    kill(pid);
    until("the first one has ended", || !is_alive(pid));
    let device = place.devices().remove(0);

    // Twice the same: it is marked, and then it stays so.
    for _ in 0..2 {
        let said = place.call("gc", &[]).ok();
        let line = format!(
            "not free yet: {device} (1g.10gb) of container {}: something of it still runs in its cgroup\n\
             nothing to take back\nno container holds a device\n",
            short(&container)
        );
        assert_eq!(said.stdout, line, "{said}");
    }
    kill(left);
    until("the other one has ended", || !is_alive(left));
    let said = place.call("gc", &[]).ok();
    assert!(said.stdout.starts_with("took back "), "{said}");
    place.machine.assert_free("both have ended");
}

#[test]
fn what_killed_processes_left_behind() {
    let place = Place::new(1);
    let bundle = place.bundle();
    let container = place.living(&bundle);
    let (leases, devices) = (
        place.machine.ledger().join("leases"),
        place.machine.ledger().join("devices"),
    );
    // As an earlier version left them, and this one: cut short, and a record whose lease was never written.
    let (old, cut) = (
        leases.join(".0f0f.new"),
        place.machine.ledger().join("unfinished"),
    );
    fs::write(&old, "{\"version\":1,").expect("an old leftover");
    fs::write(&cut, "{\"version\":2,").expect("a leftover");
    let record = devices.join(place.devices().remove(0));
    let mut lost: serde_json::Value =
        serde_json::from_slice(&fs::read(&record).expect("a record")).expect("JSON");
    lost["lease"] = "0".repeat(32).into();
    let uuid = "MIG-00000000-0000-5000-8000-000000000000";
    lost["device"]["mig"]["uuid"] = uuid.into();
    fs::write(devices.join(uuid), lost.to_string()).expect("a record without lease");

    // A ticket whose waiter is gone.
    let waiting = place.machine.ledger().join("waiting");
    let ticket = serde_json::json!({"version": 2, "number": 7, "container": "c", "request": {"mig.count": "1"},
        "process": lost["holder"]["container"]["process"], "served": false, "avoids": [], "boot_id": "another",
        "since": 1, "until": 2});
    fs::create_dir(&waiting).expect("a folder");
    let ticket_file = waiting.join("00000000000000000007.json");
    fs::write(&ticket_file, ticket.to_string()).expect("a ticket");

    let would = place.call("gc", &["--dry-run"]).ok();
    let line = "would remove 4 leftovers of processes that were killed\nnothing to take back\n1 container holds its devices\n";
    assert_eq!(would.stdout, line, "{would}");
    let did = place.call("gc", &[]).ok();
    let line = "removed 4 leftovers of processes that were killed\nnothing to take back\n1 container holds its devices\n";
    assert_eq!(did.stdout, line, "{did}");
    assert!(
        !ticket_file.exists()
            && !old.exists()
            && !cut.exists()
            && !devices.join(uuid).exists()
            && record.exists()
    );
    container.delete(true).ok();
}

/// Nothing has been handed out yet, or the ledger can't be changed, or there is a file that nobody can judge.
#[test]
fn no_ledger_and_one_that_is_not_as_it_should_be() {
    let place = Place::new(1);
    fs::remove_dir_all(place.machine.ledger()).ok();
    assert_eq!(
        place.call("gc", &[]).ok().stdout,
        "nothing to take back\nno container holds a device\n"
    );
    assert!(!place.machine.ledger().exists(), "gc made a ledger");

    let bundle = place.bundle();
    place.living(&bundle).delete(true).ok();
    let broken = place
        .machine
        .ledger()
        .join("leases")
        .join(format!("{}.json", "0".repeat(32)));
    fs::write(&broken, "garbage").expect("a broken lease");
    let said = place.call("gc", &[]);
    assert_eq!(said.code(), 3, "{said}");
    let text = format!(
        "unreadable: {}: expected value at line 1 column 1\nnothing to take back\nno container holds a device\n",
        broken.display()
    );
    assert_eq!(said.stdout, text);
    let line = format!(
        "oci-mig-hook: ledger: unreadable lease file {}: expected value at line 1 column 1; which devices it holds is \
         unknown, so none is handed out; end all containers that have a device, and then 'oci-mig-hook release --unreadable --force'\n",
        broken.display()
    );
    assert_eq!(said.stderr, line);
    let json = place.call("gc", &["--json"]);
    assert!(json.stdout.contains(&broken.display().to_string()), "{json}");
}
