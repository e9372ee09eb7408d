//! The trial on trial: what it says it does to a stage happens, and its judge sees what is planted.

use std::fs;
use std::os::unix::fs::symlink;

use nix::errno::Errno;

use crate::ground::Ground;
use crate::judge::Judge;
use crate::leases;
use crate::maker::Ended;
use crate::plan::{Blow, Point};
use crate::recorder::Recorder;
use crate::stages::precreate::Precreate;
use crate::stand_in::StandIn;
use crate::striker::Striker;
use crate::support::cgroups::View;
use crate::trial::Stage;

/// The first of a stage's points of that kind of call, with something about this subject, and with that blow.
fn play(stage: &dyn Stage, kind: &str, subject: &str, blow: Blow) -> Ended {
    let mut recorder = Recorder::new(stage.dear());
    stage.play(&mut recorder, &mut Judge::default(), None);
    let (_, points) = recorder.points();
    let is_it =
        |point: &&Point| point.place.kind == kind && point.blow == blow && point.subject.contains(subject);
    let point = points.iter().find(is_it).expect("such a point");
    let mut striker = Striker::new(point);
    let mut judge = Judge::default();
    let ended = stage.play(&mut striker, &mut judge, Some(point));
    assert!(striker.has_struck, "{point}");
    assert!(judge.violations.is_empty(), "{point}: {judge:#?}");
    ended
}

#[test]
fn a_call_that_is_to_fail_fails() {
    let stage = Precreate::reserves();
    let ended = play(&stage, "openat", "/config.toml", Blow::Fail(Errno::EIO));
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("/config.toml"), "{}", ended.stderr);
    assert!(ended.stderr.contains("Input/output error"), "{}", ended.stderr);
}

#[test]
fn a_failure_that_stays_is_met_again() {
    let stage = Precreate::reserves();
    let ended = play(
        &stage,
        "openat",
        "/unfinished",
        Blow::FailFromThereOn(Errno::ENOSPC),
    );
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("No space left"), "{}", ended.stderr);
}

#[test]
fn a_process_that_is_to_be_killed_is_killed_there() {
    let stage = Precreate::reserves();
    for blow in [Blow::KillBefore, Blow::KillAfter] {
        let ended = play(&stage, "write", "", blow);
        assert!(ended.was_killed(), "{blow}: {}", ended.stderr);
        assert_eq!(ended.code, 128 + libc::SIGKILL, "{blow}");
    }
}

#[test]
fn a_short_read_is_read_on() {
    let ended = play(&Precreate::reserves(), "read", "", Blow::Shorten);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

/// What the judge says of the ground after `plant`.
fn judged(ground: &Ground, plant: impl FnOnce(&Ground)) -> String {
    ground.restore();
    plant(ground);
    let mut judge = Judge::default();
    ground.judge(&mut judge);
    judge.violations.join("\n")
}

#[track_caller]
fn assert_seen(ground: &Ground, words: &str, plant: impl FnOnce(&Ground)) {
    let found = judged(ground, plant);
    assert!(found.contains(words), "{words}: {found:?}");
}

#[test]
fn the_judge_sees_what_is_planted() {
    let ground = Ground::new(View::Host);
    assert_eq!(judged(&ground, |_| {}), "");
    let ledger = ground.machine.ledger();
    let of_the_gone = ground.leases()[0]["id"].as_str().expect("an id").to_owned();
    let file = ledger.join(format!("leases/{of_the_gone}.json"));
    let text = fs::read_to_string(&file).expect("a lease");
    assert_seen(&ground, "no whole document", |_| {
        fs::write(&file, &text[..text.len() / 2]).expect("half a lease");
    });
    assert_seen(&ground, "is under", |_| {
        let other = "f".repeat(32);
        let twin = text.replace(&of_the_gone, &other);
        fs::write(ledger.join(format!("leases/{other}.json")), twin).expect("a second lease");
    });
    assert_seen(&ground, "the record of", |ground| {
        let device = leases::devices(&ground.leases()[0])[0].to_owned();
        fs::remove_file(ledger.join("devices").join(device)).expect("a record");
    });
    assert_seen(&ground, "bystander's lease", |ground| {
        for entry in fs::read_dir(ledger.join("leases")).expect("leases").flatten() {
            if entry.path() != file {
                fs::remove_file(entry.path()).expect("the bystander's lease");
            }
        }
        assert_eq!(ground.leases().len(), 1);
    });
    let mut lock = None;
    assert_seen(&ground, "lock is held", |ground| {
        lock = Some(ground.machine.hold_lock())
    });
    drop(lock);
    let left = ground.machine.dir().join("dev/left");
    assert_seen(&ground, "device nodes", |_| {
        symlink("/dev/null", &left).expect("a link")
    });
    fs::remove_file(left).expect("a link of ours");
}

#[test]
fn the_judge_misses_a_device_that_somebody_has() {
    let ground = Ground::new(View::Host);
    let holder = StandIn::new(View::Host);
    ground.serve(&holder, 1);
    let mut judge = Judge::default();
    ground.judge_nothing_lost(&mut judge, None);
    assert!(
        judge
            .violations
            .iter()
            .any(|what| what.contains("a device is lost")),
        "{judge:?}"
    );
}
