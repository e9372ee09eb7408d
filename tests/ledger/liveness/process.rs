//! One process: running, stopped, ended in part or whole; and numbers that are no process's.

use std::fs::File;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use oci_mig_hook::lease::Process;
use oci_mig_hook::lease::liveness::Here;
use oci_mig_hook::lease::transition::ProcessState::{Alive, Gone, Unknown};

use super::{signal, spawn, state, until, wait_for_letter};

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
    signal(process.pid, Signal::SIGSTOP);
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
    signal(process.pid, Signal::SIGKILL);
    until(|| (state(&process) == Gone).then_some(()));
}

/// The thread takes over the leader's number and its start; the leader ends.
#[test]
fn a_process_whose_other_thread_executes_a_program_is_the_same() {
    let script = "import os, threading, time\n\
                  time.sleep(0.1)\n\
                  threading.Thread(target=os.execv, args=('/bin/sleep', ['renewed', '100'])).start()\n\
                  time.sleep(100)";
    let (_child, process) = spawn("python3", &["-c", script]);
    until(|| {
        assert_eq!(state(&process), Alive);
        let line = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap();
        line.starts_with(b"renewed").then_some(())
    });
    assert_eq!(state(&process), Alive);
}

/// A thread's number has a folder in /proc as a process's has, and no pidfd.
#[test]
fn a_threads_number_is_nobodys_process_and_nobody_is_bound_to_it() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        sender.send(nix::unistd::gettid().as_raw()).unwrap();
        let _ = wait.recv();
    });
    let number = receiver.recv().unwrap();
    let (_child, process) = spawn("sleep", &["100"]);
    let before = Process {
        pid: number,
        start: process.start - 10,
        ..process
    };
    assert_eq!(state(&before), Gone, "it was a process's when it was recorded");
    let failure = Here::look().unwrap().name_process(number).unwrap_err();
    assert!(failure.to_string().contains("a thread's number"), "{failure}");
    drop(done);
    thread.join().unwrap();
}

/// A number stays taken while a process group has it for its name.
#[test]
fn a_number_that_is_still_a_groups_name_is_no_process() {
    let (child, process) = spawn("setsid", &["sh", "-c", "sleep 100 & :"]);
    wait_for_letter(process.pid, 'Z');
    drop(child);
    assert_eq!(state(&process), Gone);
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(process.pid), Signal::SIGKILL)
        .expect("its group lives on");
}

#[test]
fn a_number_that_no_process_can_have_says_nothing() {
    let (_child, process) = spawn("sleep", &["100"]);
    for pid in [0, -1, i32::MIN] {
        assert_eq!(state(&Process { pid, ..process }), Unknown);
        Here::look().unwrap().name_process(pid).unwrap_err();
    }
}

/// In a thread with descriptors of its own, all of which are taken: neither a pidfd nor /proc is to be had.
#[test]
fn without_descriptors_whoever_has_his_number_is_alive() {
    let (_child, living) = spawn("sleep", &["100"]);
    let (_unreaped, zombie) = spawn("true", &[]);
    wait_for_letter(zombie.pid, 'Z');
    let (child, reaped) = spawn("sleep", &["100"]);
    drop(child);
    let look = || {
        let here = Here::look().unwrap();
        unshare(CloneFlags::CLONE_FILES).unwrap();
        let file = File::open("/dev/null").unwrap();
        let _taken: Vec<File> = std::iter::from_fn(|| file.try_clone().ok()).collect();
        [living, zombie, reaped].map(|process| here.process_state(&process))
    };
    let seen = std::thread::scope(|scope| scope.spawn(look).join().unwrap());
    assert_eq!(seen, [Alive, Alive, Gone]);
    assert_eq!(state(&zombie), Gone);
}
