//! A stand-in for a container: a process that waits, in a pid namespace and control groups of its own, as a
//! runtime would have made them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

const CGROUPS: &str = "/sys/fs/cgroup";

/// Lives until it is dropped; then its process is gone and its groups are removed, as before a runtime's poststop.
#[derive(Debug)]
pub struct Container {
    pid: u32,
    parent: Child,
    groups: Vec<PathBuf>,
}

impl Container {
    /// Its groups have this path in every hierarchy.
    pub fn start(cgroups_path: &str) -> Result<Container> {
        // It reads from a pipe of ours: however we end, so does it.
        let parent = Command::new("unshare")
            .args(["--pid", "--fork", "cat"])
            .stdin(Stdio::piped())
            .spawn()
            .context("unshare")?;
        let mut container = Container {
            pid: first_child(parent.id())?,
            parent,
            groups: Vec::new(),
        };
        for hierarchy in hierarchies()? {
            container.join(&hierarchy, cgroups_path.trim_start_matches('/'))?;
        }
        Ok(container)
    }

    /// The container's first process.
    pub fn pid(&self) -> u32 {
        self.pid
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
        // The end of its input is its end, and that its parent's.
        drop(self.parent.stdin.take());
        let _ = self.parent.wait();
        for group in &self.groups {
            // Its parent too, once the last is gone.
            let _ = fs::remove_dir(group);
            let _ = group.parent().map(fs::remove_dir);
        }
    }
}

fn first_child(parent: u32) -> Result<u32> {
    let children = format!("/proc/{parent}/task/{parent}/children");
    let started = Instant::now();
    loop {
        if let Some(pid) = fs::read_to_string(&children)?.split_ascii_whitespace().next() {
            return Ok(pid.parse()?);
        }
        ensure!(
            started.elapsed() < Duration::from_secs(10),
            "unshare starts nothing"
        );
        thread::sleep(Duration::from_micros(100));
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
