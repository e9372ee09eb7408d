//! What can go wrong, told in one clear line with the right exit code, and nothing lost by it: no device is held
//! that nobody has, and none that somebody has is given away.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::gate::Gate;
use crate::support::machine::{Machine, PROGRAM};
use crate::support::podman::IMAGE;
use crate::support::process::{DEADLINE, Outcome, run, start};
use crate::support::runtime::{Engine, Runtime, everywhere};
use crate::support::scratch::{self, Scratch};

type Annotations<'a> = &'a [(&'a str, &'a str)];

/// A config as Podman gives it to precreate, with these annotations.
fn config(annotations: Annotations) -> String {
    let id = format!("{:064x}", 0xc0ffee_u64 + u64::from(scratch::number()));
    let bundle = annotations.iter().fold(Bundle::new(), |bundle, (key, value)| {
        bundle.annotation(key, value)
    });
    let bundle =
        bundle.with(|config| config["linux"]["cgroupsPath"] = format!("/libpod_parent/libpod-{id}").into());
    bundle.config.to_string()
}

/// A hook's failure as it must be: its exit code, nothing for the engine to go on with, and one line with `words`.
#[track_caller]
fn assert_says(outcome: &Outcome, code: i32, words: &[&str]) {
    assert_eq!(outcome.code(), code, "{outcome}");
    assert_eq!(outcome.stdout, "", "{outcome}");
    let lines: Vec<_> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "one line: {outcome}");
    assert!(lines[0].starts_with("oci-mig-hook: "), "{outcome}");
    for word in words {
        assert!(lines[0].contains(word), "no '{word}' in: {outcome}");
    }
}

/// precreate fails so, and nothing is held afterwards.
#[track_caller]
fn refuses(machine: &Machine, annotations: Annotations, code: i32, words: &[&str]) {
    assert_says(&machine.stage("precreate", &config(annotations)), code, words);
    assert_eq!(machine.leases(), 0, "{annotations:?}");
}

#[test]
fn bad_annotations() {
    let machine = Machine::named("one-gpu");
    let cases: [(Annotations, &[&str]); 9] = [
        (&[("mig.profile", "large")], &["mig.profile", "=large", "1g.10gb"]),
        (&[("mig.profil", "1g.10gb")], &["mig.profil", "mig.profile"]),
        (
            &[("mig.memory", "10 potatoes")],
            &["mig.memory", "10 potatoes", "GB"],
        ),
        (
            &[("mig.count", "0"), ("mig.profile", "1g.10gb")],
            &["mig.count", "=0", "64"],
        ),
        (
            &[("mig.profile", "1g.10gb"), ("mig.memory", "10GB")],
            &["mig.profile", "mig.memory"],
        ),
        (&[("mig.device", "MIG-1"), ("mig.count", "2")], &["mig.device"]),
        (
            &[("mig.lease", "00000000000000000000000000000000")],
            &["mig.lease"],
        ),
        (
            &[("mig.profile", "1g.10gb"), ("mig.wait", "soon")],
            &["mig.wait", "=soon", "30s"],
        ),
        (&[("mig.profile/web", "1g.10gb")], &["mig.profile/web"]),
    ];
    for (annotations, words) in cases {
        refuses(&machine, annotations, 2, words);
    }
}

#[test]
fn all_held_no_such_profile_and_constraints() {
    let machine = Machine::named("one-gpu");
    refuses(
        &machine,
        &[("mig.profile", "9g.90gb")],
        1,
        &["9g.90gb", "1g.10gb", "2g.20gb", "3g.40gb"],
    );
    refuses(&machine, &[("mig.memory", "70GB")], 1, &["70", "3g.40gb"]);
    refuses(
        &machine,
        &[
            ("mig.profile", "1g.10gb"),
            ("mig.gpu", "GPU-00000000-0000-0000-0000-000000000000"),
        ],
        1,
        &["GPU-0000"],
    );
    refuses(
        &machine,
        &[("mig.profile", "1g.10gb"), ("mig.count", "9")],
        1,
        &["limits.devices", "8"],
    );
    // The first reservation's owner is this test's process: it lives.
    machine
        .stage("precreate", &config(&[("mig.profile", "1g.10gb")]))
        .ok();
    let outcome = machine.stage("precreate", &config(&[("mig.profile", "1g.10gb")]));
    assert_says(
        &outcome,
        1,
        &[
            "no free 1g.10gb",
            "1 of 1 held",
            "000000000000",
            "oci-mig-hook status",
        ],
    );
    assert_eq!(machine.leases(), 1);
}

