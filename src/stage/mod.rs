//! Front doors for runtimes. Each reads its document to the end, does nothing for a container that didn't ask, and
//! otherwise puts the rooms below to work in order.

#![forbid(unsafe_code)]

mod before_create;
mod create_runtime;
mod driver_files;
mod guard;
mod isolation;
mod mask;
mod options;
mod pod;
mod poststop;
mod precreate;
pub mod runtime;
mod unstoppable;

use std::io::Read;
use std::path::PathBuf;

use crate::config::Config;
use crate::failure::Failure;
use crate::host::Host;
use crate::lease::liveness::Here;
use crate::lease::{Lease, Ledger};
use crate::oci::State;
use crate::release;
use crate::request::keys;
use crate::reserve::Reserver;

use before_create::{Making, may_concern_us, to_bytes};
use driver_files::{DriverFiles, refuse_where_it_exists, toolkit_after_us};
use guard::{Suspect, judge, refuse_beside_a_lease, refuse_nvidias_hook};
use isolation::{in_initial_user_namespace, refuse_other_devices, refuse_rootless, refuse_unless_isolated};
use mask::mask_proc;
pub use options::Options;
use pod::{asked, asked_by, is_to_be_served};
use unstoppable::Unstoppable;

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

/// Where a stage says what doesn't end it.
#[derive(Clone, Copy)]
pub struct Voice<'a> {
    /// Told what is to be said of a container that starts all the same.
    pub warn: &'a dyn Fn(&Failure),
    /// Told now and then what a container waits for.
    pub wait: &'a dyn Fn(&Failure),
}

/// Runs a stage.
///
/// # Errors
/// Whatever stops the container, or keeps its devices from being given back.
pub fn run(stage: Stage, options: &Options, voice: Voice<'_>) -> Result<(), Failure> {
    let _signals = Unstoppable::from_now_on();
    let document = read_document()?;
    match stage {
        Stage::Precreate => precreate::run(document, options, voice),
        Stage::CreateRuntime | Stage::Prestart => create_runtime::run(&document, options, voice),
        Stage::Poststop => poststop::run(&document, options),
    }
}

/// Everything on standard input. To the end, whatever happens: crun fails a container whose hook does not.
///
/// # Errors
/// A host failure where it can't be read.
pub fn read_document() -> Result<Vec<u8>, Failure> {
    let mut document = Vec::new();
    let read = std::io::stdin().read_to_end(&mut document);
    read.map_err(|error| {
        Failure::host("can't read the container's document on standard input", error)
            .remedy("an OCI runtime calls this hook; see README for how to set it up")
    })?;
    Ok(document)
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

/// Whether any of a container's annotations concerns us, so that anything needs to be opened at all.
fn concerns_us<'a>(mut keys: impl Iterator<Item = &'a str>) -> bool {
    keys.any(keys::is_ours)
}

fn host(config: &Config) -> Host {
    Host::new(config)
}

fn reserver<'a>(
    config: &'a Config,
    host: &'a Host,
    ledger: &'a Ledger,
    here: &'a Here,
    voice: Voice<'a>,
) -> Reserver<'a> {
    Reserver {
        gpus: host,
        ledger,
        here,
        limits: &config.limits,
        pending: config.pending,
        waiting: config.waiting,
        patience: None,
        tell: voice.wait,
    }
}

/// Its container won't come into being: the reservation goes back at once.
fn undo(ledger: &Ledger, lease: &Lease, failure: Failure) -> Failure {
    match ledger
        .lock()
        .and_then(|mut ledger| release::undo(&mut ledger, lease))
    {
        Ok(()) => failure,
        Err(other) => failure.and(&other),
    }
}

/// crun writes a hook's standard error into any file of the host that the container's annotations name. What stands in
/// our line is the container's to choose as well, so it goes elsewhere then: to the engine's own and the system log.
fn say_nothing_where_the_container_chose(state: &State) -> Result<(), Failure> {
    let chosen = ["run.oci.hooks.stderr", "run.oci.hooks.stdout"];
    if !chosen.iter().any(|key| state.annotations.contains_key(*key)) {
        return Ok(());
    }
    let nowhere = std::fs::File::options().write(true).open("/dev/null");
    let silenced = nowhere.and_then(|nowhere| {
        nix::unistd::dup2_stdout(&nowhere)?;
        Ok(nix::unistd::dup2_stderr(&nowhere)?)
    });
    silenced.map_err(|error| {
        Failure::host(
            "can't turn standard error away from where the container's annotations point it",
            error,
        )
        .remedy("remove the annotation run.oci.hooks.stderr")
    })
}

fn forged(why: &str) -> Failure {
    Failure::usage(format!("annotation {}", keys::LEASE), why)
        .remedy("remove it: it is written by oci-mig-hook alone")
}

/// This program's own file, for hooks that must find it again.
fn program() -> Result<PathBuf, Failure> {
    let found = std::env::current_exe().map_err(|error| {
        Failure::host("can't tell where this program is", error).remedy("is /proc mounted?")
    })?;
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
    Config::load(options.config.as_deref())
}
