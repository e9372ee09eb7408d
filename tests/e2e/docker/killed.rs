//! Somebody of Docker's was killed, and started again.

use std::path::Path;

use crate::support::cgroups::View;
use crate::support::docker::Docker;
use crate::support::machine::{INTERPOSED, Machine};
use crate::support::next::Next;
use crate::support::process::{is_alive, kill, until};
use crate::support::runtime::Runtime;

use super::{with_each, with_each_runtime};

#[test]
fn the_shim() {
    with_each_runtime(|place| {
        let id = place.docker.sleeper(&[&place.ask]);
        kill(place.docker.containerd.shim(&id));
        place.docker.await_end(&id);
        place.machine.assert_free(&place.who);
        place.the_next_one_gets_it();
    });
}

/// A dockerd that comes back ends the containers that it finds running.
#[test]
fn dockerd() {
    with_each_runtime(|place| {
        let id = place.docker.sleeper(&[&place.ask]);
        let container = place.machine.holding_process().expect("a holder");
        place.docker.kill();
        assert!(
            is_alive(container) && !place.machine.taken().is_empty(),
            "{}",
            place.who
        );
        place.docker.start_again();
        place.docker.await_end(&id);
        place.machine.assert_free(&place.who);
        place.the_next_one_gets_it();
    });
}

fn with_live_restore(machine: &Machine, runtime: Runtime, view: View) -> Docker {
    machine.configure("requests.environment", "true");
    Docker::start_with_live_restore(machine.containerd(runtime, view), Path::new(INTERPOSED))
}

#[test]
fn dockerd_while_a_container_lives_on() {
    with_each(with_live_restore, |place| {
        let id = place.docker.sleeper(&[&place.ask]);
        let before = place.machine.taken();
        place.docker.kill();
        place.docker.start_again();
        assert!(place.docker.is_running(&id), "{}", place.who);
        assert_eq!(before, place.machine.taken(), "{}", place.who);
        place.the_next_one_is_refused();
        place.docker.call(&["rm", "--force", &id]).ok();
        place.the_next_one_gets_it();
    });
}

/// It ends while dockerd is away, and dockerd finds it so.
#[test]
fn dockerd_while_a_container_ends() {
    with_each(with_live_restore, |place| {
        let id = place.docker.sleeper(&[&place.ask]);
        let container = place.machine.holding_process().expect("a holder");
        place.docker.kill();
        kill(container);
        until("the container's end", || !is_alive(container));
        place.docker.start_again();
        place.docker.await_end(&id);
        place.the_next_one_gets_it();
    });
}

#[test]
fn containerd() {
    with_each_runtime(|place| {
        let id = place.docker.sleeper(&[&place.ask]);
        let before = place.machine.taken();
        place.docker.containerd.kill();
        place.docker.containerd.start_again();
        // dockerd takes its time to find it again.
        until("containerd, for dockerd", || {
            place.docker.run(&[], "true").status.success()
        });
        assert!(place.docker.is_running(&id), "{}", place.who);
        assert_eq!(before, place.machine.taken(), "{}", place.who);
        place.the_next_one_is_refused();
        place.docker.call(&["rm", "--force", &id]).ok();
        place.the_next_one_gets_it();
    });
}
