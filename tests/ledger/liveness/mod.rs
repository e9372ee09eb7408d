//! Gone or alive, on real processes and real cgroups: a test for each row of the tables in `src/lease/liveness.rs`.

mod boot;
mod cgroups;
mod elsewhere;
mod group;
mod hidden;
mod mounts;
mod moving;
mod pid_namespace;
mod pid_reuse;
mod process;
mod time_namespace;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oci_mig_hook::lease::liveness::Here;
use oci_mig_hook::lease::transition::ProcessState;
use oci_mig_hook::lease::{LeaseState, Process};

use crate::node::{container_of, lease_of};
use elsewhere::status_in;

/// A child that ends with its test.
pub struct Ended(Child);

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
        .unwrap_or_else(|why| panic!("{program}: {why}; run tests/setup"));
    let process = Here::look().unwrap().name_process(child.id() as i32).unwrap();
    (Ended(child), process)
}

fn state(process: &Process) -> ProcessState {
    Here::look().unwrap().process_state(process)
}

/// What `status` says of a held lease of that process, without a cgroup of its own, when run behind these words.
fn seen_by(words: &[&str], process: Process) -> String {
    status_in(words, &lease_of(container_of("c", process), LeaseState::Held))
}

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Until the process is in that state as /proc has it: `Z` for a zombie, `T` for a stopped one.
fn wait_for_letter(pid: i32, letter: char) {
    until(|| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let behind_command = stat.rsplit(") ").next().unwrap();
        behind_command.starts_with(letter).then_some(())
    });
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
