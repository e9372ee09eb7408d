//! The configuration file: what may stand in it (`File`), and what the program goes by ([`Config`]).
//!
//! Read only for a container that asked, and passed on as values: nothing below this module knows of a file.

#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::failure::Failure;
use crate::mig::Profile;
use crate::policy::Limits;

/// Where the configuration is looked for when no `--config` names it. There it may be absent.
pub const DEFAULT_PATH: &str = "/etc/oci-mig-hook/config.toml";

/// Where a low-level runtime is looked for when no `runtime.path` names one: never on a PATH that came with a call.
pub const RUNTIME_FOLDERS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The newest layout of the file that this program knows.
const VERSION: u32 = 1;

/// Where leases are kept when no `ledger.dir` says otherwise.
pub const DEFAULT_LEDGER: &str = "/run/oci-mig-hook";

/// What the program goes by: every key resolved, each default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that was named with `--config`; the hooks that we write repeat it.
    pub named_file: Option<PathBuf>,
    /// Where the driver shows itself.
    pub driver: Driver,
    /// How NVML is reached.
    pub nvml: Nvml,
    /// `ledger.dir`: the folder of the leases.
    pub ledger_dir: PathBuf,
    /// `lease.pending`: how long a lease may wait for its container to come into being.
    pub pending: Duration,
    /// `runtime.path`: the low-level runtime that `oci-mig-runtime` runs; by default the first that is there.
    pub runtime: Option<PathBuf>,
    /// `requests.environment`: whether a container's environment may ask, where its annotations don't.
    pub environment_asks: bool,
    /// `allow_privileged`: hand devices to containers that can't be isolated.
    pub allow_privileged: bool,
    /// `mask_proc`: show a container of the driver's part of /proc only what is about its own devices.
    pub mask_proc: bool,
    /// `guard`: what is done about containers that reach NVIDIA's devices and did not ask.
    pub guard: Guard,
    /// `unmanaged`: what is done about a device that somebody uses without a lease.
    pub unmanaged: Unmanaged,
    /// What any one container may take: `limits.*`.
    pub limits: Limits,
    /// `limits.waiting`: how many containers may wait at once.
    pub waiting: usize,
}

/// What is done about a free device that a process uses: somebody started it by hand, or another way hands out devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unmanaged {
    /// It isn't given to anybody.
    #[default]
    Skip,
    /// NVML isn't asked.
    Ignore,
}

/// What is done about a container that did not ask and would reach NVIDIA's devices all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guard {
    /// Nothing: it isn't even looked at.
    #[default]
    Off,
    /// It is told of, and starts.
    Warn,
    /// It doesn't start.
    Refuse,
    /// It starts without them.
    Strip,
}

/// What is left of a configuration that is wrong somewhere: enough to find the runtime that living containers are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Essentials {
    /// `runtime.path`, as in [`Config`].
    pub runtime: Option<PathBuf>,
    /// `ledger.dir`, as in [`Config`].
    pub ledger_dir: PathBuf,
}

/// Where the driver shows itself: `driver.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// `driver.root`: its libraries lie below this folder.
    pub root: PathBuf,
    /// `driver.proc`: `devices` and `driver/nvidia` lie below this folder.
    pub proc: PathBuf,
    /// `driver.dev`: its device nodes lie in this folder.
    pub dev: PathBuf,
}

