//! Front doors for runtimes. Each reads its document to the end, does nothing for a container that didn't ask, and
//! otherwise puts the rooms below to work in order.

#![forbid(unsafe_code)]

mod create_runtime;
mod poststop;
mod precreate;

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::failure::Failure;
use crate::host::Host;
use crate::lease::{Lease, Ledger};
use crate::mig::MigUuid;
use crate::release;
use crate::request::keys;
use crate::reserve::Rules;

/// The stages of a container's life at which an engine calls us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Podman's: config.json on standard input, the edited one on standard output.
    Precreate,
    /// The container exists, its process hasn't started.
    CreateRuntime,
    /// createRuntime's older name.
    Prestart,
    /// The container is gone.
    Poststop,
}

/// What an engine's hook entry passes to a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--devices UUID,...`: what was edited into the container. Only in hook entries that we wrote.
    pub devices: Option<Vec<MigUuid>>,
}

/// Runs a stage.
///
/// # Errors
/// Whatever stops the container, or keeps its devices from being given back.
pub fn run(stage: Stage, options: &Options) -> Result<(), Failure> {
    // To the end, whatever happens: crun fails a container whose hook does not.
    let mut document = Vec::new();
    std::io::stdin()
        .read_to_end(&mut document)
        .map_err(|error| Failure::host("can't read standard input", error))?;
    match stage {
        Stage::Precreate => precreate::run(document, options),
        Stage::CreateRuntime | Stage::Prestart => create_runtime::run(&document, options),
        Stage::Poststop => poststop::run(&document, options),
    }
}

impl Stage {
    /// By the word that hook entries use.
    pub fn from_word(word: &str) -> Option<Stage> {
        match word {
            "precreate" => Some(Stage::Precreate),
            "createRuntime" => Some(Stage::CreateRuntime),
            "prestart" => Some(Stage::Prestart),
            "poststop" => Some(Stage::Poststop),
            _ => None,
        }
    }
}

impl Options {
    /// Reads a hook entry's arguments; none where there is anything that hook entries don't have. It is here, and
    /// not in the command line's types, because a container that didn't ask pays for every instruction.
    pub fn from_hook_arguments<'a>(mut args: impl Iterator<Item = &'a str>) -> Option<Options> {
        let mut options = Options::default();
        while let Some(name) = args.next() {
            let value = args.next()?;
            match name {
                "--config" => options.config = Some(value.into()),
                "--devices" => {
                    options.devices = Some(
                        value
                            .split(',')
                            .map(|uuid| uuid.parse().ok())
                            .collect::<Option<_>>()?,
                    )
                }
                // Said for whoever takes the edits out again; a stage has the lease.
                "--nodes" => {}
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Whether any of a container's annotations concerns us, so that anything needs to be opened at all.
fn concerns_us<'a>(mut keys: impl Iterator<Item = &'a str>) -> bool {
    keys.any(keys::is_ours)
}

fn host(config: &Config) -> Host {
    Host::new(config.driver.clone(), config.nvml.clone())
}

fn rules(config: &Config) -> Rules {
    Rules {
        limits: config.limits.clone(),
        pending: config.pending,
    }
}

fn refuse_unless_isolated(config: &Config, why_not: Option<String>) -> Result<(), Failure> {
    match why_not {
        Some(why) if !config.allow_privileged => {
            Err(Failure::refused("this container can't be isolated", why).remedy(
                "run it without those rights, or set allow_privileged = true to trust every such container",
            ))
        }
        _ => Ok(()),
    }
}

/// The ledger is root's. In a user namespace we only look like root.
fn refuse_rootless() -> Result<(), Failure> {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let initial = map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    match initial && nix::unistd::geteuid().is_root() {
        true => Ok(()),
        false => Err(Failure::refused(
            "no MIG device for a rootless container",
            "only root can write the ledger of leases",
        )
        .remedy("start it as root (sudo podman ...)")),
    }
}

/// Its container won't come into being: the reservation goes back at once.
fn undo(ledger: &Ledger, lease: &Lease, failure: Failure) -> Failure {
    match ledger
        .lock()
        .and_then(|mut ledger| release::undo(&mut ledger, &lease.id))
    {
        Ok(()) => failure,
        Err(other) => failure.and(&other),
    }
}

fn forged(why: &str) -> Failure {
    Failure::usage(format!("annotation {}", keys::LEASE), why)
        .remedy("remove it: it is written by oci-mig-hook alone")
}

/// This program's own file, for hooks that must find it again.
fn program() -> Result<PathBuf, Failure> {
    let found =
        std::env::current_exe().map_err(|error| Failure::host("can't tell where this program is", error))?;
    match found.exists() {
        true => Ok(found),
        false => Err(Failure::host(
            format!("this program is no longer at {}", found.display()),
            "it was replaced meanwhile",
        )
        .remedy("start the container again")),
    }
}

fn config(options: &Options) -> Result<Config, Failure> {
    Config::load(options.config.as_deref().map(Path::new))
}
