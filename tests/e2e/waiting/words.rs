//! What is said: of a wait, of its end, and of one that could never end well.

use super::{PROFILE, ask, wait, waiting};
use crate::support::machine::Machine;

#[test]
fn a_wait_that_expires() {
    let machine = Machine::with(&["1g.10gb"]);
    let holder = ask(&machine, &[PROFILE]).served();
    let mut waiter = wait(&machine, "2s");
    let id = waiter.id[..12].to_owned();
    let outcome = waiter.end();
    assert_eq!((outcome.code(), outcome.stdout.as_str()), (1, ""), "{outcome}");
    assert!(outcome.took.as_secs() >= 2, "{outcome}");
    let held = format!("1 of 1 held (gpu 0: {})", &holder.id[..12]);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let [waits, refused] = lines[..] else {
        panic!("{outcome}")
    };
    assert_eq!(
        waits,
        format!("oci-mig-hook: container {id} waits: no free 1g.10gb: {held}; first in line, 2s left")
    );
    assert_eq!(
        refused,
        format!(
            "oci-mig-hook: no free 1g.10gb within 2s: {held}; raise mig.wait, or see 'oci-mig-hook status'"
        )
    );
    assert!(waiting(&machine).is_empty(), "its ticket is left");
}

/// It fails at once, and says what it would without the wait.
#[test]
fn what_can_never_be_met_on_this_node() {
    let machine = Machine::with(&["1g.10gb"; 2]);
    let _holder = ask(&machine, &[PROFILE]).served();
    let never = [
        &[("mig.profile", "2g.20gb")][..],
        &[PROFILE, ("mig.count", "3")],
        &[PROFILE, ("mig.count", "9")],
        &[("mig.memory", "70GB")],
        &[("mig.device", "MIG-11111111-1111-5111-8111-111111111111")],
    ];
    for annotations in never {
        let at_once = ask(&machine, annotations).end();
        let waits = ask(&machine, &[annotations, &[("mig.wait", "1h")]].concat()).end();
        assert_eq!(
            (waits.code(), &waits.stderr),
            (1, &at_once.stderr),
            "{annotations:?}"
        );
    }
    assert!(waiting(&machine).is_empty());
}

/// A wait has bounds: how long one container's may be, and how many may wait at once.
#[test]
fn limits() {
    let machine = Machine::with(&["1g.10gb"]);
    machine.configure("limits.wait", "\"1m\"");
    machine.configure("limits.waiting", "2");
    let _holder = ask(&machine, &[PROFILE]).served();
    let refused = ask(&machine, &[PROFILE, ("mig.wait", "2m")]).end();
    assert_eq!(refused.code(), 1, "{refused}");
    assert_eq!(
        refused.stderr,
        "oci-mig-hook: mig.wait=2m: one container may wait 60s here (limits.wait); wait at most 60s, or raise \
         limits.wait in the configuration\n"
    );
    let _waiting = [wait(&machine, "1m"), wait(&machine, "1m")];
    let refused = ask(&machine, &[PROFILE, ("mig.wait", "1m")]).end();
    assert_eq!(refused.code(), 1, "{refused}");
    assert_eq!(
        refused.stderr,
        "oci-mig-hook: no place in the queue: 2 wait already, and no more may (limits.waiting); start it again later, \
         or raise limits.waiting in the configuration\n"
    );
    assert_eq!(waiting(&machine).len(), 2);
}

/// Where there is something free, nobody hears of a wait.
#[test]
fn a_wait_that_is_not_needed() {
    let machine = Machine::with(&["1g.10gb"]);
    let outcome = ask(&machine, &[PROFILE, ("mig.wait", "1h")]).end().ok();
    assert_eq!(outcome.stderr, "");
    assert!(waiting(&machine).is_empty());
}

/// `status` shows who waits, for what, and for how long.
#[test]
fn status_shows_who_waits() {
    let machine = Machine::with(&["1g.10gb"]);
    let holder = ask(&machine, &[PROFILE]).served();
    let first = wait(&machine, "10m");
    let second = wait(&machine, "20m");
    let status = machine.status();
    let shown = status["waiting"].as_array().expect("waiting");
    assert_eq!(shown.len(), 2, "{status}");
    assert_eq!(shown[0]["container"], first.id);
    assert_eq!(shown[0]["request"]["mig.profile"], "1g.10gb");
    assert!(shown[0]["left_seconds"].as_u64().expect("a time") <= 600);
    assert_eq!(shown[1]["container"], second.id);
    let text = crate::support::process::run(&mut machine.program("status"))
        .ok()
        .stdout;
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("waiting: "))
        .collect();
    assert_eq!(rows.len(), 2, "{text}");
    assert!(rows[0].starts_with(&format!(
        "waiting: {} (process {}) for mig.profile=1g.10gb mig.wait=10m",
        &first.id[..12],
        first.call.pid()
    )));
    holder.give_back(&machine);
    let first = first.served();
    first.give_back(&machine);
    second.served();
}
