//! Somebody of containerd's was killed, and started again.

use std::fs;

use crate::support::ctr::Namespace;
use crate::support::machine::INTERPOSED;
use crate::support::process::{DEADLINE, holds_within, is_alive, kill, start, until};

use super::{ASK, with_each_runtime};

/// containerd takes what the shim left behind away.
#[test]
fn the_shim() {
    with_each_runtime(&["1g.10gb"], |place| {
        let id = place.sleeper();
        kill(place.containerd.shim(&id));
        place.one.await_end(&id);
        place.machine.assert_free(&place.who);
        place.one.remove(&id);
        place.the_next_one_gets_it();
    });
}

#[test]
fn containerd_while_a_container_lives_on() {
    with_each_runtime(&["1g.10gb"], |place| {
        let id = place.sleeper();
        let before = place.machine.taken();
        place.containerd.kill();
        assert_eq!(before, place.machine.taken(), "{}", place.who);
        place.containerd.start_again();
        assert_eq!(place.one.status(&id), "RUNNING", "{}", place.who);
        place.the_next_one_is_refused();
        place.one.call(&["tasks", "delete", "--force", &id]).ok();
        place.the_next_one_gets_it();
    });
}

#[test]
fn containerd_while_a_container_ends() {
    with_each_runtime(&["1g.10gb"], |place| {
        let id = place.sleeper();
        let container = place.machine.holding_process().expect("a holder");
        place.containerd.kill();
        kill(container);
        until("the container's end", || !is_alive(container));
        place.containerd.start_again();
        place.one.remove(&id);
        place.machine.assert_free(&place.who);
        place.the_next_one_gets_it();
    });
}

#[test]
fn containerd_and_the_shim() {
    with_each_runtime(&["1g.10gb"], |place| {
        let id = place.sleeper();
        let shim = place.containerd.shim(&id);
        let container = place.machine.holding_process().expect("a holder");
        place.containerd.kill();
        kill(shim);
        until("the shim's end", || !is_alive(shim));
        if is_alive(container) {
            assert!(
                !place.machine.taken().is_empty(),
                "{}: taken from a living container",
                place.who
            );
        }
        place.containerd.start_again();
        // It finds a container without a shim, and takes it away.
        assert!(holds_within(DEADLINE, || !is_alive(container)), "{}", place.who);
        place.one.remove(&id);
        place.the_next_one_gets_it();
    });
}

/// The process that reserves, before it becomes the real runtime.
fn reserving(id: &str) -> Option<i32> {
    let is_it = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split('\0').collect();
        words[0] == INTERPOSED && words.contains(&"create") && words.contains(&id)
    };
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(is_it)
}

#[test]
fn the_runtime_while_it_reserves() {
    with_each_runtime(&["1g.10gb"], |place| {
        place.machine.set(&["init_ms=1500"]).expect("a fault");
        let id = Namespace::fresh_id();
        let mut running = start(&mut place.one.foreground(&id, &[ASK], &["true"]), None);
        let mut runtime = None;
        until("the runtime", || {
            runtime = reserving(&id);
            runtime.is_some()
        });
        kill(runtime.expect("it is there"));
        running.wait(DEADLINE).failed();
        place.machine.set(&["init_ms="]).expect("no fault");
        place.the_next_one_gets_it();
    });
}
