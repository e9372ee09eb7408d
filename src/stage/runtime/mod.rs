//! The interposed low-level runtime, for engines without hooks: a call on its way to the real one. What makes a
//! container is served first; after what ends one its devices go back; the real runtime gets the very words it was sent.

mod child;
mod config_file;
mod create;
mod delete;
mod real;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::failure::Failure;
use crate::oci::{RuntimeCall, Verb};
use create::Creation;
use real::RealRuntime;

/// The variable of the engine's environment that names the configuration file: a runtime's command line is not ours.
pub const CONFIG_VARIABLE: &str = "OCI_MIG_HOOK_CONFIG";

/// How a call ended that the real runtime carried out as a child.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The real runtime's exit code.
    pub code: u8,
    /// Why what its containers held could not be given back. The runtime's own answer stands: it goes back with the
    /// next reservation.
    pub unreleased: Option<Failure>,
}

/// Carries out `call`, whose words are `args`, and becomes the real runtime. Comes back only after a delete. `warn` is told
/// what is to be said of a container that is made all the same.
///
/// # Errors
/// A refusal or a host failure: then the real runtime was not called, and nothing is reserved.
pub fn run(call: &RuntimeCall, args: &[OsString], warn: &dyn Fn(&Failure)) -> Result<Ended, Failure> {
    let config = config()?;
    let real = RealRuntime::find(config.runtime.as_deref())?;
    let creation = |bundled| Creation {
        bundled,
        call,
        args,
        config: &config,
        real: &real,
        warn,
    };
    match &call.verb {
        Verb::Create(bundled) => Err(creation(bundled).run()),
        Verb::Restore(bundled) => Err(creation(bundled).restore()),
        Verb::Delete(deleted) => delete::run(deleted, call, &config, &real, args),
        Verb::Unclear(why) => Err(Failure::usage("this call can be read in two ways", why)
            .remedy("write --bundle FOLDER and an id")),
        Verb::Other => Err(real.become_it(args)),
    }
}

fn config() -> Result<Config, Failure> {
    let named = std::env::var_os(CONFIG_VARIABLE)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    match named {
        Some(path) if !path.is_absolute() => {
            let what = format!("{CONFIG_VARIABLE}={}", path.display());
            Err(Failure::host(what, "it is not an absolute path")
                .remedy("correct it in the engine's environment"))
        }
        named => Config::load(named.as_deref()),
    }
}

/// `path`, written on the command line, from the root.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::host(format!("can't tell where {} is", path.display()), error)
            .remedy("the folder of the runtime's call is gone; start the container again")
    })
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
