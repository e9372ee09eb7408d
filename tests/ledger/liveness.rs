//! Gone or alive, on real processes and real cgroups.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci_mig_hook::lease::liveness::Here;
use oci_mig_hook::lease::transition::ProcessState::{self, Alive, Gone, Unknown};
use oci_mig_hook::lease::{LeaseState, Process};

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
    let started = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        if stat.rsplit(") ").next().unwrap().starts_with(letter) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{stat}");
        std::thread::sleep(Duration::from_millis(5));
    }
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
    lease.written = here.now - 120_001;
    assert!(here.evidence(&lease, Duration::from_secs(120)).overdue);
    lease.boot_id = "another".into();
    assert!(!here.evidence(&lease, Duration::from_secs(120)).this_boot);
}
