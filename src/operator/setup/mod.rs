//! `setup`: registers this program with an engine, in the engine's own configuration, and takes it out again.
//!
//! Each engine's file decides what is to be changed, and nothing is written before all of it is decided. It never
//! restarts anything: it says what to restart.

#![forbid(unsafe_code)]

mod containerd;
mod containerd_file;
mod containerd_imports;
mod crio;
mod crio_others;
mod docker;
pub(super) mod file;
mod json_style;
mod json_text;
mod outcome;
mod plan;
mod podman;
mod podman_hook_file;
mod podman_hooks_dir;
mod program;
mod toml_entry;
mod toml_file;
mod toml_header;
mod toml_list;

use std::path::PathBuf;

use crate::config::Config;
use crate::failure::Failure;
use outcome::Outcome;
use plan::Plan;

/// What was asked for.
#[derive(Debug)]
pub struct Setup {
    /// With which engine, and what is that engine's alone.
    pub engine: Engine,
    /// Take it out again.
    pub undo: bool,
    /// Say what would be changed, and change nothing.
    pub dry_run: bool,
    /// Say it as JSON.
    pub json: bool,
    /// The engine's configuration file, where it isn't in its usual place.
    pub engine_config: Option<PathBuf>,
    /// This program's own configuration file, as `--config` named it.
    pub config: Option<PathBuf>,
}

/// An engine, and the options that are its alone.
#[derive(Debug)]
pub enum Engine {
    /// dockerd's daemon.json; the wrapper, where it doesn't lie beside this program.
    Docker(Option<PathBuf>),
    /// containerd's CRI plugin, likewise.
    Containerd(Option<PathBuf>),
    /// CRI-O, likewise.
    Crio(Option<PathBuf>),
    /// Podman's precreate hook: the folder of our hook files, where it isn't the usual one, and whether to write the
    /// one that judges containers which didn't ask, too.
    Podman(Option<PathBuf>, bool),
}

impl Engine {
    /// As the command line names it.
    fn name(&self) -> &'static str {
        match self {
            Engine::Docker(_) => "docker",
            Engine::Containerd(_) => "containerd",
            Engine::Crio(_) => "crio",
            Engine::Podman(..) => "podman",
        }
    }
}

/// What the runtime is called in every engine's configuration.
const RUNTIME: &str = "mig";

/// What pods need besides: once for the whole cluster.
const RUNTIME_CLASS: &str = "once per cluster, a RuntimeClass with 'handler: mig'; pods then say 'runtimeClassName: mig' (oci-mig-hook(1) shows both)";

/// What pods lose without our entry.
const PODS_LOST: &str = "pods of the RuntimeClass with the handler mig can't be started here any more";

/// Changes the engine's configuration, or says what it would change.
///
/// # Errors
/// A file that can't be read, parsed or written; an entry of somebody else's under our name; no wrapper to name.
/// Nothing has been changed then, but where a later one of several files can't be written.
pub fn setup(order: &Setup) -> anyhow::Result<()> {
    let plan = plan(order)?;
    if !order.json {
        super::print(outcome::difference(&plan).as_bytes())?;
    }
    if !order.dry_run {
        plan.write()?;
    }
    let text = match order.json {
        true => serde_json::to_string_pretty(&Outcome::of(order, &plan))? + "\n",
        false => outcome::summary(order, &plan),
    };
    super::print(text.as_bytes())
}

fn plan(order: &Setup) -> Result<Plan, Failure> {
    if let (Some(config), false) = (&order.config, order.undo) {
        // An engine would say so with every container.
        Config::load(Some(config))?;
    }
    match &order.engine {
        Engine::Docker(runtime) => docker::plan(order, runtime.as_deref()),
        Engine::Containerd(runtime) => containerd::plan(order, runtime.as_deref()),
        Engine::Crio(runtime) => crio::plan(order, runtime.as_deref()),
        Engine::Podman(hooks_dir, guard) => podman::plan(order, hooks_dir.as_deref(), *guard),
    }
}
