//! Whether anything lives in a control group's whole subtree.
//!
//! A zombie counts as nothing on both: v2's `populated` and v1's cgroup.procs drop a task when it exits, not when it
//! is reaped, and a dead leader with living threads still counts (seen on Linux 6.18).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A container that manages its own groups (systemd) has some hundreds. One with more keeps its device out of use until
/// they are gone; it must not keep everybody waiting while they are counted.
const MOST_GROUPS: usize = 4096;

/// What lives in a group and below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Population {
    /// At least one process that has not exited.
    Populated,
    /// Nothing, or the group does not exist (any more).
    Empty,
    /// Its hierarchy is not mounted here or can't be read: no evidence either way.
    Unknown,
}

/// v2 counts for us: `populated` in cgroup.events covers the subtree. Only where one process is not to count, and the
/// group is populated, is it walked.
pub(super) fn v2(directory: &Path, besides: Option<i32>) -> Population {
    match fs::read_to_string(directory.join("cgroup.events")) {
        Ok(events) if events.lines().any(|line| line == "populated 1") => match besides {
            Some(_) => walk(directory, besides),
            None => Population::Populated,
        },
        Ok(events) if events.lines().any(|line| line == "populated 0") => Population::Empty,
        // The root of the whole hierarchy has no such file; it is never a container's own.
        Err(error) if error.kind() == ErrorKind::NotFound && exists(directory) => Population::Unknown,
        Err(error) if is_gone(&error) => Population::Empty,
        _ => Population::Unknown,
    }
}

/// v1 is walked: `besides` is a process that doesn't count. It lists only processes that our pid namespace shows, so a
/// caller in a child pid namespace must not take `Empty` for more than that.
///
/// What is found empty is walked once more: a process that is moved meanwhile (systemd sorts those of its container) may
/// have been behind us each time we looked. Whoever may move them all the time, in every hierarchy, could as well change
/// the device rules there.
pub(super) fn walk(directory: &Path, besides: Option<i32>) -> Population {
    match walk_once(directory, besides) {
        Population::Empty => walk_once(directory, besides),
        found => found,
    }
}

fn walk_once(directory: &Path, besides: Option<i32>) -> Population {
    let counts = |line: &str| besides.is_none_or(|pid| line.parse() != Ok(pid));
    let mut waiting: Vec<PathBuf> = vec![directory.to_owned()];
    let mut seen = 0;
    while let Some(directory) = waiting.pop() {
        seen += 1;
        if seen > MOST_GROUPS {
            return Population::Unknown;
        }
        match fs::read_to_string(directory.join("cgroup.procs")) {
            Ok(procs) if procs.lines().any(counts) => return Population::Populated,
            Ok(_) => {}
            Err(error) if is_gone(&error) => continue,
            // A threaded group of v2 has no list of its own (EOPNOTSUPP): who is in there stands in one further up.
            Err(_) => return Population::Unknown,
        }
        match below(&directory) {
            Ok(directories) => waiting.extend(directories),
            Err(error) if is_gone(&error) => {}
            Err(_) => return Population::Unknown,
        }
    }
    Population::Empty
}

fn below(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.path());
        }
    }
    Ok(directories)
}

fn exists(directory: &Path) -> bool {
    !matches!(fs::symlink_metadata(directory), Err(error) if is_gone(&error))
}

/// Reading a group that is removed meanwhile gives ENODEV.
fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}
