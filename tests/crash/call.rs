//! One system call of a traced process, and what it is about.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::kinds::{About, Kind};

/// A call, as it was seen at its entry.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Who makes it.
    pub pid: Pid,
    /// Which of the processes and threads of the stage that is, in the order in which they came into being.
    pub process: usize,
    /// The first thread of its process.
    pub leader: usize,
    pub kind: Kind,
    pub arguments: [u64; 6],
}

impl Call {
    /// Whether the kernel could answer this call with that error.
    pub fn fits(&self, errno: Errno) -> bool {
        if !self.kind.errors.contains(&errno) {
            return false;
        }
        let argument = |at: usize| self.arguments[at] as i32;
        match (self.kind.name, self.kind.flags()) {
            // The others ask or set what an open file has: a debug build of Rust does before each close.
            ("fcntl", _) => [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC].contains(&argument(1)),
            // A folder's has nothing to write back. Rust's own panics at any other answer.
            ("close", _) => errno == Errno::EINTR || !self.is_of_a_folder(),
            ("write", _) => !self.says_why(),
            (_, Some(flags)) if matches!(errno, Errno::ENOSPC | Errno::EROFS) => {
                let makes_or_writes = libc::O_CREAT | libc::O_WRONLY | libc::O_RDWR | libc::O_TRUNC;
                argument(flags) & makes_or_writes != 0
            }
            _ => true,
        }
    }

    /// It is the one line on standard error, by whatever number: no program can say that it can't say.
    fn says_why(&self) -> bool {
        let file = |number: u64| {
            let found = fs::metadata(format!("/proc/{}/fd/{number}", self.pid)).ok()?;
            Some((found.dev(), found.ino()))
        };
        file(self.arguments[0]) == file(2)
    }

    fn is_of_a_folder(&self) -> bool {
        fs::metadata(format!("/proc/{}/fd/{}", self.pid, self.arguments[0])).is_ok_and(|found| found.is_dir())
    }

    /// Whether it is a write to standard output.
    pub fn answers(&self) -> bool {
        self.kind.name.starts_with("write") && self.arguments[0] == 1
    }

    /// Whether Rust's runtime ends its own preparations with it: what comes next is the program's `main`.
    pub fn comes_before_main(&self) -> bool {
        let sets_a_handler = self.kind.name == "rt_sigaction" && self.arguments[1] != 0;
        sets_a_handler && self.arguments[0] as i32 == libc::SIGBUS
    }

    /// The file or folder that it is about, as far as there is one.
    pub fn subject(&self) -> Option<PathBuf> {
        match self.kind.about {
            About::Nothing => None,
            About::File(at) => self.open_file(at),
            About::Path(at) => self.text(at).map(PathBuf::from),
            About::Below(at) => {
                let text = self.text(at)?;
                let folder = self.open_file(at - 1);
                Some(folder.map_or_else(|| PathBuf::from(&text), |folder| folder.join(&text)))
            }
        }
    }

    fn open_file(&self, at: usize) -> Option<PathBuf> {
        let number = self.arguments[at] as i32;
        if number < 0 {
            return None;
        }
        fs::read_link(format!("/proc/{}/fd/{number}", self.pid)).ok()
    }

    fn text(&self, at: usize) -> Option<String> {
        let memory = File::open(format!("/proc/{}/mem", self.pid)).ok()?;
        let mut text = Vec::new();
        // Byte by byte: the page behind it may not be there.
        for place in self.arguments[at].. {
            let mut byte = [0];
            memory.read_exact_at(&mut byte, place).ok()?;
            if byte == [0] || text.len() > 4096 {
                break;
            }
            text.push(byte[0]);
        }
        String::from_utf8(text).ok()
    }
}
