//! How containers of plain runc and crun end, hooks in config.json, and what becomes of their devices. The machine
//! has one device: the next container gets it, or it was not given back.

use std::path::Path;
use std::time::Duration;

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::gate::Gate;
use crate::support::machine::Machine;
use crate::support::next::Next;
use crate::support::process::{DEADLINE, Outcome, is_alive, kill, run, start, until};
use crate::support::rootfs::SLEEP;
use crate::support::runtime::{Engine, Runtime, everywhere};

const PROFILE: &str = "1g.10gb";

/// A machine with one device, and a runtime on it.
pub struct Place {
    pub machine: Machine,
    pub engine: Engine,
    pub who: String,
}

impl Place {
    fn new(runtime: Runtime, view: View, devices: usize) -> Self {
        let machine = Machine::with(&vec![PROFILE; devices]);
        Self {
            machine,
            engine: Engine::new(runtime, view),
            who: format!("{runtime} {view}"),
        }
    }

    /// A bundle that asks, with our hooks.
    pub fn bundle(&self, script: &str) -> Bundle {
        self.machine
            .bundle()
            .annotation("mig.profile", PROFILE)
            .script(script)
    }
}

impl Next for Place {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn who(&self) -> &str {
        &self.who
    }

    fn ask(&self, script: &str) -> Outcome {
        self.engine.run(&self.bundle(script).write())
    }

    /// crun keeps what a hook says to itself.
    fn passes_words_on(&self) -> bool {
        self.engine.runtime == Runtime::Runc
    }
}

pub fn with_each_runtime(story: impl Fn(&Place)) {
    for (runtime, view) in everywhere() {
        story(&Place::new(runtime, view, 1));
    }
}

#[test]
fn exit() {
    with_each_runtime(|place| {
        place.engine.run(&place.bundle("true").write()).ok();
        place.machine.assert_free(&place.who);
        place.engine.run(&place.bundle("exit 3").write()).failed();
        place.machine.assert_free(&place.who);
    });
}

#[test]
fn kill_and_stop() {
    with_each_runtime(|place| {
        for signal in ["KILL", "TERM"] {
            let bundle = place.bundle(SLEEP).write();
            let mut container = place.engine.container(&bundle);
            container.create().ok();
            container.start().ok();
            place.the_next_one_is_refused();
            container.kill(signal).ok();
            container.await_status("stopped");
            container.delete(false).ok();
            place.machine.assert_free(&format!("{} {signal}", place.who));
        }
    });
}

#[test]
fn delete_force_of_a_running_container() {
    with_each_runtime(|place| {
        let bundle = place.bundle(SLEEP).write();
        let mut container = place.engine.container(&bundle);
        container.create().ok();
        container.start().ok();
        container.delete(true).ok();
        // crun calls poststop while the process that it has just killed may still be ending. A living holder keeps its
        // lease; whoever asks next finds it gone.
        place.the_next_one_gets_it();
    });
}

#[test]
fn a_container_that_ended_and_that_nobody_deletes() {
    with_each_runtime(|place| {
        let bundle = place.bundle("true").write();
        let mut container = place.engine.container(&bundle);
        container.create().ok();
        container.start().ok();
        container.await_status("stopped");
        place.the_next_one_gets_it();
        // The late delete is no harm to whoever has it now.
        let other = place.bundle(SLEEP).write();
        let mut holder = place.engine.container(&other);
        holder.create().ok();
        container.delete(true).ok();
        place.the_next_one_is_refused();
    });
}

#[test]
fn bad_command() {
    with_each_runtime(|place| {
        let bundle = place.bundle("").args(["/bin/no-such-program"]).write();
        place.engine.run(&bundle).failed();
        place.the_next_one_gets_it();
    });
}

#[test]
fn failing_later_hook() {
    with_each_runtime(|place| {
        for stage in ["createRuntime", "createContainer"] {
            let bundle = place
                .bundle("true")
                .hook(stage, Path::new("/bin/false"), &[])
                .write();
            place.engine.run(&bundle).failed();
            place.the_next_one_gets_it();
        }
    });
}

/// Who is killed with `kill -9` while the container stands before a gate.
fn kill_9_at_a_gate(bundle: impl Fn(&Place, &Path) -> Bundle) {
    with_each_runtime(|place| {
        let gate = Gate::new();
        let bundle = bundle(place, &gate.program()).write();
        let container = place.engine.container(&bundle);
        let mut creator = container.begin_create();
        gate.await_reached();
        kill(creator.pid());
        creator.wait(DEADLINE).failed();
        gate.open();
        until("the container's end", || {
            place.machine.holding_process().is_none_or(|pid| !is_alive(pid))
        });
        place.the_next_one_gets_it();
    });
}

