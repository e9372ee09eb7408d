//! A process that hangs in the driver and can't be ended by anyone, not even by SIGKILL: no runtime and no engine waits
//! for it, whoever's child it becomes.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::frozen::Frozen;
use crate::support::machine::Machine;
use crate::support::podman::{IMAGE, Podman};
use crate::support::process::{DEADLINE, Outcome, Running, kill_with, run, start, until};
use crate::support::runtime::{Engine, everywhere};

/// Begins `command`, whose container asks for a device, lets NVML answer it, and sees to it that the process that has
/// asked NVML never ends; then waits for the command. `asker` is the process that reads the answer.
fn with_a_stuck_child(machine: &Machine, command: &mut Command, asker: impl Fn(&Running) -> i32) -> Outcome {
    machine.start_trace().expect("a trace");
    machine
        .set(&["hang=nvmlDeviceGetHandleByIndex"])
        .expect("a fault");
    let mut running = start(command, None);
    let child = machine.await_asking_alone();
    let asker = asker(&running);
    // It must not read the answer before the child is beyond saving.
    kill_with(asker, Signal::SIGSTOP);
    machine.set(&["hang=", "hang=exit"]).expect("another fault");
    until("the end of NVML's last call", || {
        let trace = machine.trace().expect("a trace");
        trace.iter().any(|line| line.function == "exit")
    });
    let frozen = Frozen::new(child);
    machine.set(&["hang="]).expect("no fault");
    kill_with(asker, Signal::SIGCONT);
    let outcome = running.wait(DEADLINE);
    assert!(frozen.is_alive(), "nobody waited for it, and it still hangs");
    outcome
}

/// A bundle that asks, and has no hooks.
fn asking(script: &str) -> Bundle {
    Bundle::new().annotation("mig.profile", "1g.10gb").script(script)
}

/// A machine whose inventory is remembered: NVML is asked once.
fn machine() -> Machine {
    let machine = Machine::with(&["1g.10gb"]);
    run(&mut machine.program("refresh")).ok();
    // What it asked NVML with ends by itself.
    until("the end of what asked NVML", || machine.asking_nvml().is_empty());
    machine
}

/// In the foreground runtimes wait for their children, crun for all that it has.
#[test]
fn a_runtime_in_the_foreground_behind_ours() {
    if !View::V1.is_offered() {
        return;
    }
    for (runtime, view) in everywhere() {
        let machine = machine();
        let engine = Engine::new(runtime, view).interposed(&machine);
        let bundle = asking("echo ran").write();
        let container = engine.container(&bundle);
        let mut command = container.command("run");
        command.arg("--bundle").arg(bundle.folder()).arg(container.id());
        // It becomes the runtime: one process all the time.
        let outcome = with_a_stuck_child(&machine, &mut command, Running::pid).ok();
        assert_eq!(outcome.stdout, "ran\n", "{runtime} {view}: {outcome}");
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

#[test]
fn podman_with_the_precreate_hook() {
    if !View::V1.is_offered() {
        return;
    }
    for (runtime, view) in everywhere() {
        let machine = machine();
        let podman = machine.podman(runtime, view, &[]);
        let mut command = podman.container("run");
        command.args(["--rm", "--annotation", "mig.profile=1g.10gb"]);
        command.args([IMAGE, "true"]);
        with_a_stuck_child(&machine, &mut command, |_| machine.await_stage("precreate")).ok();
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

/// Podman waits for its container by conmon, which takes in what the hook leaves behind.
#[test]
fn podman_with_our_runtime() {
    if !View::V1.is_offered() {
        return;
    }
    for (runtime, view) in everywhere() {
        let machine = machine();
        let podman = Podman::new(runtime, view, &[]).interposed(&machine);
        let mut command = podman.container("run");
        command.args(["--rm", "--annotation", "mig.profile=1g.10gb"]);
        command.args([IMAGE, "true"]);
        let asker = |_: &Running| podman.runtime_at_work();
        with_a_stuck_child(&machine, &mut command, asker).ok();
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

/// The hook is the runtime's child, and so is what it leaves behind.
#[test]
fn a_runtime_with_the_create_runtime_hook() {
    if !View::V1.is_offered() {
        return;
    }
    for (runtime, view) in everywhere() {
        let machine = machine();
        let engine = Engine::new(runtime, view);
        let bundle = machine
            .bundle()
            .annotation("mig.profile", "1g.10gb")
            .script("true")
            .write();
        let container = engine.container(&bundle);
        let mut command = container.command("create");
        command.arg("--bundle").arg(bundle.folder()).arg(container.id());
        let asker = |_: &Running| machine.await_stage("createRuntime");
        with_a_stuck_child(&machine, &mut command, asker).ok();
        container.start().ok();
        until("the container's end", || container.status() == "stopped");
        container.delete(false).ok();
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

/// And where NVML doesn't answer: the deadline holds, the reason is told, nothing stays reserved, and the lock is free.
#[test]
fn a_call_that_never_comes_back() {
    if !View::V1.is_offered() {
        return;
    }
    for (runtime, view) in everywhere() {
        let machine = Machine::named("hgx-h100");
        machine.configure("nvml.deadline", "\"3s\"");
        machine.start_trace().expect("a trace");
        machine.set(&["hang=nvmlDeviceGetMigMode@0"]).expect("a fault");
        let engine = Engine::new(runtime, view).interposed(&machine);
        let bundle = asking("true").write();
        let container = engine.container(&bundle);
        let mut command = container.command("run");
        command.arg("--bundle").arg(bundle.folder()).arg(container.id());
        let mut running = start(&mut command, None);
        until("the call that hangs", || {
            let trace = machine.trace().expect("a trace");
            trace.iter().any(|line| line.code.is_none())
        });
        // As long as it takes it to say so.
        std::thread::sleep(Duration::from_millis(800));
        let frozen = Frozen::new(machine.await_asking_alone());
        let outcome = running.wait(DEADLINE).failed();
        let line = "NVML hangs: no answer to nvmlDeviceGetMigMode for GPU 0 within 3s, so GPU 0 is left alone for 5m; ";
        assert!(outcome.stderr.contains(line), "{runtime} {view}: {outcome}");
        assert_eq!(machine.leases(), 0);
        // The next one gets a device of another GPU, while the first still hangs.
        engine.run(&bundle).ok();
        assert!(frozen.is_alive());
    }
}
