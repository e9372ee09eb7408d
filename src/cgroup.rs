//! Where control groups are, whose they are, and whether anything lives in them. Only reads.
//!
//! Paths are the kernel's own, as /proc/PID/cgroup writes them; [`Mounts`] turns them into directories. On a hybrid
//! host a process is in many hierarchies at once: each v1 controller set and v2.

#![forbid(unsafe_code)]

mod mounts;
mod population;

use std::io;
use std::path::{Component, Path};

use procfs::FromBufRead;
use procfs::ProcessCGroups;
use serde::{Deserialize, Serialize};

pub use mounts::{Mounts, unescape};
pub use population::Population;

/// One group in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CgroupPath {
    /// The hierarchy, as the second field of /proc/PID/cgroup names it: `devices`, `cpu,cpuacct`, `name=systemd`;
    /// empty for v2.
    pub controllers: String,
    /// The group's path from the root of its hierarchy: `/a/b`, or `/` for the root itself.
    pub path: String,
}

impl CgroupPath {
    /// Whether this is a group of the v2 hierarchy.
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether `controller` governs this group's hierarchy (v1 only: v2's controllers aren't in its name).
    pub fn has_controller(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|name| name == controller)
    }

    /// Whether `other` is this very group or lies below it. Groups of two hierarchies are never related.
    fn holds(&self, other: &CgroupPath) -> bool {
        self.controllers == other.controllers && Path::new(&other.path).starts_with(&self.path)
    }
}

/// Every group that `pid` is in, one in each hierarchy, as its /proc/PID/cgroup says.
///
/// A gone process is `NotFound` or ESRCH. A zombie still answers: with its last group on v2 (` (deleted)` after the
/// path once that is removed), with `/` on v1.
pub fn of_process(pid: i32) -> io::Result<Vec<CgroupPath>> {
    parse(&std::fs::read(format!("/proc/{pid}/cgroup"))?)
}

/// The groups of this program and of its parent, the engine or runtime that called it: what [`is_own`] compares a
/// container's group with.
///
/// # Errors
/// Where either can't be read: nothing may then be taken for a container's own. Also where the parent lies outside our
/// pid namespace, so that nobody here can say where it is.
pub fn bystanders() -> io::Result<[Vec<CgroupPath>; 2]> {
    let parent = nix::unistd::getppid().as_raw();
    if parent == 0 {
        let why = "this program's parent is in another pid namespace";
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    Ok([of_process(nix::unistd::getpid().as_raw())?, of_process(parent)?])
}

fn parse(text: &[u8]) -> io::Result<Vec<CgroupPath>> {
    let groups = ProcessCGroups::from_buf_read(text)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let group = |group: procfs::ProcessCGroup| CgroupPath {
        controllers: group.controllers.join(","),
        path: group.pathname,
    };
    Ok(groups.into_iter().map(group).collect())
}

/// Whether `container`'s group is that container's alone: not the root's, nor that of any process in `others` (each
/// as [`of_process`] gives it: the hook's, the engine's), nor an ancestor of those. A group that is shared is
/// evidence of nothing and must not be changed.
///
/// A group outside our own cgroup namespace (`/../x`) can't be compared, so it is nobody's own.
pub fn is_own(container: &CgroupPath, others: &[Vec<CgroupPath>]) -> bool {
    let mut parts = Path::new(&container.path).components();
    let below_root = parts.next() == Some(Component::RootDir)
        && parts.clone().next().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)));
    below_root && !others.iter().flatten().any(|other| container.holds(other))
}

/// The path below a hierarchy's mount that `linux.cgroupsPath` means, in either of its forms: cgroupfs's `/a/b`, or
/// systemd's `slice:prefix:name`. `None` for a relative path, which means something else to each runtime.
fn spec_path(cgroups_path: &str) -> Option<String> {
    if cgroups_path.starts_with('/') {
        return Some(clean(cgroups_path));
    }
    let parts: Vec<&str> = cgroups_path.split(':').collect();
    let [slice, prefix, name] = parts[..] else {
        return None;
    };
    let unit = if name.ends_with(".slice") {
        name.to_owned()
    } else {
        format!("{prefix}-{name}.scope")
    };
    let plain = !name.is_empty() && !unit.contains('/');
    plain
        .then(|| Some(format!("{}/{unit}", expand_slice(slice)?)))
        .flatten()
}

