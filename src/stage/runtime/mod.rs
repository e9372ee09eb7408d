//! The interposed low-level runtime, for engines without hooks: a call on its way to the real one. What makes a
//! container is served first; after what ends one its devices go back; the real runtime gets the very words it was sent.

mod child;
mod choice;
mod config_file;
mod create;
mod delete;
mod real;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Voice;
use crate::config::{Config, Essentials};
use crate::failure::Failure;
use crate::oci::{RuntimeCall, Verb};
use real::RealRuntime;

/// The variable of the engine's environment that names the configuration file: a runtime's command line is not ours.
const CONFIG_VARIABLE: &str = "OCI_MIG_HOOK_CONFIG";

/// How a call went that the real runtime carried out as a child.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The real runtime's exit code.
    pub code: u8,
    /// Why what its containers held could not be given back. The runtime's own answer stands: it goes back with the
    /// next reservation.
    pub unreleased: Option<Failure>,
}

/// A call, and who carries it out.
struct Call<'a> {
    parsed: &'a RuntimeCall,
    /// Its words.
    args: &'a [OsString],
    /// What the program goes by.
    config: &'a Config,
    real: &'a RealRuntime,
    /// Where what doesn't end it is said.
    voice: Voice<'a>,
}

/// Carries out the call `parsed`, whose words are `args`, and becomes the real runtime. Comes back only after a delete.
///
/// # Errors
/// A refusal or a host failure: then the real runtime was not called, and nothing is reserved.
pub fn run(parsed: &RuntimeCall, args: &[OsString], voice: Voice<'_>) -> Result<Ran, Failure> {
    let named = named_config()?;
    let config = match Config::load(named.as_deref()) {
        Ok(config) => config,
        Err(failure) => return Err(without_config(parsed, args, named.as_deref(), failure)),
    };
    let (runtime, ledger_dir) = (config.runtime.as_deref(), config.ledger_dir.as_path());
    let mut real = choice::find(runtime, ledger_dir)?;
    if matches!(parsed.verb, Verb::Create(_) | Verb::Restore(_)) {
        real = choice::keep(real, runtime, ledger_dir)?;
        if named.is_none() {
            choice::remember_default(&real);
        }
    }
    let call = Call {
        parsed,
        args,
        config: &config,
        real: &real,
        voice,
    };
    match &parsed.verb {
        Verb::Create(bundled) => Err(create::run(&call, bundled)),
        Verb::Restore(bundled) => Err(create::restore(&call, bundled)),
        Verb::Delete(deleted) => delete::run(&call, deleted),
        Verb::Unclear(why) => Err(Failure::usage("this call can be read in two ways", why)
            .remedy("write --bundle FOLDER and an id")),
        Verb::Other => Err(real.become_it(args)),
    }
}

/// A configuration that is wrong makes no container; those that there are can still be stopped and deleted.
fn without_config(
    parsed: &RuntimeCall,
    args: &[OsString],
    named: Option<&Path>,
    failure: Failure,
) -> Failure {
    if !matches!(parsed.verb, Verb::Other | Verb::Delete(_)) {
        return failure;
    }
    let real = match (Essentials::salvage(named), named) {
        (Some(essentials), _) => choice::find(essentials.runtime.as_deref(), &essentials.ledger_dir).ok(),
        (None, None) => choice::by_default(),
        (None, Some(_)) => None,
    };
    real.map_or(failure, |real| real.become_it(args))
}

/// The file that the engine's environment names.
fn named_config() -> Result<Option<PathBuf>, Failure> {
    let named = std::env::var_os(CONFIG_VARIABLE)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    match named {
        Some(path) if !path.is_absolute() => {
            let what = format!("{CONFIG_VARIABLE}={}", path.display());
            Err(Failure::host(what, "it is not an absolute path")
                .remedy("correct it in the engine's environment"))
        }
        named => Ok(named),
    }
}

/// `path`, written on the command line, from the root.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::host(format!("can't tell where {} is", path.display()), error)
            .remedy("the folder of the runtime's call is gone; start the container again")
    })
}

/// The same, by whatever links it was written: as far as it is there.
fn real_path(path: &Path) -> Result<PathBuf, Failure> {
    let path = absolute(path)?;
    let found = path.ancestors().find_map(|there| {
        let real = std::fs::canonicalize(there).ok()?;
        Some(real.join(path.strip_prefix(there).ok()?))
    });
    Ok(found.unwrap_or(path))
}

/// The hooks' program, which lies beside this one.
fn hook_program() -> Result<PathBuf, Failure> {
    let hook = super::program()?.with_file_name("oci-mig-hook");
    match hook.exists() {
        true => Ok(hook),
        false => Err(Failure::host(
            format!("there is no {}", hook.display()),
            "the container's hooks are to call it, and it lies beside oci-mig-runtime",
        )
        .remedy("install both programs into one folder")),
    }
}
