//! A process's mounts, as the kernel lists them: /proc/PID/mountinfo.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use crate::cgroup::unescape;
use crate::failure::Failure;

/// The list, of a process or `thread-self`.
pub fn mountinfo(process: &str) -> Result<String, Failure> {
    let file = format!("/proc/{process}/mountinfo");
    let text = std::fs::read(&file);
    text.map(|text| String::from_utf8_lossy(&text).into_owned())
        .map_err(|error| {
            Failure::host(
                "can't tell the container's mounts from the host's",
                format!("read of {file}: {error}"),
            )
            .remedy("/proc must be mounted here and the container still alive: start it again")
        })
}

/// One mount.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The kernel's number of it.
    pub id: u64,
    /// The mount that it lies on.
    pub parent: u64,
    /// Its file system's device, `major:minor`.
    pub device: &'a str,
    /// What of that file system it shows.
    root: &'a str,
    /// Where it is, its spaces and the like escaped.
    pub escaped_point: &'a str,
    /// What is mounted in it is mounted in others too.
    pub is_shared: bool,
    /// Its file system's type.
    kind: &'a str,
}

impl<'a> Line<'a> {
    /// Reads a line; none where it is none.
    pub fn parse(line: &'a str) -> Option<Line<'a>> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut words = mount.split(' ');
        Some(Line {
            id: words.next()?.parse().ok()?,
            parent: words.next()?.parse().ok()?,
            device: words.next()?,
            root: words.next()?,
            escaped_point: words.next()?,
            // After its options.
            is_shared: words.skip(1).any(|word| word.starts_with("shared:")),
            kind: file_system.split(' ').next()?,
        })
    }

    /// Where it is.
    pub fn point(&self) -> PathBuf {
        unescape(self.escaped_point)
    }

    /// Whether it is a procfs, from its root.
    pub fn is_whole_procfs(&self) -> bool {
        self.kind == "proc" && self.root == "/"
    }

    /// Whether it lies right over that other mount, which nobody can reach any more.
    pub fn hides(&self, other: &Line<'_>) -> bool {
        self.parent == other.id && self.escaped_point == other.escaped_point
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_mounted_where_and_who_else_sees_it() {
        let line = Line::parse("102 99 0:91 / /run/a\\040b/proc rw,nosuid shared:7 master:3 - proc proc rw")
            .unwrap();
        assert_eq!((line.id, line.parent, line.device), (102, 99, "0:91"));
        assert_eq!(line.point(), PathBuf::from("/run/a b/proc"));
        assert!(line.is_shared && line.is_whole_procfs());
        let over = Line::parse("103 102 0:92 / /run/a\\040b/proc rw - tmpfs shared:1 rw").unwrap();
        assert!(over.hides(&line) && !line.hides(&over) && !over.is_shared);
        let part = Line::parse("104 99 0:91 /sys /run/proc/sys ro - proc proc rw").unwrap();
        assert!(!part.is_whole_procfs());
        for broken in ["", "1 2 3", "x 99 0:91 / / rw - proc proc rw"] {
            assert!(Line::parse(broken).is_none(), "{broken}");
        }
    }
}
