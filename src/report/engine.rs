//! The engine that called this hook, where it is one that throws a hook's standard error away: its own standard
//! error, and its log file.
//!
//! Both belong to whoever started a root hook, so they are trusted. They are still taken from known engines only: a
//! hook whose engine has died is init's child, and init's standard error is the console.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FileType, OFlags, fstat};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getppid, pidfd_getfd, pidfd_open};

use super::place;

/// Engines that give a precreate hook /dev/null for standard error.
const ENGINES: [&str; 2] = ["podman", "buildah"];

/// Runtimes that do so at every stage: crun, under each of its names. Others are heard through the hook's own
/// standard error, or unknown.
const RUNTIMES: [&str; 2] = ["crun", "krun"];

const STDERR: i32 = 2;

/// The process that called us.
pub struct Engine {
    process: OwnedFd,
    arguments: Vec<String>,
}

/// How the records of an engine's log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of text.
    Text,
    /// A JSON object on a line, as runc and crun write it.
    Json,
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

    /// A runtime's log file, as its command line has it, and how the records look. (An engine's command line holds
    /// the container's command too, which is none of its options.)
    ///
    /// Podman shows what its runtime printed only where that file isn't a single record. crun appends one that names
    /// the hook and its exit code; with ours beside it, Podman falls back to what was printed, reason included.
    pub fn log(&self) -> Option<(File, Format)> {
        if !RUNTIMES.contains(&self.name()) {
            return None;
        }
        let path = Path::new(self.option("--log")?);
        let flags = OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = path.is_absolute().then(|| {
            File::options()
                .write(true)
                .custom_flags(flags.bits() as i32)
                .open(path)
        });
        let file = file?.ok()?;
        let is_plain = fstat(&file).is_ok_and(|stat| place::kind(&stat) == FileType::RegularFile);
        let format = match self.option("--log-format") {
            Some("json") => Format::Json,
            _ => Format::Text,
        };
        is_plain.then_some((file, format))
    }

    fn name(&self) -> &str {
        let program = self.arguments.first().map(String::as_str).unwrap_or_default();
        program.rsplit('/').next().unwrap_or_default()
    }

    /// The value of `--name VALUE` or `--name=VALUE`.
    fn option(&self, name: &str) -> Option<&str> {
        let mut arguments = self.arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix(name) {
                Some("") => return arguments.next(),
                Some(rest) if rest.starts_with('=') => return Some(&rest[1..]),
                _ => {}
            }
        }
        None
    }
}

impl Format {
    /// `line` as such a record.
    pub fn record(self, line: &str) -> String {
        match self {
            Format::Text => line.to_owned(),
            Format::Json => serde_json::json!({"msg": line, "level": "error"}).to_string(),
        }
    }
}

/// A process's command line; crun's program can't be told otherwise, since it runs from a sealed copy of itself.
fn arguments(process: Pid) -> Vec<String> {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0);
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called_with(arguments: &[&str]) -> Engine {
        Engine {
            process: File::open("/dev/null").unwrap().into(),
            arguments: arguments.iter().map(|word| word.to_string()).collect(),
        }
    }

    #[test]
    fn the_log_is_found_as_podman_and_containerd_write_it() {
        let path = std::env::temp_dir().join(format!("oci-mig-hook-log-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let name = path.to_str().unwrap();
        let podman = called_with(&["/usr/bin/crun", "--log-format=json", "--log", name, "create"]);
        let containerd = called_with(&["crun", &format!("--log={name}"), "--log-format", "json", "create"]);
        let by_hand = called_with(&["crun", "--log", name, "run"]);
        let formats = [podman, containerd, by_hand].map(|engine| engine.log().map(|(_, format)| format));
        fs::remove_file(&path).unwrap();
        assert_eq!(
            formats,
            [Some(Format::Json), Some(Format::Json), Some(Format::Text)]
        );
    }

    #[test]
    fn only_a_plain_file_is_a_log() {
        for log in ["/dev/null", "relative.log", "journald:id", "/nonexistent/log"] {
            assert!(called_with(&["crun", "--log", log]).log().is_none(), "{log}");
        }
        assert!(called_with(&["crun", "run"]).log().is_none());
    }

    #[test]
    fn a_containers_command_names_no_log_of_ours() {
        let path = std::env::temp_dir().join(format!("oci-mig-hook-victim-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let name = path.to_str().unwrap();
        let podman = called_with(&["/usr/bin/podman", "run", "image", "server", "--log", name]);
        let found = podman.log().is_some();
        fs::remove_file(&path).unwrap();
        assert!(!found);
    }

    #[test]
    fn a_record_is_one_line_of_json_whatever_the_reason_says() {
        let record = Format::Json.record("a \"quoted\" \\ reason");
        assert_eq!(record, r#"{"msg":"a \"quoted\" \\ reason","level":"error"}"#);
    }

    #[test]
    fn a_test_runner_is_no_engine() {
        assert!(Engine::that_called_us().is_none());
    }
}
