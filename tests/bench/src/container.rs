//! A stand-in for a container: a process that waits in control groups of its own, as a runtime would have made them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

const CGROUPS: &str = "/sys/fs/cgroup";

/// Lives until it is dropped; then its process is gone and its groups are removed, as before a runtime's poststop.
#[derive(Debug)]
pub struct Container {
    process: Child,
    groups: Vec<PathBuf>,
}

impl Container {
    /// Its groups have this path in every hierarchy.
    pub fn start(cgroups_path: &str) -> Result<Container> {
        // It reads from a pipe of ours: however we end, so does it.
        let process = Command::new("cat").stdin(Stdio::piped()).spawn().context("cat")?;
        let mut container = Container {
            process,
            groups: Vec::new(),
        };
        for hierarchy in hierarchies()? {
            container.join(&hierarchy, cgroups_path.trim_start_matches('/'))?;
        }
        Ok(container)
    }

    /// The container's first process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn join(&mut self, hierarchy: &Path, path: &str) -> Result<()> {
        let group = hierarchy.join(path);
        fs::create_dir_all(&group).with_context(|| group.display().to_string())?;
        self.groups.push(group.clone());
        let procs = group.join("cgroup.procs");
        fs::write(&procs, self.pid().to_string()).with_context(|| procs.display().to_string())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for group in &self.groups {
            // Its parent too, once the last is gone.
            let _ = fs::remove_dir(group);
            let _ = group.parent().map(fs::remove_dir);
        }
    }
}

/// The folders of all hierarchies. Not v1's cpuset: a new group of that takes no process before it is set up.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let top = PathBuf::from(CGROUPS);
    if top.join("cgroup.procs").exists() {
        return Ok(vec![top]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&top).context(CGROUPS)? {
        let folder = entry?.path();
        if folder.join("cgroup.procs").exists() && !folder.join("cpuset.cpus").exists() {
            found.push(folder);
        }
    }
    Ok(found)
}
