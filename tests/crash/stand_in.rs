//! A process that stands for a container's first one: it sleeps, in control groups of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

use crate::support::bundle::cgroups_path;
use crate::support::cgroups::View;
use crate::support::scratch;

/// Hierarchies that a container has a group in, as far as they are mounted here.
const HIERARCHIES: [&str; 3] = ["", "devices", "unified"];

/// Such a process; it ends when this is dropped.
pub struct StandIn {
    process: Child,
    groups: Vec<PathBuf>,
}

impl StandIn {
    /// Its control groups are those that a container of this view would have.
    pub fn new(view: View) -> Self {
        let process = Command::new("sleep").arg("1000").spawn().expect("sleep");
        let id = format!("stand-in-{}", scratch::number());
        let groups = HIERARCHIES
            .iter()
            .map(|hierarchy| view.path("/sys/fs/cgroup").join(hierarchy))
            .filter(|top| top.join("cgroup.procs").exists());
        let groups: Vec<_> = groups
            .map(|top| top.join(cgroups_path(&id).trim_start_matches('/')))
            .collect();
        assert!(!groups.is_empty(), "no control groups in /sys/fs/cgroup");
        for group in &groups {
            fs::create_dir_all(group).expect("a control group");
            fs::write(group.join("cgroup.procs"), process.id().to_string())
                .expect("a control group's process");
        }
        Self { process, groups }
    }

    pub fn pid(&self) -> i32 {
        self.process.id() as i32
    }

    /// Ends it, as a runtime ends a container whose hook failed.
    pub fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.end();
        for group in &self.groups {
            // What can't be removed yet goes with the tests' own group.
            let _ = fs::remove_dir(group);
        }
    }
}
