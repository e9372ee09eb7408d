//! A runtime's log file: where an engine looks for what went wrong, and what it shows instead of anything that its
//! runtime printed.

#![forbid(unsafe_code)]

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{FileType, OFlags, fstat};

use super::place;
use crate::oci::{Log, LogFormat};

/// Adds `line` to that log, made where it isn't there yet, as runtimes do.
pub fn say(log: &Log, level: &str, line: &str) {
    if let Some(file) = open(log) {
        place::say(file.as_fd(), &record(log.format, level, line));
    }
}

/// Only a plain file is a log: nothing is written to a device, and nobody waits for a FIFO's reader.
fn open(log: &Log) -> Option<File> {
    let flags = OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = File::options();
    options
        .write(true)
        .create(true)
        .mode(0o644)
        .custom_flags(flags.bits() as i32);
    let file = options.open(&log.file).ok()?;
    let is_plain = fstat(&file).is_ok_and(|stat| place::kind(&stat) == FileType::RegularFile);
    is_plain.then_some(file)
}

/// `line` as runc and crun write a record of that format.
fn record(format: LogFormat, level: &str, line: &str) -> String {
    match format {
        LogFormat::Text => line.to_owned(),
        LogFormat::Json => serde_json::json!({"msg": line, "level": level}).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn said(file: &Path, format: LogFormat) -> Option<String> {
        let log = Log {
            file: file.to_owned(),
            format,
        };
        say(&log, "error", "a \"quoted\" \\ reason");
        std::fs::read_to_string(file).ok()
    }

    #[test]
    fn a_record_is_one_line_whatever_the_reason_says() {
        let path = std::env::temp_dir().join(format!("oci-mig-hook-log-{}", std::process::id()));
        let json = said(&path, LogFormat::Json);
        let both = said(&path, LogFormat::Text);
        std::fs::remove_file(&path).unwrap();
        let record = "{\"msg\":\"a \\\"quoted\\\" \\\\ reason\",\"level\":\"error\"}\n";
        assert_eq!(json.as_deref(), Some(record));
        assert_eq!(both, Some(format!("{record}a \"quoted\" \\ reason\n")));
    }

    #[test]
    fn only_a_plain_file_is_a_log() {
        for file in ["/dev/null", "/nonexistent/log", "/"] {
            let log = Log {
                file: file.into(),
                format: LogFormat::Text,
            };
            assert!(open(&log).is_none(), "{file}");
        }
    }
}
