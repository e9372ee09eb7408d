//! How containers end that were served by the interposed runtime, and that every device comes back: with the delete that
//! engines always send, or with the next reservation.

use std::path::Path;

use super::{Place, asking, somewhere, with_each_runtime};
use crate::support::gate::Gate;
use crate::support::machine::Machine;
use crate::support::next::Next;
use crate::support::process::{DEADLINE, Outcome, kill, run, until};
use crate::support::rootfs::SLEEP;
use crate::support::runtime::{Engine, Runtime};

impl Next for Place {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn who(&self) -> &str {
        &self.who
    }

    fn ask(&self, script: &str) -> Outcome {
        self.engine.run(&asking(script).write())
    }
}

#[test]
fn exit_kill_and_delete() {
    with_each_runtime(1, |place| {
        for signal in ["TERM", "KILL"] {
            let bundle = asking(SLEEP).write();
            let mut container = place.engine.container(&bundle);
            container.create().ok();
            place.the_next_one_is_refused();
            container.start().ok();
            place.the_next_one_is_refused();
            container.kill(signal).ok();
            container.await_status("stopped");
            container.delete(false).ok();
            assert_eq!(place.machine.leases(), 0, "{} {signal}", place.who);
        }
    });
}

/// crun and youki call no poststop hook then: what follows on the create is a delete, and that gives back.
#[test]
fn a_container_that_could_not_be_created() {
    with_each_runtime(1, |place| {
        let bundle = asking("").args(["/bin/no-such-program"]).write();
        let mut container = place.engine.container(&bundle);
        let created = container.create();
        if created.status.success() {
            // crun looks for the program when it starts the container.
            container.start().failed();
        }
        container.delete(true);
        assert_eq!(
            place.machine.leases(),
            0,
            "{}: {:?}",
            place.who,
            place.machine.taken()
        );
        place.the_next_one_gets_it();
    });
}

#[test]
fn a_hook_that_fails_after_ours() {
    with_each_runtime(1, |place| {
        let folder = crate::support::scratch::Scratch::new("hook");
        let fails = folder.program("fails", "#!/bin/sh\ncat >/dev/null\nexit 9\n");
        for stage in ["createRuntime", "createContainer"] {
            let bundle = asking("true").hook(stage, &fails, &[]).write();
            let mut container = place.engine.container(&bundle);
            container.create().failed();
            container.delete(true);
            assert_eq!(
                place.machine.leases(),
                0,
                "{} {stage}: {:?}",
                place.who,
                place.machine.taken()
            );
        }
    });
}

#[test]
fn a_delete_that_fails_on_a_living_container_releases_nothing() {
    with_each_runtime(1, |place| {
        let bundle = asking(SLEEP).write();
        let mut container = place.engine.container(&bundle);
        container.create().ok();
        container.start().ok();
        container.delete(false).failed();
        place.the_next_one_is_refused();
        container.delete(true).ok();
        place.the_next_one_gets_it();
        // Twice is harmless.
        container.delete(true);
        place.the_next_one_gets_it();
    });
}

#[test]
fn a_late_delete_does_not_hit_the_next_container_of_that_id() {
    with_each_runtime(1, |place| {
        let bundle = asking(SLEEP).write();
        let mut first = place.engine.container_named("twin", &bundle);
        first.create().ok();
        first.delete(true).ok();
        let other = asking(SLEEP).write();
        let mut second = place.engine.container_named("twin", &other);
        second.create().ok();
        let held = place.machine.taken();
        // From another state root, where the runtime knows no such container.
        let elsewhere = Engine::new(place.engine.runtime, place.engine.view).interposed(&place.machine);
        elsewhere.container_named("twin", &bundle).delete(true);
        assert_eq!(place.machine.taken(), held, "{}", place.who);
        place.the_next_one_is_refused();
        second.delete(true).ok();
        place.the_next_one_gets_it();
    });
}

#[test]
fn one_id_in_two_state_roots_is_two_containers() {
    with_each_runtime(2, |place| {
        let other = Engine::new(place.engine.runtime, place.engine.view).interposed(&place.machine);
        let bundles = [asking(SLEEP).write(), asking(SLEEP).write()];
        let mut here = place.engine.container_named("same", &bundles[0]);
        let mut there = other.container_named("same", &bundles[1]);
        here.create().ok();
        there.create().ok();
        assert_eq!(place.machine.taken().len(), 2, "{}", place.who);
        here.delete(true).ok();
        assert_eq!(place.machine.taken().len(), 1, "{}", place.who);
        assert!(there.state().is_some(), "{}", place.who);
        there.delete(true).ok();
        place.machine.assert_free(&place.who);
    });
}

#[test]
fn a_delete_by_pattern_gives_back_all_that_it_ended() {
    let runtime = Runtime::Crun;
    for view in runtime.views() {
        let place = Place::new(runtime, view, 2);
        let bundles = [asking(SLEEP).write(), asking(SLEEP).write()];
        let mut containers: Vec<_> = (0..2)
            .map(|number| {
                place
                    .engine
                    .container_named(&format!("many{number}"), &bundles[number])
            })
            .collect();
        containers
            .iter_mut()
            .for_each(|container| drop(container.create().ok()));
        run(containers[0]
            .command("delete")
            .args(["--force", "--regex", "many.*"]))
        .ok();
        place.machine.assert_free(&place.who);
    }
}

#[test]
fn kill_9_while_it_reserves() {
    with_each_runtime(1, |place| {
        place.machine.set(&["init_ms=1500"]).expect("a fault");
        let bundle = asking("true").write();
        let container = place.engine.container(&bundle);
        let mut creating = container.begin_create();
        place.machine.await_nvml();
        kill(creating.pid());
        creating.wait(DEADLINE).failed();
        place.machine.set(&["init_ms="]).expect("no fault");
        let text = std::fs::read_to_string(bundle.config_file()).expect("config.json");
        assert!(!text.contains("mig.lease"), "{}: half done", place.who);
        place.the_next_one_gets_it();
    });
}

#[test]
fn kill_9_of_the_runtime_that_it_became() {
    with_each_runtime(1, |place| {
        for stage in ["prestart", "createContainer"] {
            let gate = Gate::new();
            let bundle = asking("true").hook(stage, &gate.program(), &[]).write();
            let container = place.engine.container(&bundle);
            let mut creating = container.begin_create();
            gate.await_reached();
            assert_eq!(place.machine.taken().len(), 1, "{} {stage}", place.who);
            // The pid that oci-mig-runtime had.
            kill(creating.pid());
            creating.wait(DEADLINE).failed();
            gate.open();
            // What the runtime had begun ends by itself; until then the device stays out of use.
            until("the end of what was begun", || {
                container.groups().iter().all(|group| is_empty(group))
            });
            container.delete(true);
            place.the_next_one_gets_it();
        }
    });
}

fn is_empty(group: &Path) -> bool {
    std::fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|pids| pids.is_empty())
}

/// What created it owned the reservation and is gone; the lease is bound to the container's own process.
#[test]
fn a_container_outlives_what_created_it() {
    let place = somewhere(1);
    let bundle = asking(SLEEP).write();
    let mut container = place.engine.container(&bundle);
    container.create().ok();
    assert_eq!(place.machine.holding_process(), Some(container.pid()));
    container.delete(true).ok();
}
