//! The ledger is not as it should be: files that can't be read, a lock that somebody keeps, folders that are another's.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ASKS, HOST, assert_says, config, refuses, serves, state};
use crate::support::cgroups::View;
use crate::support::gate::Gate;
use crate::support::machine::Machine;
use crate::support::podman::IMAGE;
use crate::support::process::{DEADLINE, run, start};
use crate::support::runtime::Runtime;

const NAME: &str = "00000000000000000000000000000000.json";

/// A machine with a ledger in which nothing stands.
fn machine() -> Machine {
    let machine = Machine::with(&["1g.10gb"; 2]);
    serves(&machine);
    for lease in fs::read_dir(machine.ledger().join("leases")).expect("leases") {
        fs::remove_file(lease.expect("a lease").path()).expect("no lease");
    }
    machine
}

/// Which devices it holds is unknown, so none is handed out; and nothing of it is lost.
#[test]
fn a_lease_file_that_can_not_be_read() {
    type Spoil = fn(&Path);
    let newer = "its version is 4, and this program knows versions up to 3";
    let cases: [(Spoil, &str); 8] = [
        (
            |path| fs::write(path, "garbage").expect("a file"),
            "expected value at line 1 column 1",
        ),
        (
            |path| fs::write(path, "").expect("a file"),
            "EOF while parsing a value at line 1 column 0",
        ),
        (
            |path| fs::write(path, "{\"version\":1,").expect("a file"),
            "EOF while parsing a value at line 1 column 13",
        ),
        (
            |path| fs::write(path, "{\"version\":1}").expect("a file"),
            "missing field `id` at line 1 column 13",
        ),
        (
            |path| fs::write(path, "{\"version\":4,\"id\":7}").expect("a file"),
            newer,
        ),
        (
            |path| fs::create_dir(path).expect("a folder"),
            "Is a directory (os error 21)",
        ),
        (
            |path| symlink("/etc/passwd", path).expect("a link"),
            "Too many levels of symbolic links (os error 40)",
        ),
        (
            // Who opens one waits for the other end.
            |path| drop(run(Command::new("mkfifo").arg(path)).ok()),
            "EOF while parsing a value at line 1 column 0",
        ),
    ];
    for (spoil, why) in cases {
        let machine = machine();
        let path = machine.ledger().join("leases").join(NAME);
        spoil(&path);
        refuses(&machine, ASKS, HOST, &unreadable(&path, why));
        assert!(fs::symlink_metadata(&path).is_ok(), "{why}: it was removed");
        // Who only ends is not held up.
        machine.stage("poststop", &state(ASKS).to_string()).ok();
        run(Command::new("rm").arg("-r").arg(&path)).ok();
        serves(&machine);
    }
}

fn unreadable(path: &Path, why: &str) -> String {
    let remedy = match why.starts_with("its version is ") {
        true => "use the program that wrote it",
        false => {
            "end all containers that have a device, and then 'oci-mig-hook release --unreadable --force'"
        }
    };
    format!(
        "ledger: unreadable lease file {}: {why}; which devices it holds is unknown, so none is handed out; {remedy}",
        path.display()
    )
}

/// A lease under another's name would be given back in that one's stead.
#[test]
fn a_lease_file_under_another_name() {
    let machine = machine();
    let lease = serves(&machine)["annotations"]["mig.lease"]
        .as_str()
        .expect("a lease")
        .to_owned();
    let folder = machine.ledger().join("leases");
    let path = folder.join(NAME);
    fs::rename(folder.join(format!("{lease}.json")), &path).expect("another name");
    refuses(
        &machine,
        ASKS,
        HOST,
        &unreadable(&path, &format!("it should be named {lease}.json")),
    );
}

