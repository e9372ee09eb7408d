//! NVML takes its time. A call that never comes back is not waited for; a node that wakes up slowly is.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{ASKS, HOST, config, refuses, serves, state};
use crate::support::machine::{Machine, PROGRAM};
use crate::support::process::{Outcome, is_alive, kill, kill_with, run, run_with, until};
use crate::support::runtime::{Engine, Runtime};

const REMEDY: &str = "'nvidia-smi' shows the same and 'dmesg' why; a GPU without persistence mode \
                      ('nvidia-smi -pm 1') starts slowly: raise nvml.deadline for it";

/// A node of that name whose NVML gets a second for each call.
fn impatient(name: &str) -> Machine {
    let machine = Machine::named(name);
    machine.configure("nvml.deadline", "\"1s\"");
    machine
}

#[test]
fn a_call_that_hangs_is_named_with_its_gpu() {
    for (fault, call, gpu) in [
        ("nvmlInitWithFlags", "nvmlInit", None),
        ("nvmlDeviceGetCount", "nvmlDeviceGetCount", None),
        ("nvmlDeviceGetMigMode", "nvmlDeviceGetMigMode", Some(0)),
        (
            "nvmlDeviceGetMigDeviceHandleByIndex",
            "nvmlDeviceGetMigDeviceHandleByIndex",
            Some(5),
        ),
    ] {
        let machine = impatient("hgx-h100");
        let on = gpu.map(|gpu| format!("@{gpu}")).unwrap_or_default();
        machine.set(&[&format!("hang={fault}{on}")]).expect("a fault");
        let started = Instant::now();
        let about = gpu.map(|gpu| format!(" for GPU {gpu}")).unwrap_or_default();
        let left_alone = gpu.map(|gpu| format!(", so GPU {gpu} is left alone for 5m"));
        let left_alone = left_alone.unwrap_or_default();
        let line = format!("NVML hangs: no answer to {call}{about} within 1s{left_alone}; {REMEDY}");
        refuses(&machine, ASKS, HOST, &line);
        let took = started.elapsed();
        assert!(
            took > Duration::from_secs(1) && took < Duration::from_secs(10),
            "{call}: {took:?}"
        );
        until("the child's end", || machine.asking_nvml().is_empty());
        machine.set(&["hang="]).expect("no fault");
        serves(&machine);
    }
}

/// Where the node is known, only the chosen device's GPU is asked. The next container gets one of another GPU, and nobody
/// has to look at the whole node for that.
#[test]
fn a_check_that_hangs() {
    let machine = impatient("hgx-h100");
    run(&mut machine.program("refresh")).ok();
    machine
        .set(&["hang=nvmlGpuInstanceGetComputeInstanceById@0"])
        .expect("a fault");
    let line = format!(
        "NVML hangs: no answer to nvmlGpuInstanceGetComputeInstanceById for GPU 0 within 1s, so GPU 0 is left alone for \
         5m; {REMEDY}"
    );
    refuses(&machine, ASKS, HOST, &line);
    machine.start_trace().expect("a trace");
    serves(&machine);
    let trace = machine.trace().expect("a trace");
    let gpus: BTreeSet<u32> = trace.iter().filter_map(|line| line.gpu).collect();
    assert_eq!(gpus, BTreeSet::from([1]), "{trace:?}");
    // What it can't have elsewhere it is refused, with the reason.
    let gpu = &machine.state().expect("the node").gpus[0].uuid;
    let outcome = run_with(
        &mut machine.program("precreate"),
        &config(&[("mig.profile", "1g.10gb"), ("mig.gpu", gpu)]).to_string(),
    );
    let reason = "GPU 0 (the driver hung at nvmlGpuInstanceGetComputeInstanceById ";
    assert!(outcome.stderr.contains(reason), "{outcome}");
}

/// What is longer than the deadline is a hang, also where it would have ended some day.
#[test]
fn an_init_that_takes_longer_than_the_deadline() {
    let machine = impatient("one-gpu");
    machine.set(&["init_ms=3000"]).expect("a fault");
    let line = format!("NVML hangs: no answer to nvmlInit within 1s; {REMEDY}");
    refuses(&machine, ASKS, HOST, &line);
    let text = fs::read_to_string(machine.config()).expect("config.toml");
    fs::write(
        machine.config(),
        text.replace("deadline = \"1s\"", "deadline = \"6s\""),
    )
    .expect("config.toml");
    serves(&machine);
}