/// How NVML is reached: `nvml.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nvml {
    /// `nvml.library`: the library's file; by default the loader finds it.
    pub library: Option<PathBuf>,
    /// `nvml.deadline`: how long one call may take.
    pub deadline: Duration,
    /// `nvml.avoid`: for how long a GPU is left alone at which one took longer; none where it isn't.
    pub avoid: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    version: Option<u32>,
    allow_privileged: bool,
    mask_proc: Option<bool>,
    guard: Guard,
    unmanaged: Unmanaged,
    driver: DriverTable,
    nvml: NvmlTable,
    ledger: LedgerTable,
    lease: LeaseTable,
    limits: LimitsTable,
    requests: RequestsTable,
    runtime: RuntimeTable,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DriverTable {
    root: Option<PathBuf>,
    proc: Option<PathBuf>,
    dev: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NvmlTable {
    library: Option<PathBuf>,
    deadline: Option<String>,
    avoid: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LedgerTable {
    dir: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LeaseTable {
    pending: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LimitsTable {
    devices: Option<u32>,
    wait: Option<String>,
    waiting: Option<usize>,
    profiles: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RequestsTable {
    environment: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RuntimeTable {
    path: Option<PathBuf>,
}

impl Config {
    /// Reads the file that `--config` named, or the default one, which may be absent.
    ///
    /// # Errors
    /// A host failure that names the file, the key and what would be right.
    pub fn load(named: Option<&Path>) -> Result<Config, Failure> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => String::new(),
            Err(error) => return Err(bad(path, &error.to_string())),
        };
        read(&text)
            .and_then(|file| resolve(file, named))
            .map_err(|why| bad(path, &why))
    }
}

impl Essentials {
    /// Reads what can be read of the file that [`Config::load`] has failed on. None where it is not even TOML, or one of
    /// the essentials is wrong itself.
    pub fn salvage(named: Option<&Path>) -> Option<Essentials> {
        let text = std::fs::read_to_string(named.unwrap_or(Path::new(DEFAULT_PATH))).ok()?;
        let file: toml::Table = toml::from_str(&text).ok()?;
        let path = |table: &str, key: &str| match file.get(table).map(|table| table.get(key)) {
            None | Some(None) => Some(None),
            Some(Some(value)) => value.as_str().map(|path| Some(PathBuf::from(path))),
        };
        Some(Essentials {
            runtime: named_path("runtime.path", path("runtime", "path")?).ok()?,
            ledger_dir: absolute("ledger.dir", path("ledger", "dir")?, DEFAULT_LEDGER).ok()?,
        })
    }
}

fn bad(path: &Path, why: &str) -> Failure {
    Failure::host(format!("configuration file {}", path.display()), why)
        .remedy("correct it; every key is explained in oci-mig-hook(1)")
}

/// A file that says it is of a newer layout is not guessed at, whatever else stands in it.
fn read(text: &str) -> Result<File, String> {
    let file = toml::from_str::<File>(text);
    let version = match &file {
        Ok(file) => file.version,
        Err(_) => said_version(text),
    };
    match version {
        Some(version) if version > VERSION => Err(format!(
            "its version is {version}, and this program knows versions up to {VERSION}"
        )),
        Some(0) => Err("version = 0 is none; the first is 1".to_owned()),
        _ => file.map_err(|error| parse_error(text, &error)),
    }
}

fn said_version(text: &str) -> Option<u32> {
    let table: toml::Table = toml::from_str(text).ok()?;
    u32::try_from(table.get("version")?.as_integer()?).ok()
}

/// The parser's message with its line number, without the excerpt that it would draw over several lines.
fn parse_error(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
    format!("line {line}: {}", error.message())
}

fn resolve(file: File, named: Option<&Path>) -> Result<Config, String> {
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

fn absolute(key: &str, value: Option<PathBuf>, default: &str) -> Result<PathBuf, String> {
    let path = value.unwrap_or_else(|| PathBuf::from(default));
    match path.is_absolute() {
        true => Ok(path),
        false => Err(format!("{key} = \"{}\" is not an absolute path", path.display())),
    }
}

/// A path that has no default.
fn named_path(key: &str, value: Option<PathBuf>) -> Result<Option<PathBuf>, String> {
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
fn parse_length(text: &str) -> Option<Duration> {
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

fn profiles(names: &[String]) -> Result<Vec<Profile>, String> {
    let parse = |name: &String| name.parse().map_err(|error| format!("limits.profiles: {error}"));
    names.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        resolve(read(text)?, None)
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.driver.proc, Path::new("/proc"));
        assert_eq!(config.ledger_dir, Path::new("/run/oci-mig-hook"));
        assert_eq!(config.pending, Duration::from_secs(120));
        assert_eq!(config.nvml.avoid, Some(Duration::from_secs(300)));
        assert_eq!(parse("[nvml]\navoid = \"off\"").unwrap().nvml.avoid, None);
        assert!(config.mask_proc && !parse("mask_proc = false").unwrap().mask_proc);
        assert_eq!(config.guard, Guard::Off);
        assert_eq!(config.unmanaged, Unmanaged::Skip);
        assert_eq!(
            config.limits,
            Limits {
                devices: 8,
                wait: Duration::from_secs(86_400),
                profiles: None
            }
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let unknown = parse("[nvml]\nlibary = \"/x\"\n").unwrap_err();
        assert!(unknown.starts_with("line 2: unknown field `libary`"), "{unknown}");
        let unknown = parse("unmanaged = \"give\"").unwrap_err();
        assert!(
            unknown.starts_with("line 1: unknown variant `give`, expected `skip` or `ignore`"),
            "{unknown}"
        );
        let unknown = parse("guard = \"on\"").unwrap_err();
        assert!(
            unknown.starts_with("line 1: unknown variant `on`, expected one of `off`"),
            "{unknown}"
        );
        for (text, expected) in [
            (
                "[nvml]\ndeadline = \"soon\"",
                "nvml.deadline = \"soon\" is not a length of time like \"10s\"",
            ),
            (
                "[nvml]\navoid = \"0s\"",
                "nvml.avoid = \"0s\" is not a length of time like \"5m\"",
            ),
            (
                "[lease]\npending = \"0s\"",
                "lease.pending = \"0s\" is not a length of time like \"2m\"",
            ),
            (
                "[ledger]\ndir = \"run\"",
                "ledger.dir = \"run\" is not an absolute path",
            ),
            (
                "[limits]\nprofiles = [\"big\"]",
                "limits.profiles: 'big' is not a profile like 1g.10gb, 1c.3g.40gb or 1g.10gb+me",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_newer_layout_is_not_guessed_at() {
        parse("version = 1\nguard = \"warn\"").unwrap();
        for newer in ["version = 2", "version = 2\n[unheard]\nof = true"] {
            assert_eq!(
                parse(newer).unwrap_err(),
                "its version is 2, and this program knows versions up to 1"
            );
        }
        assert_eq!(
            parse("version = 0").unwrap_err(),
            "version = 0 is none; the first is 1"
        );
        assert!(parse("version = \"2\"").unwrap_err().starts_with("line 1: "));
    }

    #[test]
    fn lengths_of_time_are_whole_numbers_with_a_unit() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(parse_length(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "30 s",
            "1d",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(parse_length(text), None, "{text}");
        }
    }
}
