//! /run is full or read-only, or the engine's pipe is: nothing is half written, and what stood there still stands.

use std::fs;
use std::process::{Command, Stdio};

use super::{ASKS, HOST, assert_says, config};
use crate::support::machine::{Machine, PROGRAM};
use crate::support::process::{Outcome, run};
use crate::support::scratch::Scratch;

/// Runs a script in a mount namespace of its own where the ledger's folder is a file system of these options. `$1`
/// is the ledger, `$2` and `$3` are two containers' configs, `hook` is the program with its configuration.
fn with_ledger(machine: &Machine, options: &str, script: &str) -> Outcome {
    let folder = Scratch::new("configs");
    let configs = [1, 2].map(|number| folder.file(&format!("{number}.json"), &config(ASKS).to_string()));
    fs::create_dir_all(machine.ledger()).expect("a folder");
    let script = format!(
        "mount -t tmpfs -o {options},mode=700 none \"$1\" || exit 90\n\
         hook() {{ name=$1; shift; {PROGRAM} \"$name\" --config {} \"$@\"; }}\n\
         leases() {{ ls -A \"$ledger/leases\" 2>/dev/null | wc -l; }}\n\
         expect() {{ [ \"$1\" = \"$2\" ] || {{ echo \"$3: $1, not $2\" >&2; exit 91; }}; }}\n\
         ledger=$1\n{script}",
        machine.config().display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    run(command.arg(machine.ledger()).args(&configs))
}

/// That a device's record could not be written: a lease's records are written first.
fn no_space_left(machine: &Machine, outcome: &Outcome) -> String {
    let folder = format!("{}/devices/", machine.ledger().display());
    let after = outcome.stderr.split_once(&folder).map(|(_, after)| after);
    let device = after
        .and_then(|after| after.split_once(':'))
        .map(|(device, _)| device);
    format!(
        "ledger: can't write {folder}{}: No space left on device (os error 28); \
         free some space there, and start the container again",
        device.unwrap_or("<a device>"),
    )
}

#[test]
fn no_space_for_a_lease() {
    let machine = Machine::with(&["1g.10gb"; 2]);
    let outcome = with_ledger(
        &machine,
        "size=64k",
        r#"
        hook precreate <"$2" >/dev/null || exit 92
        cat /dev/zero >"$1/filler" 2>/dev/null
        hook precreate <"$3"
        code=$?
        expect "$(leases)" 1 "leases"
        hook status --json | grep -q '"pending"' || exit 93
        rm "$1/filler"
        hook precreate <"$3" >/dev/null || exit 94
        expect "$(leases)" 2 "leases"
        exit $code"#,
    );
    assert_says(&outcome, HOST, &no_space_left(&machine, &outcome));
}

/// A confirmation needs as much as a reservation; a release needs nothing.
#[test]
fn no_space_to_confirm_with_and_release_all_the_same() {
    let machine = Machine::with(&["1g.10gb"; 2]);
    // What stands for the container's process here has no control group of its own.
    machine.configure("allow_privileged", "true");
    let outcome = with_ledger(
        &machine,
        "size=64k",
        r#"
        hook precreate <"$2" >"$1/../edited" || exit 92
        sleep 100 & process=$!
        field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$ledger/../edited"; }
        id=$(field cgroupsPath) lease=$(field mig.lease)
        state="{\"ociVersion\":\"1.0.2\",\"id\":\"${id##*libpod-}\",\"status\":\"creating\",\"pid\":$process,
                \"bundle\":\"/b\",\"annotations\":{\"mig.profile\":\"1g.10gb\",\"mig.lease\":\"$lease\"}}"
        device=$(grep -o 'MIG-[0-9a-f-]*' "$1/../edited" | head -n1)
        cat /dev/zero >"$1/filler" 2>/dev/null
        before=$(cat "$1"/leases/*)
        echo "$state" | hook createRuntime --devices "$device"
        code=$?
        expect "$(cat "$1"/leases/*)" "$before" "the lease"
        kill $process
        echo "$state" | hook poststop || exit 95
        expect "$(leases)" 0 "leases"
        exit $code"#,
    );
    assert_says(&outcome, HOST, &no_space_left(&machine, &outcome));
}

/// A file system can be out of inodes too: then not even the folder can be made.
#[test]
fn no_space_for_the_folder() {
    let machine = Machine::with(&["1g.10gb"]);
    let outcome = with_ledger(&machine, "nr_inodes=1", "hook precreate <\"$2\"");
    let line = format!(
        "ledger: can't make {}/leases: No space left on device (os error 28); \
         free some space there, and start the container again",
        machine.ledger().display()
    );
    assert_says(&outcome, HOST, &line);
}

#[test]
fn read_only_before_the_first_lease() {
    let machine = Machine::with(&["1g.10gb"]);
    let outcome = with_ledger(&machine, "ro", "hook precreate <\"$2\"");
    let line = format!(
        "ledger: can't make {}/leases: Read-only file system (os error 30); \
         make it writable, or name another folder with ledger.dir",
        machine.ledger().display()
    );
    assert_says(&outcome, HOST, &line);
}

#[test]
fn read_only_afterwards() {
    let machine = Machine::with(&["1g.10gb"; 2]);
    let outcome = with_ledger(
        &machine,
        "size=64k",
        r#"
        hook precreate <"$2" >/dev/null || exit 92
        mount -o remount,ro "$1" || exit 93
        hook precreate <"$3"
        code=$?
        hook status --json | grep -q '"pending"' || exit 94
        mount -o remount,rw "$1" || exit 95
        hook precreate <"$3" >/dev/null || exit 96
        expect "$(leases)" 2 "leases"
        exit $code"#,
    );
    let line = format!(
        "ledger: can't lock {}/lock: Read-only file system (os error 30); \
         make it writable, or name another folder with ledger.dir",
        machine.ledger().display()
    );
    assert_says(&outcome, HOST, &line);
}

/// The engine never gets the edited config: what was reserved for it goes back.
#[test]
fn no_space_for_the_answer() {
    let machine = Machine::named("one-gpu");
    let folder = Scratch::new("configs");
    let path = folder.file("config.json", &config(ASKS).to_string());
    let mut command = machine.program("precreate");
    command.stdin(fs::File::open(path).expect("a file of ours"));
    command.stdout(
        fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full"),
    );
    let output = command
        .stderr(Stdio::piped())
        .output()
        .expect("the program under test");
    let line = "oci-mig-hook: can't write config.json to standard output: No space left on device (os error 28); \
                look at the engine that called this hook: it does not take the answer\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), line);
    assert_eq!(output.status.code(), Some(HOST));
    assert_eq!(machine.leases(), 0);
}