/// What others hold is still confirmed and given back, through Podman.
#[test]
fn a_lease_file_that_can_not_be_read_is_in_nobody_elses_way() {
    for (runtime, view) in [(Runtime::Runc, View::Host), (Runtime::Crun, View::V2)] {
        let gate = Gate::new();
        let machine = Machine::with(&["1g.10gb"; 2]);
        let more = gate.hooks("createRuntime");
        let podman = machine.podman(runtime, view, &[more.path()]);
        let asks = "--annotation=mig.profile=1g.10gb";
        // One container that runs, and one between its reservation and its confirmation.
        let id = podman.sleeper(&[asks]);
        let mut command = podman.container("run");
        let mut waiting = start(
            command.args(["--rm", asks, "--annotation=gate=1", IMAGE, "true"]),
            None,
        );
        gate.await_reached();
        let broken = machine.ledger().join("leases").join(NAME);
        fs::write(&broken, "{\"version\":1,").expect("a broken lease file");
        gate.open();
        waiting.wait(DEADLINE).ok();
        let why = "EOF while parsing a value at line 1 column 13";
        refuses(&machine, ASKS, HOST, &unreadable(&broken, why));
        podman.call(&["stop", "--time=1", &id]).ok();
        assert_eq!(
            machine.leases(),
            1,
            "{runtime} {view}: only the broken one is left"
        );
        fs::remove_file(&broken).expect("a broken lease file");
        podman.run(&[asks], "true").ok();
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

/// Ten seconds, and then its holder's name. Everybody who changes the ledger waits, and who only looks does not.
#[test]
fn a_lock_that_somebody_keeps() {
    let machine = machine();
    let served = serves(&machine);
    let before = super::ledger(&machine);
    let lock = machine.hold_lock();
    let comm = fs::read_to_string("/proc/self/comm").expect("our own name");
    let line = format!(
        "ledger: no lock on {}/lock within 10s: process {} ({}) holds it; \
         look what that process does; if it is stuck, end it, and start the container again",
        machine.ledger().display(),
        std::process::id(),
        fs::read_to_string(format!("/proc/{}/comm", std::process::id()))
            .unwrap_or(comm)
            .trim_end(),
    );
    let lease = served["annotations"]["mig.lease"].as_str().expect("a lease");
    let ended = state(&[ASKS[0], ("mig.lease", lease)]);
    let mut calls = [("precreate", config(ASKS)), ("poststop", ended)]
        .map(|(stage, document)| start(&mut machine.program(stage), Some(&document.to_string())));
    machine.status();
    for call in &mut calls {
        let outcome = call.wait(DEADLINE);
        assert_says(&outcome, HOST, &line);
        assert!(outcome.took.as_secs() >= 10, "{outcome}");
    }
    drop(lock);
    assert!(super::ledger(&machine) == before, "the ledger has changed");
    serves(&machine);
}

/// A folder that another could write to would let him hand out devices.
#[test]
fn a_folder_that_is_not_roots_alone() {
    type Spoil = fn(&Path);
    let cases: [Spoil; 3] = [
        |path| fs::write(path, "").expect("a file"),
        |path| symlink("/var/tmp", path).expect("a link"),
        |path| {
            fs::create_dir(path).expect("a folder");
            chown(path, Some(1000), Some(1000)).expect("another's");
        },
    ];
    for spoil in cases {
        for of in [|dir: PathBuf| dir, |dir: PathBuf| dir.join("leases")] {
            let machine = Machine::named("one-gpu");
            let path = of(machine.ledger());
            if path != machine.ledger() {
                fs::create_dir(machine.ledger()).expect("a folder");
            }
            spoil(&path);
            let line = format!(
                "ledger: {} can't be trusted: it is not a folder, or not the caller's own; \
                 remove it, or name another folder with ledger.dir",
                path.display()
            );
            refuses(&machine, ASKS, HOST, &line);
        }
    }
    // One that is root's and open to others is closed to them.
    let machine = machine();
    fs::set_permissions(machine.ledger(), Permissions::from_mode(0o777)).expect("a mode");
    serves(&machine);
    assert_eq!(
        fs::metadata(machine.ledger()).expect("the folder").mode() & 0o7777,
        0o700
    );
}

#[test]
fn a_folder_in_a_folder_that_is_not_there() {
    let machine = Machine::named("one-gpu");
    let text = fs::read_to_string(machine.config()).expect("config.toml");
    let run = machine.ledger().display().to_string();
    let nowhere = format!("{run}/no/such");
    fs::write(machine.config(), text.replace(&run, &nowhere)).expect("config.toml");
    let line = format!(
        "ledger: can't make {nowhere}: No such file or directory (os error 2); look at that path; ledger.dir names the folder"
    );
    refuses(&machine, ASKS, HOST, &line);
}
