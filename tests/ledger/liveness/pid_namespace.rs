//! A record of one pid namespace, seen from another: its number says nothing there.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use oci_mig_hook::lease::liveness::Here;
use oci_mig_hook::lease::transition::CgroupState;
use oci_mig_hook::lease::transition::ProcessState::{Alive, Gone, Unknown};
use oci_mig_hook::lease::{Container, LeaseState, Process};

use super::elsewhere::{refusal_in, status_in};
use super::group::Group;
use super::{seen_by, signal, spawn, state, until};
use crate::node::{container_of, lease_of};

/// A shell that is the first process of a pid namespace of its own; all in there ends with it.
pub struct Inside {
    unshare: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    init: String,
}

impl Inside {
    pub fn new() -> Inside {
        let mut unshare = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (run tests/setup)");
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let input = unshare.stdin.take().unwrap();
        let output = BufReader::new(unshare.stdout.take().unwrap());
        let mut inside = Inside {
            unshare,
            input,
            output,
            init: String::new(),
        };
        assert_eq!(inside.ask("echo $$"), "1");
        inside.init = std::fs::read_to_string(children).unwrap().trim().to_owned();
        inside
    }

    /// A line that the shell answers to these.
    pub fn ask(&mut self, script: &str) -> String {
        writeln!(self.input, "{script}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// What a program is run behind to be in there.
    pub fn words(&self) -> [&str; 5] {
        ["nsenter", "--target", &self.init, "--pid", "--mount"]
    }

    /// The namespace's inode.
    pub fn namespace(&self) -> u64 {
        std::fs::metadata(format!("/proc/{}/ns/pid", self.init))
            .unwrap()
            .ino()
    }

    /// The first process's number out here.
    fn init(&self) -> i32 {
        self.init.parse().unwrap()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

#[test]
fn from_another_pid_namespace_a_process_is_neither_alive_nor_gone() {
    let inside = Inside::new();
    let (child, process) = spawn("sleep", &["100"]);
    // The same number in there is nobody's.
    assert_eq!(seen_by(&inside.words(), process), "held");
    let from_there = Process {
        pid: 1,
        start: 1,
        pid_namespace: inside.namespace(),
    };
    assert_eq!(state(&from_there), Unknown);
    drop(child);
    assert_eq!(seen_by(&inside.words(), process), "held");
    assert_eq!(seen_by(&["env"], process), "stale", "out here it can be told");
}

/// A record that an engine in there wrote, of a process in there.
#[test]
fn in_the_namespace_of_its_record_a_process_is_judged() {
    let mut inside = Inside::new();
    let answer = inside.ask("sleep 100 & read -r line </proc/$!/stat; set -- $! ${line##*) }; echo $1 ${21}");
    let (pid, start) = answer.split_once(' ').unwrap();
    let process = Process {
        pid: pid.parse().unwrap(),
        start: start.parse().unwrap(),
        pid_namespace: inside.namespace(),
    };
    assert_eq!(seen_by(&inside.words(), process), "held");
    assert_eq!(
        inside.ask(&format!("kill -9 {pid}; wait {pid} 2>/dev/null; echo ended")),
        "ended"
    );
    assert_eq!(seen_by(&inside.words(), process), "stale");
    assert_eq!(state(&process), Unknown, "out here it can't be told");
}

/// Its numbers aren't those that the kernel takes from us: whom we find there is somebody else.
#[test]
fn with_the_proc_of_another_pid_namespace_nobody_is_judged() {
    let (_child, process) = spawn("sleep", &["100"]);
    let lease = lease_of(container_of("c", process), LeaseState::Held);
    let said = refusal_in(&["unshare", "--pid", "--fork"], &lease);
    assert!(said.contains("/proc is that of another pid namespace"), "{said}");
}

/// v2 counts whoever is in a group; v1's cgroup.procs shows only whom its reader's pid namespace shows.
#[test]
fn a_full_cgroup_is_never_empty_from_another_pid_namespace() {
    let inside = Inside::new();
    for group in Group::everywhere("elsewhere") {
        let (child, process) = spawn("sleep", &["100"]);
        group.add(process.pid);
        let mut container = container_of("c", process);
        container.cgroups = vec![group.group.clone()];
        let lease = lease_of(container, LeaseState::Held);
        let seen = || status_in(&inside.words(), &lease);
        assert_eq!(seen(), "held", "{:?}", group.group);
        drop(child);
        let expected = if group.group.is_v2() { "stale" } else { "held" };
        assert_eq!(seen(), expected, "{:?}", group.group);
        assert_eq!(status_in(&["env"], &lease), "stale");
    }
}

/// What lives in a nested pid namespace is seen from the one above it.
#[test]
fn a_process_of_a_nested_pid_namespace_populates_its_cgroup() {
    for group in Group::everywhere("nested") {
        let inside = Inside::new();
        group.add(inside.init());
        let (child, process) = spawn("true", &[]);
        drop(child);
        assert_eq!(
            group.seen_of(process),
            CgroupState::Populated,
            "{:?}",
            group.group
        );
        drop(inside);
        until(|| (group.seen_of(process) == CgroupState::Empty).then_some(()));
    }
}

/// Or anyone who puts a process into the cgroup of a container that ended could keep its device out of use.
#[test]
fn a_container_with_a_pid_namespace_of_its_own_is_gone_with_its_first_process() {
    let here = Here::look().unwrap();
    let inside = Inside::new();
    assert!(here.is_init_of_another_namespace(inside.init()).unwrap());
    let unshare = inside.unshare.id() as i32;
    assert!(
        !here.is_init_of_another_namespace(unshare).unwrap(),
        "its parent is in ours"
    );
    let mut container = container_of("c", here.name_process(inside.init()).unwrap());
    container.own_pid_namespace = true;
    // The cgroup of this very test: populated as long as anyone asks.
    container.cgroups = oci_mig_hook::cgroup::of_process(std::process::id() as i32).unwrap();
    let evidence = |container: &Container| {
        let lease = lease_of(container.clone(), LeaseState::Held);
        here.evidence(&lease, Duration::from_secs(120))
    };
    assert_eq!(evidence(&container).process, Alive);
    signal(inside.init(), Signal::SIGKILL);
    until(|| (evidence(&container).process == Gone).then_some(()));
    assert_eq!(evidence(&container).cgroup, CgroupState::None);
    container.own_pid_namespace = false;
    assert_eq!(evidence(&container).cgroup, CgroupState::Populated);
}
