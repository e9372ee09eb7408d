//! The queue itself.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use fake_node::{GpuSpec, InstanceSpec, NodeSpec};
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;
use rustix::fs::{FlockOperation, flock};

use super::{Asking, PROFILE, ask, wait, waiting};
use crate::refusals::config;
use crate::support::machine::Machine;
use crate::support::process::{DEADLINE, is_alive, kill, start, until};

fn one_device() -> Machine {
    Machine::with(&["1g.10gb"])
}

#[test]
fn thirty_two_are_served_in_the_order_in_which_they_came() {
    let machine = one_device();
    let mut holder = ask(&machine, &[PROFILE]).served();
    let waiters: Vec<Asking> = (0..32).map(|_| wait(&machine, "10m")).collect();
    assert_eq!(waiting(&machine).len(), 32);
    for (at, waiter) in waiters.into_iter().enumerate() {
        holder.give_back(&machine);
        holder = waiter.served();
        assert_eq!(waiting(&machine).len(), 31 - at, "who is served leaves the queue");
    }
}

/// The killed ones are the last and the first in line, and in between.
#[test]
fn killing_every_third_breaks_nothing() {
    let machine = one_device();
    let mut holder = ask(&machine, &[PROFILE]).served();
    let waiters: Vec<Asking> = (0..32).map(|_| wait(&machine, "10m")).collect();
    let (killed, living): (Vec<_>, Vec<_>) = waiters.into_iter().enumerate().partition(|(at, _)| at % 3 == 0);
    for (_, mut waiter) in killed {
        kill(waiter.call.pid());
        assert!(!waiter.end().status.success());
    }
    for (_, waiter) in living {
        holder.give_back(&machine);
        holder = waiter.served();
    }
    until("the queue is empty", || waiting(&machine).is_empty());
    holder.give_back(&machine);
    machine.assert_free("after the last");
}

/// One who could be overtaken: he is stopped, and doesn't see that his device is free.
#[test]
fn a_newcomer_does_not_overtake() {
    let machine = one_device();
    let holder = ask(&machine, &[PROFILE]).served();
    let first = wait(&machine, "10m");
    let pid = Pid::from_raw(first.call.pid());
    stop_asleep(&machine, pid);
    holder.give_back(&machine);

    let refused = ask(&machine, &[PROFILE]).end();
    assert_eq!(refused.code(), 1, "{refused}");
    let line = format!(
        "oci-mig-hook: no free 1g.10gb: 1 of 1 held (gpu 0: kept for {}); wait with mig.wait=30s, or see \
         'oci-mig-hook status'\n",
        &first.id[..12]
    );
    assert_eq!(refused.stderr, line);
    let mut second = wait(&machine, "10m");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(second.call.is_running(), "it overtook");

    send(pid, Signal::SIGCONT).expect("SIGCONT");
    let first = first.served();
    assert!(second.call.is_running());
    first.give_back(&machine);
    second.served();
}

/// Stops a waiter while it sleeps, and not while it looks with the lock held.
fn stop_asleep(machine: &Machine, waiter: Pid) {
    let lock = fs::File::open(machine.ledger().join("lock")).expect("the lock");
    until("a waiter that sleeps", || {
        send(waiter, Signal::SIGSTOP).expect("SIGSTOP");
        let is_free = flock(&lock, FlockOperation::NonBlockingLockShared).is_ok();
        if is_free {
            flock(&lock, FlockOperation::Unlock).expect("unlock");
        } else {
            send(waiter, Signal::SIGCONT).expect("SIGCONT");
        }
        is_free
    });
}

