//! How containers of Podman end, and what becomes of their devices. The machine has one device: the next container
//! gets it, or it was not given back.

use std::path::Path;
use std::time::Duration;

use crate::support::cgroups::View;
use crate::support::gate::{Gate, hooks};
use crate::support::machine::Machine;
use crate::support::next::Next;
use crate::support::podman::{IMAGE, Podman};
use crate::support::process::{DEADLINE, Outcome, Running, holds_within, is_alive, kill, run, start, until};
use crate::support::runtime::Runtime;
use crate::support::scratch::Scratch;

const ASK: &str = "--annotation=mig.profile=1g.10gb";

/// A machine with one device, and Podman on it.
struct Place {
    machine: Machine,
    podman: Podman,
    who: String,
}

impl Place {
    /// `podman run` in the foreground, under way.
    fn begin(&self, options: &[&str], script: &str) -> Running {
        let mut command = self.podman.container("run");
        start(
            command.arg(ASK).args(options).args([IMAGE, "sh", "-c", script]),
            None,
        )
    }

    fn call(&self, args: &[&str]) -> Outcome {
        self.podman.call(args)
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
        self.podman.run(&[ASK], script)
    }
}

/// The story on runc and on crun, and on cgroup v1 and v2; `more`: a folder with further hooks.
fn with_each_runtime(more: Option<&Path>, story: impl Fn(&Place)) {
    for (runtime, view) in [
        (Runtime::Runc, View::Host),
        (Runtime::Crun, View::V1),
        (Runtime::Crun, View::V2),
    ] {
        if !runtime.views().contains(&view) {
            continue;
        }
        let machine = Machine::with(&["1g.10gb"]);
        let podman = machine.podman(runtime, view, more.as_slice());
        let place = Place {
            machine,
            podman,
            who: format!("podman {runtime} {view}"),
        };
        story(&place);
    }
}

#[test]
fn exit() {
    with_each_runtime(None, |place| {
        place.podman.run(&[ASK], "true").ok();
        place.machine.assert_free(&place.who);
        place.podman.run(&[ASK], "exit 3").failed();
        place.machine.assert_free(&place.who);
    });
}

#[test]
fn kill_stop_and_rm_force() {
    with_each_runtime(None, |place| {
        for how in [
            &["kill"][..],
            &["stop", "--time=5"],
            &["rm", "--force", "--time=0"],
        ] {
            let id = place.podman.sleeper(&[ASK]);
            place.the_next_one_is_refused();
            place.call(&[how, &[&id]].concat()).ok();
            place.machine.assert_free(&format!("{} {how:?}", place.who));
        }
    });
}

#[test]
fn restart() {
    with_each_runtime(None, |place| {
        let id = place.podman.sleeper(&[ASK]);
        let before = place.machine.taken();
        place.call(&["restart", "--time=1", &id]).ok();
        let after = place.machine.taken();
        assert_eq!(
            before, after,
            "{}: the same container has the one device again",
            place.who
        );
        place.the_next_one_is_refused();
        place.call(&["stop", "--time=1", &id]).ok();
        place.machine.assert_free(&place.who);
        place.call(&["start", &id]).ok();
        place.the_next_one_is_refused();
        place.call(&["rm", "--force", "--time=0", &id]).ok();
        place.machine.assert_free(&place.who);
    });
}

#[test]
fn bad_command() {
    with_each_runtime(None, |place| {
        run(place
            .podman
            .container("run")
            .args(["--rm", ASK, IMAGE, "no-such-program"]))
        .failed();
        place.the_next_one_gets_it();
    });
}

#[test]
fn bad_command_through_the_api_socket() {
    with_each_runtime(None, |place| {
        // The service is precreate's parent, and lives on.
        let mut service = place.podman.service();
        let attempt = |program: &str| {
            let mut command = service.command("run");
            command.args(["--rm", "--network=none", "--pids-limit=0", "--cgroup-parent"]);
            command.arg(format!("/{}", crate::support::scratch::name()));
            run(command.args([ASK, IMAGE, program]))
        };
        attempt("no-such-program").failed();
        attempt("true").ok();
        place.machine.assert_free(&place.who);
        attempt("no-such-program").failed();
        assert!(service.process.is_running());
        place.the_next_one_gets_it();
    });
}

#[test]
fn failing_later_hook() {
    for stage in ["createRuntime", "createContainer"] {
        let folder = Scratch::new("hook");
        let fails = folder.program("fails", "#!/bin/sh\ncat >/dev/null\nexit 9\n");
        with_each_runtime(Some(hooks(stage, &fails).path()), |place| {
            place.podman.run(&[ASK, "--annotation=gate=1"], "true").failed();
            place.the_next_one_gets_it();
        });
    }
}

#[test]
fn a_lease_that_is_gone_at_confirm_fails_the_container() {
    at_the_gate("createRuntime", |place, gate, running| {
        for file in std::fs::read_dir(place.machine.ledger().join("leases"))
            .expect("leases")
            .flatten()
        {
            std::fs::remove_file(file.path()).expect("a lease file");
        }
        gate.open();
        running.wait(DEADLINE).failed();
        place.the_next_one_gets_it();
    });
}

#[test]
fn kill_9_of_podman_while_precreate_reserves() {
    with_each_runtime(None, |place| {
        place.machine.set(&["init_ms=1500"]).expect("a fault");
        let mut running = place.begin(&[], "true");
        place.machine.await_stage("precreate");
        kill(running.pid());
        running.wait(DEADLINE).failed();
        until("the orphaned hook's end", || {
            place.machine.at_stage("precreate").is_empty()
        });
        place.machine.set(&["init_ms="]).expect("no fault");
        place.the_next_one_gets_it();
    });
}