/// Where systemd puts a slice: `a-b.slice` lies in `a.slice`. Without one, runtimes run by root use `system.slice`.
fn expand_slice(slice: &str) -> Option<String> {
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(String::new());
    }
    let mut path = String::new();
    let mut parent = String::new();
    for part in name.split('-') {
        if part.is_empty() || part.contains('/') {
            return None;
        }
        parent.push_str(part);
        path.push_str(&format!("/{parent}.slice"));
        parent.push('-');
    }
    Some(path)
}

/// `path` with `.`, `..` and doubled slashes taken out by text alone, as runtimes do with a cgroupsPath.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(controllers: &str, path: &str) -> CgroupPath {
        CgroupPath {
            controllers: controllers.to_owned(),
            path: path.to_owned(),
        }
    }

    #[test]
    fn every_hierarchy_of_a_process_is_read() {
        let text = b"9:name=systemd:/\n4:cpu,cpuacct:/a:b/c\n0::/user.slice\n";
        assert_eq!(
            parse(text).unwrap(),
            [
                group("name=systemd", "/"),
                group("cpu,cpuacct", "/a:b/c"),
                group("", "/user.slice"),
            ]
        );
        assert!(group("cpu,cpuacct", "/").has_controller("cpuacct"));
        assert!(!group("cpu,cpuacct", "/").has_controller("cpuset"));
        assert!(parse(b"nonsense\n").is_err());
    }

    #[test]
    fn this_process_is_somewhere() {
        assert!(!of_process(std::process::id() as i32).unwrap().is_empty());
        assert_eq!(of_process(i32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_bystanders_are_this_program_and_its_parent() {
        let parent = nix::unistd::getppid().as_raw();
        let expected = [std::process::id() as i32, parent].map(|pid| of_process(pid).unwrap());
        assert_eq!(bystanders().unwrap(), expected);
    }

    #[test]
    fn a_shared_group_is_not_the_containers_own() {
        let hook = vec![group("devices", "/engine/hooks"), group("", "/engine")];
        let engine = vec![group("devices", "/engine"), group("", "/engine/main")];
        let others = [hook, engine];
        for shared in [
            "/",
            "",
            "/engine",
            "/engine/",
            "/engine/hooks",
            "/../elsewhere",
            "x",
        ] {
            assert!(!is_own(&group("devices", shared), &others), "{shared}");
        }
        for own in ["/pod/c1", "/engine/hooks/c1", "/engine/hook", "/engin"] {
            assert!(is_own(&group("devices", own), &others), "{own}");
        }
        assert!(!is_own(&group("", "/engine"), &others));
        assert!(is_own(&group("", "/engine/hooks"), &others));
    }

    #[test]
    fn both_forms_of_a_cgroups_path() {
        for (spec, path) in [
            ("/libpod_parent/libpod-1f", "/libpod_parent/libpod-1f"),
            ("/a//b/./../c/", "/a/c"),
            ("/../../a", "/a"),
            ("/", "/"),
            ("machine.slice:libpod:1f", "/machine.slice/libpod-1f.scope"),
            (
                "a-b-c.slice:docker:1f",
                "/a.slice/a-b.slice/a-b-c.slice/docker-1f.scope",
            ),
            (":runc:1f", "/system.slice/runc-1f.scope"),
            ("-.slice:runc:1f", "/runc-1f.scope"),
            ("pods.slice:ignored:x.slice", "/pods.slice/x.slice"),
        ] {
            assert_eq!(spec_path(spec).as_deref(), Some(path), "{spec}");
        }
        for spec in [
            "",
            "a/b",
            "a:b",
            "machine.slice:libpod:",
            "machine:libpod:1f",
            "a--b.slice:p:n",
            "../x.slice:p:n",
            "a.slice:p:../../n",
            "a.slice:p:n:o",
        ] {
            assert_eq!(spec_path(spec), None, "{spec}");
        }
    }
}
