//! Containers of the real runtimes that live where one might think them gone: paused, with their processes moved into
//! groups below their own, sharing a pid namespace whose first process isn't theirs. The machine has one device.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lifecycle::{children, with_each_runtime};
use crate::support::container::Container;
use crate::support::next::Next;
use crate::support::process::{is_alive, kill, run, until};
use crate::support::rootfs::SLEEP;

/// A container whose first process has a child, without a pid namespace of its own.
const PARENT: &str = "sleep 1000 & exec sleep 1000";

/// The child of the container's first process.
fn child_of(process: i32) -> i32 {
    let child = || children(process).first().copied();
    until("the container's child", || child().is_some());
    child().expect("a child")
}

/// Ends the container's first process; the child lives on.
fn end_first(process: i32, child: i32) {
    kill(process);
    until("the first process's end", || !is_alive(process));
    assert!(is_alive(child), "its child lives on");
}

#[test]
fn a_paused_container_keeps_its_device() {
    with_each_runtime(|place| {
        let bundle = place.bundle(SLEEP).write();
        let mut container = place.engine.container(&bundle);
        container.create().ok();
        container.start().ok();
        run(container.command("pause").arg(container.id())).ok();
        container.await_status("paused");
        place.the_next_one_is_refused();
        run(container.command("resume").arg(container.id())).ok();
        container.await_status("running");
        place.the_next_one_is_refused();
        container.delete(true).ok();
        place.the_next_one_gets_it();
    });
}

/// Its first process is gone for good, and the others can't end before they are resumed.
#[test]
fn a_paused_rest_of_a_container_keeps_its_device() {
    with_each_runtime(|place| {
        let bundle = place.bundle(PARENT).without_pid_namespace().write();
        let mut container = place.engine.container(&bundle);
        container.create().ok();
        container.start().ok();
        let process = container.pid();
        let child = child_of(process);
        end_first(process, child);
        let groups = container.groups();
        freeze(&groups, true);
        place.the_next_one_is_refused();
        freeze(&groups, false);
        place.the_next_one_is_refused();
        kill(child);
        until("the child's end", || !is_alive(child));
        place.the_next_one_gets_it();
    });
}

fn freeze(groups: &[PathBuf], frozen: bool) {
    let words = |group: &PathBuf| {
        let v2 = (group.join("cgroup.freeze"), if frozen { "1" } else { "0" });
        let v1 = (
            group.join("freezer.state"),
            if frozen { "FROZEN" } else { "THAWED" },
        );
        [v2, v1].into_iter().find(|(file, _)| file.exists())
    };
    let written = groups.iter().filter_map(words).map(|(file, word)| {
        fs::write(&file, word).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    });
    assert!(written.count() > 0, "no group that can be frozen in {groups:?}");
}

/// As systemd does in its container: on v2 and on v1.
#[test]
fn a_container_whose_processes_were_moved_below_keeps_its_device_while_one_lives() {
    with_each_runtime(|place| {
        let bundle = place.bundle(PARENT).without_pid_namespace().write();
        let mut container = place.engine.container(&bundle);
        container.create().ok();
        container.start().ok();
        let process = container.pid();
        let child = child_of(process);
        let moved = move_below(&container, &[process, child]);
        assert!(moved > 0, "{}", place.who);
        place.the_next_one_is_refused();
        end_first(process, child);
        place.the_next_one_is_refused();
        kill(child);
        until("the child's end", || !is_alive(child));
        place.the_next_one_gets_it();
    });
}

/// In each hierarchy that lets it; a new cpuset has no CPUs for anybody yet.
fn move_below(container: &Container<'_>, pids: &[i32]) -> usize {
    let into = |group: &Path, pid: i32| fs::write(group.join("cgroup.procs"), pid.to_string());
    let groups = container.groups().into_iter().filter(|group| {
        let scope = group.join("system.slice/init.scope");
        fs::create_dir_all(&scope).is_ok() && pids.iter().all(|pid| into(&scope, *pid).is_ok())
    });
    groups.count()
}

/// As in a pod: the second container's first process is not the first of its pid namespace, and lives or ends by itself.
#[test]
fn a_container_in_anothers_pid_namespace_keeps_its_device_while_one_of_it_lives() {
    with_each_runtime(|place| {
        let sandbox = place.machine.bundle().script(SLEEP).write();
        let mut sandbox = place.engine.container(&sandbox);
        sandbox.create().ok();
        sandbox.start().ok();
        let joined = format!("/proc/{}/ns/pid", sandbox.pid());
        let join = |config: &mut Value| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
            let pid = namespaces.iter_mut().find(|namespace| namespace["type"] == "pid");
            pid.expect("a pid namespace")["path"] = joined.into();
        };
        let bundle = place.bundle(PARENT).with(join).write();
        let mut container = place.engine.container(&bundle);
        container.create().ok();
        container.start().ok();
        let process = container.pid();
        let child = child_of(process);
        end_first(process, child);
        place.the_next_one_is_refused();
        // The kernel ends whoever is left in there.
        kill(sandbox.pid());
        until("the child's end", || !is_alive(child));
        place.the_next_one_gets_it();
    });
}