#[test]
fn kill_9_of_the_precreate_hook() {
    with_each_runtime(None, |place| {
        place.machine.set(&["init_ms=1500"]).expect("a fault");
        let mut running = place.begin(&[], "true");
        kill(place.machine.await_stage("precreate"));
        running.wait(DEADLINE).failed();
        place.machine.set(&["init_ms="]).expect("no fault");
        place.the_next_one_gets_it();
    });
}

/// The container, with `podman run` in the foreground, stands before a gate that is a hook of this stage.
fn at_the_gate(stage: &str, story: impl Fn(&Place, &Gate, &mut Running)) {
    for (runtime, view) in [
        (Runtime::Runc, View::Host),
        (Runtime::Crun, View::V1),
        (Runtime::Crun, View::V2),
    ] {
        if !runtime.views().contains(&view) {
            continue;
        }
        let gate = Gate::new();
        let more = gate.hooks(stage);
        let machine = Machine::with(&["1g.10gb"]);
        let podman = machine.podman(runtime, view, &[more.path()]);
        let place = Place {
            machine,
            podman,
            who: format!("podman {runtime} {view} at {stage}"),
        };
        let mut running = place.begin(&["--annotation=gate=1"], "exec sleep 1000");
        gate.await_reached();
        story(&place, &gate, &mut running);
    }
}

#[test]
fn kill_9_of_podman_before_and_after_confirm() {
    for stage in ["createRuntime", "createContainer"] {
        at_the_gate(stage, |place, gate, running| {
            let runtime = place.podman.runtime_at_work();
            kill(running.pid());
            running.wait(DEADLINE).failed();
            gate.open();
            // conmon and the runtime go on without podman, and create a container that nobody will start.
            until("the runtime's end", || !is_alive(runtime));
            let _ = place.call(&["rm", "--all", "--force", "--time=0"]);
            if let Some(process) = place.machine.holding_process() {
                // Podman forgot it; while its process lives the device is its own.
                assert!(is_alive(process), "{}: {:?}", place.who, place.machine.taken());
                place.the_next_one_is_refused();
                kill(process);
                until("the container's end", || !is_alive(process));
            }
            place.the_next_one_gets_it();
        });
    }
}

#[test]
fn kill_9_of_the_runtime_before_and_after_confirm() {
    for stage in ["createRuntime", "createContainer"] {
        at_the_gate(stage, |place, gate, running| {
            let runtime = place.podman.runtime_at_work();
            kill(runtime);
            gate.open();
            // Podman 4.3 now and then waits for ever for a container whose runtime was killed: then it is ended too.
            if !holds_within(Duration::from_secs(20), || !running.is_running()) {
                kill(running.pid());
            }
            running.wait(DEADLINE).failed();
            place.the_next_one_gets_it();
        });
    }
}

#[test]
fn kill_9_of_the_hook_that_confirms() {
    at_the_gate("createRuntime", |place, gate, running| {
        // It waits for the lock, so that it is there to be killed.
        let lock = place.machine.hold_lock();
        gate.open();
        kill(place.machine.await_stage("createRuntime"));
        drop(lock);
        running.wait(DEADLINE).failed();
        place.the_next_one_gets_it();
    });
}

#[test]
fn kill_9_of_a_hook_that_releases() {
    with_each_runtime(None, |place| {
        let id = place.podman.sleeper(&[ASK]);
        let lock = place.machine.hold_lock();
        let mut remove = start(
            place.podman.command("rm").args(["--force", "--time=0", &id]),
            None,
        );
        kill(place.machine.await_stage("poststop"));
        drop(lock);
        remove.wait(DEADLINE);
        place.the_next_one_gets_it();
    });
}

#[test]
fn kill_9_of_conmon() {
    with_each_runtime(None, |place| {
        let id = place.podman.sleeper(&[ASK]);
        let inspected = place
            .call(&["inspect", "--format={{.State.ConmonPid}} {{.State.Pid}}", &id])
            .ok()
            .stdout;
        let pids: Vec<i32> = inspected
            .split_whitespace()
            .map(|pid| pid.parse().expect("a pid"))
            .collect();
        kill(pids[0]);
        until("conmon's end", || !is_alive(pids[0]));
        assert!(is_alive(pids[1]), "{}: the container lives on", place.who);
        place.the_next_one_is_refused();
        kill(pids[1]);
        until("the container's end", || !is_alive(pids[1]));
        // Nobody says that it ended.
        place.the_next_one_gets_it();
    });
}

/// Without a cgroup no device rule holds, and Podman's containers may make any node: refused, and nothing is kept.
#[test]
fn no_cgroup_of_its_own() {
    with_each_runtime(None, |place| {
        let mut command = place.podman.command("run");
        command.args(["--network=none", "--cgroups=disabled", ASK, IMAGE, "true"]);
        let outcome = run(&mut command).failed();
        // With runc Podman itself refuses, before it calls any hook: only crun can do without.
        if place.podman.runtime == Runtime::Crun {
            let words = "this container can't be isolated: it has no cgroup of its own (--cgroups=disabled?)";
            assert!(
                outcome.stderr.contains(words),
                "{}: {}",
                place.who,
                outcome.stderr
            );
        }
        place.machine.assert_free(&place.who);
        place.the_next_one_gets_it();
    });
}

#[test]
fn the_hosts_pid_namespace() {
    with_each_runtime(None, |place| {
        let id = place.podman.sleeper(&[ASK, "--pid=host"]);
        place.the_next_one_is_refused();
        place.call(&["kill", &id]).ok();
        assert!(
            holds_within(Duration::from_secs(10), || place.machine.taken().is_empty()),
            "{}",
            place.who
        );
        place.the_next_one_gets_it();
    });
}
