//! Each value of the file understood, and each default filled in. The error says which key has which value, and what is
//! wrong with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::File;
use super::{Config, DEFAULT_LEDGER, Daemon, Driver, Nvml};
use crate::mig::Kind;
use crate::policy::Limits;

pub fn resolve(file: File, named: Option<&Path>) -> Result<Config, String> {
    let named_file = named
        .map(std::path::absolute)
        .transpose()
        .map_err(|error| error.to_string())?;
    Ok(Config {
        named_file,
        driver: Driver {
            root: absolute("driver.root", file.driver.root, "/")?,
            proc: absolute("driver.proc", file.driver.proc, "/proc")?,
            dev: absolute("driver.dev", file.driver.dev, "/dev")?,
            files: file.driver.files,
            sockets: file.driver.sockets.unwrap_or_else(|| vec![Daemon::Persistenced]),
            mps: named_path("driver.mps", file.driver.mps)?,
            cdi: folders("driver.cdi", file.driver.cdi, &["/etc/cdi", "/var/run/cdi"])?,
        },
        nvml: Nvml {
            library: named_path("nvml.library", file.nvml.library)?,
            deadline: length("nvml.deadline", file.nvml.deadline.as_deref(), "10s")?,
            avoid: match file.nvml.avoid.as_deref() {
                Some("off") => None,
                other => Some(length("nvml.avoid", other, "5m")?),
            },
        },
        ledger_dir: absolute("ledger.dir", file.ledger.dir, DEFAULT_LEDGER)?,
        pending: length("lease.pending", file.lease.pending.as_deref(), "2m")?,
        runtime: named_path("runtime.path", file.runtime.path)?,
        environment_asks: file.requests.environment,
        allow_privileged: file.allow_privileged,
        mask_proc: file.mask_proc.unwrap_or(true),
        guard: file.guard,
        waiting: file.limits.waiting.unwrap_or(64),
        unmanaged: file.unmanaged,
        limits: Limits {
            devices: file.limits.devices.unwrap_or(8),
            wait: length("limits.wait", file.limits.wait.as_deref(), "24h")?,
            profiles: file.limits.profiles.map(|names| profiles(&names)).transpose()?,
        },
    })
}

pub fn absolute(key: &str, value: Option<PathBuf>, default: &str) -> Result<PathBuf, String> {
    let path = value.unwrap_or_else(|| PathBuf::from(default));
    match path.is_absolute() {
        true => Ok(path),
        false => Err(format!("{key} = \"{}\" is not an absolute path", path.display())),
    }
}

fn folders(key: &str, value: Option<Vec<PathBuf>>, default: &[&str]) -> Result<Vec<PathBuf>, String> {
    let paths = value.unwrap_or_else(|| default.iter().map(PathBuf::from).collect());
    paths
        .into_iter()
        .map(|path| absolute(key, Some(path), ""))
        .collect()
}

/// A path that has no default.
pub fn named_path(key: &str, value: Option<PathBuf>) -> Result<Option<PathBuf>, String> {
    value.map(|path| absolute(key, Some(path), "")).transpose()
}

fn length(key: &str, value: Option<&str>, default: &str) -> Result<Duration, String> {
    let text = value.unwrap_or(default);
    match parse_length(text) {
        Some(length) if !length.is_zero() => Ok(length),
        _ => Err(format!(
            "{key} = \"{text}\" is not a length of time like \"{default}\""
        )),
    }
}

/// A whole number followed by `ms`, `s`, `m` or `h`; nothing else, and nothing that overflows.
pub fn parse_length(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    digits
        .parse::<u64>()
        .ok()?
        .checked_mul(milliseconds)
        .map(Duration::from_millis)
}

fn profiles(names: &[String]) -> Result<Vec<Kind>, String> {
    let parse = |name: &String| name.parse().map_err(|error| format!("limits.profiles: {error}"));
    names.iter().map(parse).collect()
}
