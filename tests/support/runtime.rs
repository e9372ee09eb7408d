//! The low-level runtimes, driven as an engine drives them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::bundle::Bundle;
use super::cgroups::View;
use super::container::Container;
use super::machine::{CONFIG_VARIABLE, INTERPOSED, Machine};
use super::process::{Outcome, say};
use super::scratch::Scratch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    Runc,
    Crun,
    /// Only in the tests of its own: it takes minutes to build.
    Youki,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Runtime {
    pub fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Youki => "youki",
        }
    }

    /// Where it is installed; the test fails, naming the remedy, where it is not.
    pub fn program(self) -> PathBuf {
        match self {
            Self::Youki => youki(),
            _ => program(self.name()),
        }
    }

    /// The views in which this runtime works on this machine: crun up to 1.8 refuses a hybrid one.
    pub fn views(self) -> Vec<View> {
        let views = [View::Host, View::V1, View::V2].into_iter();
        let refused = |view: &View| self == Self::Crun && *view == View::Host && View::host_is_hybrid();
        views.filter(|view| !refused(view) && view.is_offered()).collect()
    }
}

/// Where tests/setup.d/youki puts it.
fn youki() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/youki/bin/youki");
    assert!(
        built.exists(),
        "no youki: run tests/setup.d/youki, or tests/run --long"
    );
    built
}

/// Every runtime in every view that it works in.
pub fn everywhere() -> impl Iterator<Item = (Runtime, View)> {
    let runtimes = [Runtime::Runc, Runtime::Crun].into_iter();
    runtimes.flat_map(|runtime| runtime.views().into_iter().map(move |view| (runtime, view)))
}

/// The same without those where a controller is missing that `who`'s containers can't do without; what is left out is
/// said on the terminal.
pub fn everywhere_with(
    who: &str,
    needs: impl Fn(Runtime) -> Option<&'static str>,
) -> impl Iterator<Item = (Runtime, View)> {
    everywhere().filter(move |(runtime, view)| {
        let missing = needs(*runtime).filter(|controller| !view.has_controller(controller));
        if let Some(controller) = missing {
            say_once(format!(
                "NOT TESTED here: {who} over {runtime} in view {view}, which has no {controller} controller"
            ));
        }
        missing.is_none()
    })
}

/// Every story leaves the same out.
fn say_once(text: String) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().expect("what was said");
    if !said.contains(&text) {
        say(&text);
        said.insert(text);
    }
}

/// The absolute path of an engine's program.
pub fn program(name: &str) -> PathBuf {
    let folders = std::env::var("PATH").unwrap_or_default();
    let folders = folders
        .split(':')
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"]);
    let mut found = folders
        .map(|folder| Path::new(folder).join(name))
        .filter(|path| path.is_absolute());
    found
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed: run tests/setup"))
}

/// One state root of one runtime in one view: what an engine calls its runtime with.
#[derive(Debug)]
pub struct Engine {
    pub runtime: Runtime,
    pub view: View,
    root: Scratch,
    prefix: Vec<PathBuf>,
    /// The configuration of oci-mig-runtime, where that is called in the runtime's stead.
    interposed: Option<PathBuf>,
}

impl Engine {
    pub fn new(runtime: Runtime, view: View) -> Self {
        Self {
            runtime,
            view,
            root: Scratch::new("state"),
            prefix: Vec::new(),
            interposed: None,
        }
    }

    /// The same behind oci-mig-runtime, on this machine.
    pub fn interposed(self, machine: &Machine) -> Self {
        machine.stand_before(&self.runtime.program());
        self.interposed_by(machine.config())
    }

    /// The same behind oci-mig-runtime that goes by this configuration.
    pub fn interposed_by(self, config: PathBuf) -> Self {
        Self {
            interposed: Some(config),
            ..self
        }
    }

    /// The same, called through another program with these words before the runtime's own.
    pub fn through(self, prefix: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            prefix: prefix.into_iter().collect(),
            ..self
        }
    }

    /// The runtime with its state root, to be given a subcommand. It runs where the bundle is.
    pub fn command(&self, folder: &Path) -> Command {
        self.command_through(&self.prefix, folder)
    }

    /// The same with these words before it.
    pub fn command_through(&self, prefix: &[PathBuf], folder: &Path) -> Command {
        let program = match self.interposed {
            Some(_) => PathBuf::from(INTERPOSED),
            None => self.runtime.program(),
        };
        let mut words = prefix.iter().cloned().chain([program]);
        let mut command = self.view.command_in(words.next().expect("a program"), folder);
        command.args(words);
        command.arg("--root").arg(self.root());
        if let Some(config) = &self.interposed {
            command.env(CONFIG_VARIABLE, config);
        }
        command
    }

    /// Its state root: a folder in it for each container.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The container of this bundle, under the bundle's own id; nothing is run yet.
    pub fn container<'a>(&'a self, bundle: &'a Bundle) -> Container<'a> {
        self.container_named(bundle.id(), bundle)
    }

    /// The same under another id.
    pub fn container_named<'a>(&'a self, id: &str, bundle: &'a Bundle) -> Container<'a> {
        Container::new(self, id, bundle)
    }

    /// Runs the bundle's container from create to delete.
    pub fn run(&self, bundle: &Bundle) -> Outcome {
        self.container(bundle).run()
    }
}
