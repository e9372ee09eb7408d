//! The configuration file: what the program goes by ([`Config`]).
//!
//! Read only for a container that asked, and passed on as values: nothing below this module knows of a file.
//!
//! ```text
//! file.rs        what may stand in it
//! resolve.rs     each value understood, each default filled in
//! essentials.rs  what can be read of one that is wrong somewhere
//! ```

#![forbid(unsafe_code)]

mod essentials;
mod file;
mod resolve;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::policy::Limits;
pub use essentials::Essentials;
use file::read;
use resolve::resolve;

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

/// Where the driver shows itself: `driver.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// `driver.root`: its libraries lie below this folder.
    pub root: PathBuf,
    /// `driver.proc`: `devices` and `driver/nvidia` lie below this folder.
    pub proc: PathBuf,
    /// `driver.dev`: its device nodes lie in this folder.
    pub dev: PathBuf,
    /// `driver.files`: which of its files a container is given.
    pub files: Files,
    /// `driver.sockets`: of which of its daemons a container is given the socket.
    pub sockets: Vec<Daemon>,
    /// `driver.mps`: the folder of the MPS daemon's pipes, if containers are to have that.
    pub mps: Option<PathBuf>,
    /// `driver.cdi`: the folders of CDI files, the last the most important.
    pub cdi: Vec<PathBuf>,
}

/// A daemon of the driver's that listens at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Daemon {
    /// nvidia-persistenced.
    Persistenced,
    /// nv-fabricmanager. It is told there to connect and part GPUs, whoever's they are.
    Fabricmanager,
}

/// Where the driver's libraries and programs come from that a container is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Files {
    /// From this machine, found by us.
    #[default]
    Host,
    /// As NVIDIA's own CDI file says.
    Cdi,
    /// NVIDIA's own hook or runtime comes after us, and gives nodes and files.
    Nvidia,
    /// It is given none.
    None,
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

fn bad(path: &Path, why: &str) -> Failure {
    Failure::host(format!("configuration file {}", path.display()), why)
        .remedy("correct it; every key is explained in oci-mig-hook(1)")
}