#[test]
fn privileged_on_the_runtimes() {
    for (runtime, view) in everywhere() {
        let machine = Machine::with(&["1g.10gb"]);
        let engine = Engine::new(runtime, view);
        let bundle = machine
            .bundle()
            .annotation("mig.profile", "1g.10gb")
            .privileged()
            .script("ls /dev/nvidia-caps")
            .write();
        let outcome = engine.run(&bundle).failed();
        if runtime == Runtime::Runc {
            assert!(outcome.stderr.contains("can't be isolated"), "{view}: {outcome}");
        }
        machine.assert_free(&format!("{runtime} {view}"));
        machine.configure("allow_privileged", "true");
        assert_eq!(
            engine.run(&bundle).ok().stdout.lines().count(),
            2,
            "{runtime} {view}"
        );
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

#[test]
fn privileged_on_podman() {
    for (runtime, view) in [(Runtime::Runc, View::Host), (Runtime::Crun, View::V2)] {
        let machine = Machine::with(&["1g.10gb"]);
        let podman = machine.podman(runtime, view, &[]);
        let options = ["--privileged", "--annotation=mig.profile=1g.10gb"];
        let outcome = podman.run(&options, "true").failed();
        assert!(
            outcome.stderr.contains("exit status 1"),
            "{runtime} {view}: {outcome}"
        );
        machine.assert_free(&format!("{runtime} {view}"));
        machine.configure("allow_privileged", "true");
        podman.run(&options, "[ -c /dev/nvidiactl ]").ok();
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

#[test]
fn absent_driver() {
    let machine = Machine::named("one-gpu");
    fs::remove_dir_all(machine.proc().join("driver")).expect("no driver");
    refuses(&machine, &[("mig.profile", "1g.10gb")], 3, &["driver"]);
}

#[test]
fn absent_nvml() {
    let machine = Machine::named("one-gpu");
    fs::remove_file(machine.library()).expect("no library");
    refuses(&machine, &[("mig.profile", "1g.10gb")], 3, &["libnvidia-ml.so.1"]);
}

#[test]
fn mig_off() {
    let machine = Machine::named("mig-off");
    refuses(&machine, &[("mig.profile", "1g.10gb")], 1, &["MIG", "nvidia-smi"]);
}

/// The child that asks NVML is not left behind, and the engine does not wait for longer than the deadline.
#[test]
fn hung_nvml() {
    for function in ["nvmlInitWithFlags", "nvmlDeviceGetMigDeviceHandleByIndex"] {
        let machine = Machine::named("one-gpu");
        machine.configure("nvml.deadline", "\"1s\"");
        machine.set(&[&format!("hang={function}")]).expect("a fault");
        let started = Instant::now();
        refuses(&machine, &[("mig.profile", "1g.10gb")], 3, &["NVML", "1s"]);
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{function}: {:?}",
            started.elapsed()
        );
        let library = machine.library();
        let library = library.to_str().expect("a path of ours");
        let left = run(Command::new("grep")
            .args(["-l", "-a", "-r", "--include=cmdline", "-s", library])
            .args(processes()));
        assert_eq!(left.stdout, "", "{function}: the child lives on");
        machine.set(&["hang="]).expect("no fault");
        machine
            .stage("precreate", &config(&[("mig.profile", "1g.10gb")]))
            .ok();
    }
}

/// The command lines of the program under test's own processes: grep's would name the library too.
fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .map(|entry| entry.path());
    let ours =
        entries.filter(|path| fs::read_link(path.join("exe")).is_ok_and(|exe| exe.as_os_str() == PROGRAM));
    let mut lines: Vec<_> = ours
        .map(|path| path.join("cmdline").display().to_string())
        .collect();
    lines.push("/dev/null".to_owned());
    lines
}

/// Eight GPUs that each need three seconds to wake up are slow, not hung.
#[test]
fn a_slow_but_healthy_node() {
    let machine = Machine::named("hgx-h100");
    machine.set(&["first_touch_ms=3000"]).expect("a fault");
    let mut command = machine.program("precreate");
    let mut running = start(&mut command, Some(&config(&[("mig.profile", "1g.10gb")])));
    let outcome = running.wait(DEADLINE).ok();
    assert!(
        outcome.took > Duration::from_secs(20),
        "the node was not slow: {:?}",
        outcome.took
    );
    assert!(outcome.stdout.contains("NVIDIA_VISIBLE_DEVICES=MIG-"));
    assert_eq!(machine.leases(), 1);
}

/// Runs a script as root of a mount namespace in which the ledger's folder is a small file system of its own.
/// `$hook` is the program, `$1` its config file, `$2` the ledger, `$3` and `$4` two containers' configs.
fn with_small_ledger(machine: &Machine, script: &str) -> Outcome {
    let folder = Scratch::new("configs");
    let configs =
        [1, 2].map(|number| folder.file(&format!("{number}.json"), &config(&[("mig.profile", "1g.10gb")])));
    fs::create_dir_all(machine.ledger()).expect("a folder");
    let script =
        format!("mount -t tmpfs -o size=64k,mode=700 none \"$2\" || exit 90\nhook={PROGRAM}\n{script}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    run(command.arg(machine.config()).arg(machine.ledger()).args(&configs))
}

#[test]
fn full_run() {
    let machine = Machine::with(&["1g.10gb"; 2]);
    let outcome = with_small_ledger(
        &machine,
        r#"
        $hook precreate --config "$1" <"$3" >/dev/null || exit 91
        cat /dev/zero >"$2/filler" 2>/dev/null
        $hook precreate --config "$1" <"$4"
        code=$?
        [ "$(ls "$2/leases" | wc -l)" = 1 ] || exit 92
        $hook status --config "$1" --json | grep -q '"pending"' || exit 93
        rm "$2/filler"
        $hook precreate --config "$1" <"$4" >/dev/null || exit 94
        exit $code"#,
    );
    assert_says(&outcome, 3, &["ledger", "No space left", "leases"]);
}

#[test]
fn read_only_run() {
    let machine = Machine::with(&["1g.10gb"; 2]);
    let outcome = with_small_ledger(
        &machine,
        r#"
        $hook precreate --config "$1" <"$3" >/dev/null || exit 91
        mount -o remount,ro "$2" || exit 92
        $hook precreate --config "$1" <"$4"
        code=$?
        $hook status --config "$1" --json | grep -q '"pending"' || exit 93
        exit $code"#,
    );
    assert_says(&outcome, 3, &["ledger", "Read-only file system"]);
}

/// Which devices it holds is unknown: nothing is handed out; what others hold is still confirmed and given back.
#[test]
fn an_unreadable_lease_file() {
    for (runtime, view) in [(Runtime::Runc, View::Host), (Runtime::Crun, View::V2)] {
        let gate = Gate::new();
        let machine = Machine::with(&["1g.10gb"; 2]);
        let more = gate.hooks("createRuntime");
        let podman = machine.podman(runtime, view, &[more.path()]);
        let annotation = "--annotation=mig.profile=1g.10gb";
        // One container that runs, and one between its reservation and its confirmation.
        let id = podman.sleeper(&[annotation]);
        let mut run = podman.container("run");
        let mut waiting = start(
            run.args(["--rm", annotation, "--annotation=gate=1", IMAGE, "true"]),
            None,
        );
        gate.await_reached();
        let broken = machine
            .ledger()
            .join("leases")
            .join("00000000000000000000000000000000.json");
        fs::write(&broken, "{\"version\":1,").expect("a broken lease file");
        gate.open();
        waiting.wait(DEADLINE).ok();
        let outcome = machine.stage("precreate", &config(&[("mig.profile", "1g.10gb")]));
        assert_says(&outcome, 3, &["00000000000000000000000000000000.json", "unknown"]);
        podman.call(&["stop", "--time=1", &id]).ok();
        assert_eq!(
            machine.leases(),
            1,
            "{runtime} {view}: only the broken one is left"
        );
        fs::remove_file(&broken).expect("a broken lease file");
        podman.run(&[annotation], "true").ok();
        machine.assert_free(&format!("{runtime} {view}"));
    }
}
