//! A control group that is made for one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_mig_hook::cgroup::{CgroupPath, Mounts, of_process};
use oci_mig_hook::lease::liveness::Here;
use oci_mig_hook::lease::transition::CgroupState;
use oci_mig_hook::lease::{LeaseState, Process};

use crate::node::{container_of, lease_of};

/// Below the test's own group; gone afterwards.
pub struct Group {
    pub group: CgroupPath,
    pub directory: PathBuf,
}

impl Group {
    /// One in each hierarchy that is mounted here.
    pub fn everywhere(name: &str) -> Vec<Group> {
        let mounts = Mounts::read().unwrap();
        let own = of_process(std::process::id() as i32).unwrap();
        let groups: Vec<Group> = own
            .into_iter()
            .filter_map(|parent| Group::below(&mounts, parent, name))
            .collect();
        assert!(!groups.is_empty(), "no control group hierarchy is mounted here");
        groups
    }

    fn below(mounts: &Mounts, mut group: CgroupPath, name: &str) -> Option<Group> {
        // A process can join a new cpuset only once it has been given CPUs: not this test's matter.
        if group.has_controller("cpuset") {
            return None;
        }
        let above = group.path.trim_end_matches('/');
        group.path = format!("{above}/oci-mig-hook-{name}-{}", std::process::id());
        let directory = mounts.directory(&group)?;
        fs::create_dir(&directory).unwrap();
        Some(Group { group, directory })
    }

    /// A folder below it.
    pub fn sub(&self, name: &str) -> PathBuf {
        let sub = self.directory.join(name);
        fs::create_dir(&sub).unwrap();
        sub
    }

    pub fn add(&self, pid: i32) {
        join(&self.directory, pid);
    }

    /// What is seen of this group in the lease of a container whose process is that one.
    pub fn seen_of(&self, process: Process) -> CgroupState {
        self.seen_by(&Here::look().unwrap(), process)
    }

    /// The same as an observer sees it who looked around before.
    pub fn seen_by(&self, here: &Here, process: Process) -> CgroupState {
        let mut container = container_of("c", process);
        container.cgroups = vec![self.group.clone()];
        let lease = lease_of(container, LeaseState::Held);
        here.evidence(&lease, Duration::from_secs(120)).cgroup
    }
}

/// Moves a process into the group of that folder.
pub fn join(directory: &Path, pid: i32) {
    fs::write(directory.join("cgroup.procs"), pid.to_string())
        .unwrap_or_else(|why| panic!("{}: {why}", directory.display()));
}

impl Drop for Group {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        let _ = fs::remove_dir(&self.directory);
    }
}
