//! The ledger and its transaction, on a real folder and real processes. Only the GPUs are made up.

mod liveness;
mod node;
mod queue;
mod records;
mod remembered;
mod seal;
mod transaction;
mod whole;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use node::{Scratch, lease};
use oci_mig_hook::lease::{LeaseState, Ledger};

fn only_file(scratch: &Scratch) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(scratch.path().join("leases"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[test]
fn the_folder_is_made_for_its_owner_alone() {
    let scratch = Scratch::new();
    let dir = scratch.path().join("new");
    Ledger::open(&dir).unwrap();
    for folder in [dir.clone(), dir.join("leases"), dir.join("devices")] {
        assert_eq!(
            fs::metadata(&folder).unwrap().permissions().mode() & 0o7777,
            0o700
        );
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    Ledger::open(&dir).unwrap();
    assert_eq!(
        fs::metadata(&dir).unwrap().permissions().mode() & 0o7777,
        0o700,
        "opened to others, closed again"
    );
}

#[test]
fn a_folder_that_is_not_ours_is_not_trusted() {
    let scratch = Scratch::new();
    let (link, real) = (scratch.path().join("link"), scratch.path().join("real"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let failure = Ledger::open(&link).unwrap_err();
    assert!(failure.to_string().contains("can't be trusted"), "{failure}");
    assert_eq!(failure.exit() as i32, 3);
    assert_eq!(
        fs::read_dir(&real).unwrap().count(),
        0,
        "nothing was made behind the link"
    );

    let theirs = scratch.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(1234), Some(1234)).unwrap();
    assert!(
        Ledger::open(&theirs)
            .unwrap_err()
            .to_string()
            .contains("can't be trusted")
    );
}

#[test]
fn a_lease_is_read_back_as_it_was_written() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let written = lease("c1", LeaseState::Held);
    ledger.lock().unwrap().put(&written).unwrap();
    assert_eq!(ledger.get(&written.id).unwrap().as_ref(), Some(&written));
    assert_eq!(ledger.contents().unwrap().leases, std::slice::from_ref(&written));
    let file = only_file(&scratch);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(fs::read_to_string(file).unwrap().starts_with("{\"version\":2,"));
    let mut locked = ledger.lock().unwrap();
    locked.remove(&written).unwrap();
    locked.remove(&written).unwrap();
    assert_eq!(ledger.contents().unwrap().leases, []);
}

/// There is one unfinished file, and the next writer overwrites it. An earlier version had one for each lease.
#[test]
fn a_write_that_was_cut_short_is_no_lease_and_in_nobodys_way() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let unfinished = scratch.path().join("unfinished");
    fs::write(&unfinished, "{\"version\":2,".repeat(1000)).unwrap();
    fs::write(scratch.path().join("leases/.0f0f.new"), "{\"version\":1,").unwrap();
    let contents = ledger.contents().unwrap();
    assert!(contents.leases.is_empty() && contents.unreadable.is_empty());
    let written = lease("c1", LeaseState::Held);
    ledger.lock().unwrap().put(&written).unwrap();
    assert_eq!(ledger.contents().unwrap().leases, [written]);
    assert!(!unfinished.exists());
}

#[test]
fn what_is_no_lease_is_told_apart_and_named() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let good = lease("c1", LeaseState::Held);
    ledger.lock().unwrap().put(&good).unwrap();
    let folder = scratch.path().join("leases");
    fs::write(folder.join("cut.json"), "{\"version\":1,\"id\":").unwrap();
    fs::write(folder.join("newer.json"), "{\"version\":4,\"whatever\":true}").unwrap();
    fs::copy(folder.join(format!("{}.json", good.id)), folder.join("copy.json")).unwrap();
    symlink("/etc/passwd", folder.join("link.json")).unwrap();
    nix::unistd::mkfifo(&folder.join("fifo.json"), nix::sys::stat::Mode::S_IRUSR).unwrap();

    let contents = ledger.contents().unwrap();
    assert_eq!(contents.leases, [good]);
    let why = |name: &str| {
        let found = contents.unreadable.iter().find(|file| file.path.ends_with(name));
        found
            .unwrap_or_else(|| panic!("{name} is not told apart: {contents:?}"))
            .why
            .clone()
    };
    assert!(why("cut.json").contains("EOF"));
    assert_eq!(
        why("newer.json"),
        "its version is 4, and this program knows versions up to 3"
    );
    assert!(why("copy.json").starts_with("it should be named "));
    assert!(why("link.json").contains("symbolic link"), "{}", why("link.json"));
    assert!(why("fifo.json").contains("EOF"));
}

#[test]
fn the_locks_holder_is_named_when_it_does_not_let_go() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    drop(ledger.lock().unwrap());
    let lock = scratch.path().join("lock");
    let mut holder = Command::new("flock")
        .args([lock.to_str().unwrap(), "-c", "echo held; read _"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut word = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut word).unwrap();

    let failure = ledger.lock().unwrap_err();
    let expected = format!(
        "ledger: no lock on {} within 10s: process {} (flock) holds it; ",
        lock.display(),
        holder.id()
    );
    assert!(failure.to_string().starts_with(&expected), "{failure}");
    assert_eq!(failure.exit() as i32, 3);

    drop(holder.stdin.take());
    holder.wait().unwrap();
    ledger.lock().unwrap();
}

#[test]
fn a_lock_file_that_was_replaced_is_locked_anew() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let first = ledger.lock().unwrap();
    fs::remove_file(scratch.path().join("lock")).unwrap();
    // The file that `first` holds has lost its name: who comes now must lock the one that has it.
    let second = ledger.lock().unwrap();
    drop(first);
    let path: &Path = &scratch.path().join("lock");
    let other = Command::new("flock")
        .args(["--nonblock", path.to_str().unwrap(), "true"])
        .status()
        .unwrap();
    assert!(!other.success(), "the named file must be the locked one");
    drop(second);
}
