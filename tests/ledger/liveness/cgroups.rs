//! What a container's own cgroups show once its first process has gone.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use oci_mig_hook::cgroup::{Mounts, Population};
use oci_mig_hook::lease::transition::CgroupState::{Empty, Populated};
use oci_mig_hook::lease::transition::ProcessState::{Alive, Gone};
use oci_mig_hook::lease::{LeaseState, Process};

use super::elsewhere::status_in;
use super::group::{Group, join};
use super::{signal, spawn, state, until};
use crate::node::{container_of, lease_of};

/// A process that has ended.
fn ended() -> Process {
    let (child, process) = spawn("true", &[]);
    drop(child);
    process
}

/// systemd sorts the processes of its container into groups that it makes below.
#[test]
fn whoever_was_moved_below_is_found_until_it_ends() {
    for group in Group::everywhere("moved") {
        let gone = ended();
        let slice = group.sub("system.slice");
        let scope = slice.join("init.scope");
        fs::create_dir(&scope).unwrap();
        assert_eq!(group.seen_of(gone), Empty, "{:?}", group.group);
        let (child, process) = spawn("sleep", &["100"]);
        for place in [&group.directory, &slice, &scope, &slice] {
            join(place, process.pid);
            assert_eq!(group.seen_of(gone), Populated, "{}", place.display());
        }
        drop(child);
        assert_eq!(group.seen_of(gone), Empty, "{:?}", group.group);
        fs::remove_dir(&scope).unwrap();
    }
}

#[test]
fn a_dead_leader_with_a_living_thread_populates_and_a_zombie_does_not() {
    let script = "import ctypes, threading, time\n\
                  threading.Thread(target=time.sleep, args=(100,)).start()\n\
                  ctypes.CDLL(None).pthread_exit(None)";
    for group in Group::everywhere("leader") {
        let (child, process) = spawn("python3", &["-c", script]);
        group.add(process.pid);
        super::wait_for_letter(process.pid, 'Z');
        assert_eq!(group.seen_of(ended()), Populated, "{:?}", group.group);
        signal(process.pid, Signal::SIGKILL);
        until(|| (state(&process) == Gone).then_some(()));
        assert_eq!(group.seen_of(ended()), Empty, "{:?}", group.group);
        drop(child);
    }
}

/// Where a group can be frozen, and with which words.
fn freezer(group: &Group) -> Option<(&'static str, [&'static str; 2])> {
    match group.group.is_v2() {
        true => Some(("cgroup.freeze", ["1", "0"])),
        false => group
            .group
            .has_controller("freezer")
            .then_some(("freezer.state", ["FROZEN", "THAWED"])),
    }
}

fn is_frozen(group: &Path) -> bool {
    let read = |name| fs::read_to_string(group.join(name)).unwrap_or_default();
    read("cgroup.events").contains("frozen 1") || read("freezer.state") == "FROZEN\n"
}

#[test]
fn a_frozen_process_is_alive_and_populates() {
    let mut frozen = 0;
    for group in Group::everywhere("frozen") {
        let Some((file, [freeze, thaw])) = freezer(&group) else {
            continue;
        };
        let (child, process) = spawn("sleep", &["100"]);
        group.add(process.pid);
        fs::write(group.directory.join(file), freeze).unwrap();
        until(|| is_frozen(&group.directory).then_some(()));
        assert_eq!(state(&process), Alive, "{file}");
        assert_eq!(group.seen_of(ended()), Populated, "{file}");
        signal(process.pid, Signal::SIGKILL);
        if !group.group.is_v2() {
            // Killed, it ends only when it is let: until then it has all that it had.
            assert_eq!(state(&process), Alive, "{file}");
            assert_eq!(group.seen_of(ended()), Populated, "{file}");
        }
        fs::write(group.directory.join(file), thaw).unwrap();
        until(|| (state(&process) == Gone).then_some(()));
        assert_eq!(group.seen_of(ended()), Empty, "{file}");
        drop(child);
        frozen += 1;
    }
    assert!(frozen > 0, "no hierarchy in which a group can be frozen");
}

/// Too long rather than too short: somebody else's life is taken for the container's own.
#[test]
fn a_group_made_anew_under_the_same_name_is_judged_by_who_is_in_it_now() {
    for group in Group::everywhere("anew") {
        let gone = ended();
        fs::remove_dir(&group.directory).unwrap();
        assert_eq!(group.seen_of(gone), Empty, "{:?}", group.group);
        fs::create_dir(&group.directory).unwrap();
        assert_eq!(group.seen_of(gone), Empty, "{:?}", group.group);
        let (child, process) = spawn("sleep", &["100"]);
        group.add(process.pid);
        assert_eq!(group.seen_of(gone), Populated, "{:?}", group.group);
        drop(child);
        assert_eq!(group.seen_of(gone), Empty, "{:?}", group.group);
    }
}

/// The paths of a record mean other groups in another cgroup namespace.
#[test]
fn from_another_cgroup_namespace_a_group_is_not_judged() {
    for group in Group::everywhere("namespace") {
        let mut container = container_of("c", ended());
        container.cgroups = vec![group.group.clone()];
        let lease = lease_of(container, LeaseState::Held);
        assert_eq!(status_in(&["env"], &lease), "stale");
        assert_eq!(
            status_in(&["unshare", "--cgroup"], &lease),
            "releasing",
            "{:?}",
            group.group
        );
    }
}

/// v2 lets a process spread its threads over groups, whose cgroup.procs can't be read then.
#[test]
fn threads_in_groups_of_their_own_populate() {
    let mut groups = Group::everywhere("threaded");
    groups.retain(|group| group.group.is_v2());
    let group = groups.pop().expect("cgroup v2 is mounted here");
    let sub = group.sub("threads");
    fs::write(sub.join("cgroup.type"), "threaded").unwrap();
    let (child, process) = spawn("sleep", &["100"]);
    group.add(process.pid);
    fs::write(sub.join("cgroup.threads"), process.pid.to_string()).unwrap();
    let unreadable = fs::read_to_string(sub.join("cgroup.procs")).unwrap_err();
    assert_eq!(unreadable.raw_os_error(), Some(libc::EOPNOTSUPP));
    assert_eq!(group.seen_of(ended()), Populated);
    // Who is in there besides that one can't be told: that is no reason to think nobody.
    let besides = |pid| Mounts::read().unwrap().population(&group.group, Some(pid));
    assert_eq!(besides(process.pid), Population::Unknown);
    assert_eq!(besides(process.pid + 1), Population::Populated);
    drop(child);
    assert_eq!(group.seen_of(ended()), Empty);
}