#[test]
fn kill_9_of_the_runtime_before_our_hook() {
    kill_9_at_a_gate(|place, gate| {
        let ours = place.bundle("true");
        ours.with(|config| {
            let hooks = config["hooks"]["createRuntime"].as_array_mut().expect("hooks");
            hooks.insert(0, serde_json::json!({"path": gate}));
        })
    });
}

#[test]
fn kill_9_of_the_runtime_after_our_hook() {
    for stage in ["createRuntime", "createContainer"] {
        kill_9_at_a_gate(|place, gate| place.bundle("true").hook(stage, gate, &[]));
    }
}

#[test]
fn kill_9_of_the_runtime_while_our_hook_reserves() {
    with_each_runtime(|place| {
        place.machine.set(&["init_ms=700"]).expect("a fault");
        let bundle = place.bundle("true").write();
        let container = place.engine.container(&bundle);
        let mut creator = container.begin_create();
        place.machine.await_stage("createRuntime");
        kill(creator.pid());
        creator.wait(DEADLINE).failed();
        until("the orphaned hook's end", || {
            place.machine.at_stage("createRuntime").is_empty()
        });
        place.machine.set(&["init_ms="]).expect("no fault");
        until("the container's end", || {
            place.machine.holding_process().is_none_or(|pid| !is_alive(pid))
        });
        place.the_next_one_gets_it();
    });
}

/// Whatever it was doing. Moments are spread over a whole run, evenly and differently each time.
fn kill_9_of_the_runtime_at_any_moment(kills: u32) {
    with_each_runtime(|place| {
        for kill_number in 0..kills {
            let bundle = place.bundle("true").write();
            let container = place.engine.container(&bundle);
            let mut command = container.command("run");
            let mut runtime = start(
                command.arg("--bundle").arg(bundle.folder()).arg(container.id()),
                None,
            );
            std::thread::sleep(Duration::from_micros(u64::from(60_000 / kills * kill_number)));
            if runtime.is_running() {
                kill(runtime.pid());
            }
            runtime.wait(DEADLINE);
            until("the orphaned hook's end", || {
                place.machine.at_stage("createRuntime").is_empty()
            });
            // Removes whatever lives on; a runtime that lost its state can't.
            drop(container);
            place.the_next_one_gets_it();
        }
    });
}

#[test]
fn kill_9_of_the_runtime_at_ten_moments() {
    kill_9_of_the_runtime_at_any_moment(10);
}

#[test]
#[ignore = "takes minutes: tests/run --soak"]
fn soak_kill_9_of_the_runtime_at_five_hundred_moments() {
    kill_9_of_the_runtime_at_any_moment(500);
}

#[test]
fn kill_9_of_the_runtime_between_create_and_start() {
    with_each_runtime(|place| {
        let bundle = place.bundle("true").write();
        let mut container = place.engine.container(&bundle);
        container.create().ok();
        // No runtime runs now; the container lives and waits.
        place.the_next_one_is_refused();
        kill(container.pid());
        until("the container's end", || container.status() == "stopped");
        place.the_next_one_gets_it();
    });
}

#[test]
fn kill_9_of_the_runtime_that_deletes() {
    with_each_runtime(|place| {
        let gate = Gate::new();
        let bundle = place.bundle("true").with(|config| {
            let hooks = config["hooks"]["poststop"].as_array_mut().expect("hooks");
            hooks.insert(0, serde_json::json!({"path": gate.program()}));
        });
        let bundle = bundle.write();
        let mut container = place.engine.container(&bundle);
        container.create().ok();
        container.start().ok();
        container.await_status("stopped");
        let mut delete = start(container.command("delete").arg(container.id()), None);
        gate.await_reached();
        kill(delete.pid());
        delete.wait(DEADLINE).failed();
        place.the_next_one_gets_it();
        // A second delete meets the gate too.
        gate.open();
    });
}

#[test]
fn kill_9_of_the_foreground_runtime_while_the_container_runs() {
    with_each_runtime(|place| {
        let bundle = place.bundle("sleep 1000").write();
        let container = place.engine.container(&bundle);
        let mut command = container.command("run");
        let command = command.arg("--bundle").arg(bundle.folder()).arg(container.id());
        let mut runtime = start(command, None);
        container.await_status("running");
        let process = container.pid();
        kill(runtime.pid());
        runtime.wait(DEADLINE).failed();
        assert!(is_alive(process), "{}: the container lives on", place.who);
        place.the_next_one_is_refused();
        kill(process);
        until("the container's end", || !is_alive(process));
        place.the_next_one_gets_it();
    });
}

#[test]
fn kill_9_of_our_hook_while_it_asks_the_driver() {
    with_each_runtime(|place| {
        place.machine.set(&["init_ms=1500"]).expect("a fault");
        let bundle = place.bundle("true").write();
        let container = place.engine.container(&bundle);
        let mut creator = container.begin_create();
        kill(place.machine.await_stage("createRuntime"));
        creator.wait(DEADLINE).failed();
        place.machine.set(&["init_ms="]).expect("no fault");
        place.the_next_one_gets_it();
    });
}

