//! Gone or alive, on real processes and real cgroups.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci_mig_hook::cgroup::{self, CgroupPath, Mounts};
use oci_mig_hook::lease::liveness::{self, Here};
use oci_mig_hook::lease::transition::CgroupState;
use oci_mig_hook::lease::transition::ProcessState::{self, Alive, Gone, Unknown};
use oci_mig_hook::lease::{Container, LeaseState, Process};

use crate::node::{container_of, lease_of};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(program: &str, args: &[&str]) -> (Ended, Process) {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let process = Here::look().unwrap().name_process(child.id() as i32).unwrap();
    (Ended(child), process)
}

fn state(process: &Process) -> ProcessState {
    Here::look().unwrap().process_state(process)
}

/// Until the process is in that state as /proc has it: `Z` for a zombie, `T` for a stopped one.
fn wait_for_letter(pid: i32, letter: char) {
    until(|| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ")
            .next()
            .unwrap()
            .starts_with(letter)
            .then_some(())
    });
}

#[test]
fn a_running_process_is_alive_and_an_ended_one_gone() {
    let (child, process) = spawn("sleep", &["100"]);
    assert_eq!(state(&process), Alive);
    drop(child);
    assert_eq!(state(&process), Gone);
}

#[test]
fn a_zombie_is_gone() {
    let (child, process) = spawn("true", &[]);
    wait_for_letter(process.pid, 'Z');
    assert_eq!(state(&process), Gone);
    drop(child);
}

#[test]
fn a_stopped_process_is_alive() {
    let (_child, process) = spawn("sleep", &["100"]);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(process.pid),
        nix::sys::signal::Signal::SIGSTOP,
    )
    .unwrap();
    wait_for_letter(process.pid, 'T');
    assert_eq!(state(&process), Alive);
}

#[test]
fn a_dead_leader_with_a_living_thread_is_alive() {
    let script = "import ctypes, threading, time\n\
                  threading.Thread(target=time.sleep, args=(100,)).start()\n\
                  ctypes.CDLL(None).pthread_exit(None)";
    let (_child, process) = spawn("python3", &["-c", script]);
    wait_for_letter(process.pid, 'Z');
    assert_eq!(state(&process), Alive);
}

#[test]
fn another_process_of_the_same_pid_is_not_the_one_that_was_meant() {
    let (_child, process) = spawn("sleep", &["100"]);
    let earlier = Process {
        start: process.start - 1,
        ..process
    };
    assert_eq!(state(&earlier), Gone);
}

#[test]
fn a_pid_that_is_now_a_threads_is_nobodys_process() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        sender.send(nix::unistd::gettid().as_raw()).unwrap();
        let _ = wait.recv();
    });
    let (_child, process) = spawn("sleep", &["100"]);
    let reused = Process {
        pid: receiver.recv().unwrap(),
        ..process
    };
    assert_eq!(state(&reused), Gone);
    drop(done);
    thread.join().unwrap();
}

#[test]
fn a_pid_of_another_namespace_says_nothing() {
    let (_child, process) = spawn("sleep", &["100"]);
    assert_eq!(
        state(&Process {
            pid_namespace: 1,
            ..process
        }),
        Unknown
    );
}

#[test]
fn a_lease_is_overdue_by_the_clock_that_nobody_sets() {
    let (_child, process) = spawn("sleep", &["100"]);
    let here = Here::look().unwrap();
    let mut lease = lease_of(container_of("c", process), LeaseState::Pending);
    assert!(!here.evidence(&lease, Duration::from_secs(120)).overdue);
    lease.written = liveness::now() - 120_001;
    assert!(here.evidence(&lease, Duration::from_secs(120)).overdue);
    lease.boot_id = "another".into();
    assert!(!here.evidence(&lease, Duration::from_secs(120)).this_boot);
}

/// A v1 cgroup.procs shows only what its reader's pid namespace shows: from inside another one, a full cgroup is empty.
#[test]
fn a_cgroup_looks_empty_only_from_the_pid_namespace_in_which_its_holder_was_recorded() {
    let here = Here::look().unwrap();
    let mounts = Mounts::read().unwrap();
    let own = cgroup::of_process(std::process::id() as i32).unwrap();
    let is_mounted = |group: &CgroupPath| mounts.directory(group).is_some();
    let groups: Vec<CgroupPath> = own
        .into_iter()
        .filter(is_mounted)
        .map(|group| CgroupPath {
            path: format!("{}/no-such-group", group.path.trim_end_matches('/')),
            ..group
        })
        .collect();
    assert!(!groups.is_empty());
    let (child, process) = spawn("sleep", &["100"]);
    drop(child);
    for group in groups {
        let is_v2 = group.is_v2();
        let mut container = container_of("c", process);
        container.cgroups = vec![group.clone()];
        let seen = |lease| here.evidence(&lease, Duration::from_secs(120)).cgroup;
        assert_eq!(
            seen(lease_of(container.clone(), LeaseState::Held)),
            CgroupState::Empty,
            "{group:?}"
        );
        container.process.pid_namespace = 1;
        let expected = if is_v2 {
            CgroupState::Empty
        } else {
            CgroupState::Unknown
        };
        assert_eq!(seen(lease_of(container, LeaseState::Held)), expected, "{group:?}");
    }
}

/// Or anyone who puts a process into the cgroup of a container that ended could keep its device out of use.
#[test]
fn a_container_with_a_pid_namespace_of_its_own_is_gone_with_its_first_process() {
    let here = Here::look().unwrap();
    let (child, process) = spawn("unshare", &["--pid", "--fork", "sleep", "100"]);
    let init = until(|| {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", process.pid)).unwrap();
        let init: i32 = children.trim().parse().ok()?;
        here.is_init_of_another_namespace(init).ok()?.then_some(init)
    });
    assert!(
        !here.is_init_of_another_namespace(process.pid).unwrap(),
        "its parent is in ours"
    );
    let mut container = container_of("c", here.name_process(init).unwrap());
    container.own_pid_namespace = true;
    // The cgroup of this very test: populated as long as anyone asks.
    container.cgroups = cgroup::of_process(std::process::id() as i32).unwrap();
    let evidence = |container: &Container| {
        here.evidence(
            &lease_of(container.clone(), LeaseState::Held),
            Duration::from_secs(120),
        )
    };
    assert_eq!(evidence(&container).process, Alive);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(init),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    until(|| (evidence(&container).process == Gone).then_some(()));
    assert_eq!(evidence(&container).cgroup, CgroupState::None);
    container.own_pid_namespace = false;
    assert_eq!(evidence(&container).cgroup, CgroupState::Populated);
    drop(child);
}

fn until<T>(look: impl Fn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
}