#[test]
fn a_live_container_is_not_kept_waiting_either() {
    let machine = impatient("one-gpu");
    machine.set(&["hang=nvmlDeviceGetUUID"]).expect("a fault");
    let view = Runtime::Runc.views()[0];
    let bundle = machine.bundle().annotation("mig.profile", "1g.10gb").write();
    let outcome = Engine::new(Runtime::Runc, view).run(&bundle).failed();
    let line = "oci-mig-hook: NVML hangs: no answer to nvmlDeviceGetUUID for GPU 0 within 1s, so GPU 0 is left alone";
    assert!(outcome.stderr.contains(line), "{outcome}");
    assert_eq!(machine.leases(), 0);
}

/// A child that hangs in the driver can't be ended by anyone. Whatever it has open stays open: so it has nothing of the
/// engine's, and the lock neither.
#[test]
fn what_hangs_has_nothing_of_the_engines_open() {
    let machine = Machine::named("one-gpu");
    machine.set(&["hang=nvmlInitWithFlags"]).expect("a fault");
    let mut command = Command::new(PROGRAM);
    command.args(["precreate", "--config"]).arg(machine.config());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut hook = command.spawn().expect("the program under test");
    let mut input = hook.stdin.take().expect("a pipe");
    input
        .write_all(config(ASKS).to_string().as_bytes())
        .expect("its document");
    drop(input);
    let child = machine.await_asking_alone();
    // As if it hung in the driver: it does nothing more, not even end itself.
    kill_with(child, Signal::SIGSTOP);

    // Others can give back what they hold meanwhile.
    let ended = state(&[("mig.profile", "1g.10gb")]).to_string();
    run_with(&mut machine.program("poststop"), &ended).ok();
    assert!(
        hook.try_wait().expect("a child").is_none(),
        "it still waits for the driver"
    );

    let (mut stdout, mut stderr) = (
        hook.stdout.take().expect("a pipe"),
        hook.stderr.take().expect("a pipe"),
    );
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let read = stdout
            .read_to_end(&mut said)
            .and_then(|_| stderr.read_to_end(&mut said));
        let _ = done.send(read.map(|_| said));
    });
    kill(hook.id() as i32);
    hook.wait().expect("its end");
    let said = wait
        .recv_timeout(Duration::from_secs(10))
        .expect("the end of the engine's pipes");
    assert_eq!(said.expect("pipes"), b"");
    assert!(is_alive(child), "it hangs and keeps nothing open");
    // Nobody reads its answer any more: it ends itself, though the call still hangs.
    kill_with(child, Signal::SIGCONT);
    until("the child's end", || !is_alive(child));
    assert_eq!(machine.leases(), 0);
}

/// A node with eight GPUs without persistence mode, each of which takes that long to wake up.
fn slow(machine: &Machine, milliseconds: u64) -> Outcome {
    machine
        .set(&[&format!("first_touch_ms={milliseconds}")])
        .expect("a fault");
    let outcome = run_with(&mut machine.program("precreate"), &config(ASKS).to_string()).ok();
    let at_least = Duration::from_millis(8 * milliseconds);
    assert!(outcome.took > at_least, "the node was not slow: {outcome}");
    assert!(
        outcome.stdout.contains("\"NVIDIA_VISIBLE_DEVICES=MIG-"),
        "{outcome}"
    );
    assert_eq!(machine.leases(), 1);
    outcome
}

/// The deadline is for one call, not for all.
#[test]
fn a_slow_but_healthy_node() {
    let machine = Machine::named("hgx-h100");
    machine.configure("nvml.deadline", "\"2s\"");
    slow(&machine, 300);
}

/// As a machine without persistence mode is, with the deadline that operators have.
#[test]
fn a_slow_but_healthy_node_in_full() {
    let outcome = slow(&Machine::named("hgx-h100"), 3000);
    assert!(outcome.took > Duration::from_secs(24), "{outcome}");
}