/// It waits for the whole of one GPU, and small ones on another come and go; there, nothing is kept for it.
#[test]
fn who_waits_for_a_large_one_is_in_nobodys_way_elsewhere() {
    let gpu = |profiles: &[&str]| GpuSpec {
        model: Some("a100-80gb".to_owned()),
        instances: profiles
            .iter()
            .map(|profile| InstanceSpec {
                profile: profile.to_string(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let machine = Machine::of(&NodeSpec {
        gpus: vec![gpu(&["7g.80gb"]), gpu(&["1g.10gb"; 7])],
        ..Default::default()
    });
    let large = ("mig.profile", "7g.80gb");
    let holder = ask(&machine, &[large]).served();
    let mut waiter = ask(&machine, &[large, ("mig.wait", "10m")]);
    waiter.await_place();
    let small: Vec<_> = (0..7).map(|_| ask(&machine, &[PROFILE]).served()).collect();
    let devices: BTreeSet<_> = small.iter().map(|served| served.device.clone()).collect();
    assert_eq!(devices.len(), 7);
    holder.give_back(&machine);
    assert_eq!(waiter.served().device, holder.device);
}

/// For one who needs several, each that comes free is kept.
#[test]
fn who_needs_several_gathers_them() {
    let machine = Machine::with(&["1g.10gb"; 2]);
    let holders = [(); 2].map(|()| ask(&machine, &[PROFILE]).served());
    let mut both = ask(&machine, &[PROFILE, ("mig.count", "2"), ("mig.wait", "10m")]);
    both.await_place();
    holders[0].give_back(&machine);
    assert_eq!(ask(&machine, &[PROFILE]).end().code(), 1);
    assert!(both.call.is_running());
    holders[1].give_back(&machine);
    both.served();
}

/// Nothing announces the end: the engine that holds the reservation is killed.
#[test]
fn the_end_of_a_holder_wakes() {
    let machine = one_device();
    let program = machine.program("precreate");
    let mut engine = Command::new("sh");
    engine.args(["-c", "\"$@\"; exec sleep 1000", "sh"]);
    engine.arg(program.get_program()).args(program.get_args());
    let mut engine = start(&mut engine, Some(&config(&[PROFILE]).to_string()));
    until("it has its device", || engine.stdout().ends_with('}'));
    let waiter = wait(&machine, "10m");
    assert_eq!(machine.holding_process(), Some(engine.pid()));
    kill(engine.pid());
    engine.wait(DEADLINE);
    waiter.served();
}

/// Its engine was killed: nobody would take what it gets.
#[test]
fn who_waits_for_an_engine_that_is_gone_gives_up() {
    let machine = one_device();
    let holder = ask(&machine, &[PROFILE]).served();
    let program = machine.program("precreate");
    let mut engine = Command::new("sh");
    engine
        .args(["-c", "\"$@\"", "sh"])
        .arg(program.get_program())
        .args(program.get_args());
    let asks = config(&[PROFILE, ("mig.wait", "10m")]).to_string();
    let mut engine = start(&mut engine, Some(&asks));
    until("a place in the queue", || waiting(&machine).len() == 1);
    let hook = waiting(&machine)[0]["process"]["pid"].as_i64().expect("a pid") as i32;
    kill(engine.pid());
    engine.wait(DEADLINE);
    until("it has given up", || !is_alive(hook));
    assert!(waiting(&machine).is_empty());
    assert!(
        engine.stderr().contains(" waits no longer: process "),
        "{}",
        engine.stderr()
    );
    holder.give_back(&machine);
    ask(&machine, &[PROFILE]).served();
}

/// What is waited for asks the driver nothing: it is looked at once, before and after.
#[test]
fn waiting_asks_the_driver_nothing() {
    let machine = one_device();
    let holder = ask(&machine, &[PROFILE]).served();
    let waiter = wait(&machine, "10m");
    machine.start_trace().expect("a trace");
    std::thread::sleep(Duration::from_secs(3));
    assert!(
        machine.trace().expect("a trace").is_empty(),
        "NVML was asked meanwhile"
    );
    // Nor does it hold the lock.
    drop(machine.hold_lock());
    holder.give_back(&machine);
    waiter.served();
    assert!(!machine.trace().expect("a trace").is_empty());
}

/// A ticket that nobody understands, or whose waiter can't be told from here, must not stop everybody.
#[test]
fn a_ticket_that_is_none_is_nobodys() {
    let machine = one_device();
    let holder = ask(&machine, &[PROFILE]).served();
    let mut killed = wait(&machine, "10m");
    let ticket = waiting(&machine).remove(0);
    kill(killed.call.pid());
    killed.end();
    let folder = machine.ledger().join("waiting");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a ticket");
    write("00000000000000000002.json", "garbage");
    write("00000000000000000003.json", "{\"version\":9}");
    // Of another boot, and of another pid namespace beyond its time.
    let mut other = ticket.clone();
    other["number"] = 4.into();
    other["boot_id"] = "another".into();
    other["process"]["pid_namespace"] = 1.into();
    write("00000000000000000004.json", &other.to_string());
    other["number"] = 5.into();
    other["boot_id"] = ticket["boot_id"].clone();
    other["until"] = 1.into();
    write("00000000000000000005.json", &other.to_string());
    holder.give_back(&machine);
    let served = ask(&machine, &[PROFILE]).served();
    assert_eq!(
        waiting(&machine).len(),
        1,
        "what is left is garbage and another version's"
    );
    let mut last = wait(&machine, "10m");
    served.give_back(&machine);
    assert!(last.call.wait(DEADLINE).status.success());
}