#[test]
fn kill_9_of_our_hook_while_it_waits_for_the_lock() {
    with_each_runtime(|place| {
        place.the_next_one_gets_it(); // so that there is a ledger
        let lock = place.machine.hold_lock();
        let bundle = place.bundle("true").write();
        let container = place.engine.container(&bundle);
        let mut creator = container.begin_create();
        kill(place.machine.await_stage("createRuntime"));
        // runc now calls our poststop, which wants the lock too.
        drop(lock);
        creator.wait(DEADLINE).failed();
        place.the_next_one_gets_it();
    });
}

#[test]
fn kill_9_of_our_poststop_hook() {
    with_each_runtime(|place| {
        let bundle = place.bundle("true").write();
        let mut container = place.engine.container(&bundle);
        container.create().ok();
        container.start().ok();
        container.await_status("stopped");
        let lock = place.machine.hold_lock();
        let mut delete = start(container.command("delete").arg(container.id()), None);
        kill(place.machine.await_stage("poststop"));
        // A runtime may or may not tell of it; the container is gone either way.
        delete.wait(DEADLINE);
        drop(lock);
        place.the_next_one_gets_it();
    });
}

#[test]
fn a_container_without_its_own_pid_namespace_keeps_its_device_while_a_child_lives() {
    with_each_runtime(|place| {
        let bundle = place
            .bundle("sleep 1000 & exec sleep 1000")
            .without_pid_namespace()
            .write();
        let mut container = place.engine.container(&bundle);
        container.create().ok();
        container.start().ok();
        let process = container.pid();
        let child = || children(process).first().copied();
        until("the container's child", || child().is_some());
        let child = child().expect("a child");
        kill(process);
        until("the first process's end", || !is_alive(process));
        assert!(is_alive(child), "{}: its child lives on", place.who);
        place.the_next_one_is_refused();
        kill(child);
        until("the child's end", || !is_alive(child));
        place.the_next_one_gets_it();
    });
}

pub fn children(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .map(|pid| pid.parse().expect("a pid"))
        .collect()
}

#[test]
fn the_same_id_in_two_state_roots() {
    for (runtime, view) in everywhere() {
        let place = Place::new(runtime, view, 2);
        let elsewhere = Engine::new(runtime, view);
        let [first, second] = [(); 2].map(|()| place.bundle(SLEEP).write());
        let mut one = place.engine.container_named("twin", &first);
        let mut other = elsewhere.container_named("twin", &second);
        one.create().ok();
        other.create().ok();
        assert_eq!(place.machine.taken().len(), 2, "{}", place.who);
        one.delete(true).ok();
        // The other one's device is still its own.
        until("the first one's device to be free", || {
            place.machine.taken().len() == 1
        });
        let holder = place.machine.holding_process();
        assert_eq!(holder, Some(other.pid()), "{}", place.who);
        other.delete(true).ok();
        place.machine.assert_free(&place.who);
    }
}

#[test]
fn the_same_bundle_run_twice() {
    for (runtime, view) in everywhere() {
        let place = Place::new(runtime, view, 2);
        let bundle = place.bundle(SLEEP).write();
        // One after the other, under one id.
        for _ in 0..2 {
            let mut container = place.engine.container(&bundle);
            container.create().ok();
            container.delete(true).ok();
            place.machine.assert_free(&place.who);
        }
        // At once under one id: the runtime itself says no, and the first one's device stays its own.
        let mut first = place.engine.container(&bundle);
        first.create().ok();
        let mut command = first.command("create");
        run(command.arg("--bundle").arg(bundle.folder()).arg(first.id())).failed();
        assert_eq!(
            place.machine.holding_process(),
            Some(first.pid()),
            "{}",
            place.who
        );
        first.delete(true).ok();
        // At once under two; each has its own control group.
        let mut one = place.engine.container_named("one", &bundle);
        one.create().ok();
        let again = place
            .bundle(SLEEP)
            .with(|config| config["annotations"] = bundle.config["annotations"].clone());
        let again = again.write();
        std::fs::write(
            bundle.config_file(),
            std::fs::read(again.config_file()).expect("config"),
        )
        .expect("config");
        let mut other = place.engine.container_named("other", &bundle);
        other.create().ok();
        let taken = place.machine.taken();
        assert_eq!(taken.len(), 2, "{}: {taken:?}", place.who);
        one.delete(true).ok();
        until("the first one's device to be free", || {
            place.machine.taken().len() == 1
        });
        assert_eq!(
            place.machine.holding_process(),
            Some(other.pid()),
            "{}",
            place.who
        );
        other.delete(true).ok();
        place.machine.assert_free(&place.who);
    }
}
