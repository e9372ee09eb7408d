//! A stand-in for a container: a process that waits, in pid and mount namespaces and control groups of its own, as a
//! runtime would have made them. In its root filesystem's procfs the driver shows itself as the simulated node has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// With the root filesystem and the folder of the driver as arguments.
const SETUP: &str = "mount --bind \"$1\" \"$1\" && mount -t proc proc \"$1/proc\" && \
                     mount --bind \"$2\" \"$1/proc/driver\" && exec cat";

const CGROUPS: &str = "/sys/fs/cgroup";

/// Lives until it is dropped; then its process is gone and its groups are removed, as before a runtime's poststop.
#[derive(Debug)]
pub struct Container {
    pid: u32,
    parent: Child,
    groups: Vec<PathBuf>,
}

impl Container {
    /// Its groups have this path in every hierarchy; `driver` is what is to be seen as /proc/driver below `root`.
    pub fn start(cgroups_path: &str, root: &Path, driver: &Path) -> Result<Container> {
        // It reads from a pipe of ours: however we end, so does it.
        let parent = Command::new("unshare")
            .args(["--pid", "--mount", "--fork", "sh", "-c", SETUP, "sh"])
            .args([root, driver])
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
        container.await_setup()?;
        Ok(container)
    }

    /// The container's first process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What a runtime has done by the time that it calls hooks: then it is another program.
    fn await_setup(&self) -> Result<()> {
        let name = format!("/proc/{}/comm", self.pid);
        let started = Instant::now();
        while fs::read_to_string(&name)? != "cat\n" {
            ensure!(
                started.elapsed() < Duration::from_secs(10),
                "its mounts can't be made"
            );
            thread::sleep(Duration::from_micros(100));
        }
        Ok(())
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
