//! A process that nobody can end, as one is that hangs in the driver: in cgroup v1's freezer not even SIGKILL ends it.

use std::fs;
use std::path::PathBuf;

use super::cgroups::View;
use super::process::{is_alive, until};
use super::scratch;

/// A frozen process; thawed, and expected to end by itself, when this is dropped.
pub struct Frozen {
    pid: i32,
    group: PathBuf,
}

impl Frozen {
    /// Freezes that process. Only where [`View::V1`] is offered.
    pub fn new(pid: i32) -> Self {
        let name = format!("sys/fs/cgroup/freezer/{}/{}", scratch::name(), scratch::number());
        let group = View::V1.path(format!("/{name}"));
        fs::create_dir_all(&group).expect("a cgroup");
        fs::write(group.join("cgroup.procs"), pid.to_string()).expect("a process in a cgroup");
        fs::write(group.join("freezer.state"), "FROZEN").expect("a frozen cgroup");
        let state = || fs::read_to_string(group.join("freezer.state")).expect("its state");
        until("a frozen process", || state().trim() == "FROZEN");
        super::process::kill(pid);
        Self { pid, group }
    }

    /// Whether it is still there: it was killed the moment it was frozen.
    pub fn is_alive(&self) -> bool {
        is_alive(self.pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let thawed = fs::write(self.group.join("freezer.state"), "THAWED");
        let ended = super::process::holds_within(super::process::DEADLINE, || !is_alive(self.pid));
        let _ = fs::remove_dir(&self.group);
        if !std::thread::panicking() {
            thawed.expect("a thawed cgroup");
            assert!(ended, "process {} is thawed and doesn't end", self.pid);
        }
    }
}
