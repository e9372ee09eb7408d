//! The engine that called this hook, where it is one that throws a hook's standard error away: its own standard
//! error, and its log file.
//!
//! Both belong to whoever started a root hook, so they are trusted. They are still taken from known engines only: a
//! hook whose engine has died is init's child, and init's standard error is the console.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getppid, pidfd_getfd, pidfd_open};

use crate::oci::{Log, RuntimeCall};

/// Engines that give a precreate hook /dev/null for standard error.
const ENGINES: [&str; 2] = ["podman", "buildah"];

/// Runtimes that do so at every stage: crun, under each of its names. Others are heard through the hook's own
/// standard error, or unknown.
const RUNTIMES: [&str; 2] = ["crun", "krun"];

const STDERR: i32 = 2;

/// The process that called us.
pub struct Engine {
    process: OwnedFd,
    arguments: Vec<OsString>,
}

impl Engine {
    /// Our parent, if it is one of those that don't say on what a hook says.
    pub fn that_called_us() -> Option<Self> {
        let parent = getppid()?;
        let process = pidfd_open(parent, PidfdFlags::empty()).ok()?;
        let engine = Engine {
            process,
            arguments: arguments(parent),
        };
        let is_known = ENGINES.contains(&engine.name()) || RUNTIMES.contains(&engine.name());
        // Still our parent: so that number was its own all the while, and no other process is meant.
        (is_known && getppid() == Some(parent)).then_some(engine)
    }

    /// Its standard error: the very same open file. Opened anew, a plain file would be written from its beginning,
    /// and what the engine writes afterwards would overwrite us.
    pub fn stderr(&self) -> Option<OwnedFd> {
        pidfd_getfd(&self.process, STDERR, PidfdGetfdFlags::empty()).ok()
    }

    /// A runtime's log, as its command line has it. (An engine's command line holds the container's command too, which
    /// is none of its options.) A relative path would be one from its own folder, which is not ours.
    ///
    /// Podman shows what its runtime printed only where that file isn't a single record. crun appends one that names
    /// the hook and its exit code; with ours beside it, Podman falls back to what was printed, reason included.
    pub fn log(&self) -> Option<Log> {
        if !RUNTIMES.contains(&self.name()) {
            return None;
        }
        let words = self.arguments.get(1..)?;
        RuntimeCall::parse(words).log.filter(|log| log.file.is_absolute())
    }

    fn name(&self) -> &str {
        let program = self.arguments.first().and_then(|word| word.to_str());
        program.unwrap_or_default().rsplit('/').next().unwrap_or_default()
    }
}

/// A process's command line; crun's program can't be told otherwise, since it runs from a sealed copy of itself.
fn arguments(process: Pid) -> Vec<OsString> {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0);
    words.map(|word| OsStr::from_bytes(word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::oci::LogFormat;

    fn log_of(line: &str) -> Option<Log> {
        let engine = Engine {
            process: File::open("/dev/null").unwrap().into(),
            arguments: line.split(' ').map(OsString::from).collect(),
        };
        engine.log()
    }

    #[test]
    fn the_log_is_found_as_podman_and_containerd_write_it() {
        let log = |format| {
            Some(Log {
                file: "/x/log".into(),
                format,
            })
        };
        let podman = log_of("/usr/bin/crun --log-format=json --log /x/log create c");
        let containerd = log_of("crun --log=/x/log --log-format json create c");
        let by_hand = log_of("crun --log /x/log run c");
        let expected = [LogFormat::Json, LogFormat::Json, LogFormat::Text].map(log);
        assert_eq!([podman, containerd, by_hand], expected);
        assert_eq!(log_of("crun --log relative.log run c"), None);
        assert_eq!(log_of("crun run c"), None);
    }

    #[test]
    fn a_containers_command_names_no_log_of_ours() {
        assert_eq!(log_of("/usr/bin/podman run image server --log /x/log"), None);
        assert_eq!(log_of("crun exec c server --log /x/log"), None);
    }

    #[test]
    fn a_test_runner_is_no_engine() {
        assert!(Engine::that_called_us().is_none());
    }
}
