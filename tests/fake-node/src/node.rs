//! A node that is up: made, changed, looked into, taken down.

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fake_nvml::state::{self, State};
use rustix::fs::{FlockOperation, flock};

use crate::plan::Plan;
use crate::spec::NodeSpec;
use crate::view::TraceLine;
use crate::{dev, files, proc, set};

const LIBRARY: &str = "lib/libnvidia-ml.so.1";

/// A node that is up. Dropping it leaves it up; see [`crate::Scratch`] for one that goes with its test.
#[derive(Clone, Debug)]
pub struct Node {
    dir: PathBuf,
}

/// Lays out the node of a NODE.json in a folder that is empty or doesn't exist. Needs root.
pub fn up(node: &Path, dir: &Path) -> Result<Node> {
    up_spec(&NodeSpec::read(node)?, dir).with_context(|| format!("bringing up {}", node.display()))
}

/// Lays out a node. What fails leaves nothing behind.
pub fn up_spec(spec: &NodeSpec, dir: &Path) -> Result<Node> {
    let plan = Plan::new(spec, None)?;
    let library = library()?;
    if dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!(
            "{} is not empty: take down what is there first, or choose another folder",
            dir.display()
        );
    }
    let existed = dir.exists();
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let dir = dir.canonicalize()?;
    let laid = lay_out(&plan, spec, &library, &dir);
    if laid.is_err() {
        let _ = fs::remove_dir_all(&dir);
        if existed {
            let _ = fs::create_dir(&dir);
        }
    }
    laid.map(|()| Node { dir })
}

/// Everything, `state.json` last: with it the driver is loaded.
fn lay_out(plan: &Plan, spec: &NodeSpec, library: &Path, dir: &Path) -> Result<()> {
    proc::write(plan, dir, spec.open_kernel_module)?;
    dev::write(plan, dir, spec.cap_nodes)?;
    fs::create_dir(dir.join("lib"))?;
    fs::copy(library, dir.join(LIBRARY)).with_context(|| library.display().to_string())?;
    fs::write(dir.join("config.toml"), config(dir, spec.driver_files))?;
    open_to_all(dir)?;
    if spec.driver_files {
        files::plant(dir, &plan.state.driver)?;
    }
    Ok(plan.state.store(dir)?)
}

/// /proc and /dev are everyone's to read, whatever the umask of who lays a node out.
fn open_to_all(dir: &Path) -> Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open_to_all(&entry.path())?;
        } else if kind.is_file() {
            fs::set_permissions(entry.path(), Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

/// What points oci-mig-hook here: its ordinary keys.
fn config(dir: &Path, driver_files: bool) -> String {
    let quoted = |path: &str| format!("{:?}", dir.join(path).display().to_string());
    format!(
        "# A simulated node: oci-mig-hook --config {0}/config.toml ...\n\
         [driver]\nfiles = {6}\nroot = {1}\nproc = {2}\ndev = {3}\n\n[nvml]\nlibrary = {4}\n\n[ledger]\ndir = {5}\n",
        dir.display(),
        format_args!("{:?}", dir.display().to_string()),
        quoted("proc"),
        quoted("dev"),
        quoted(LIBRARY),
        quoted("run"),
        if driver_files { "\"host\"" } else { "\"none\"" },
    )
}

/// Removes a node with all that lies in its folder.
pub fn down(dir: &Path) -> Result<()> {
    let node = Node::open(dir)?;
    // The state first: from here on there is no driver.
    fs::remove_file(node.dir.join(state::FILE))?;
    fs::remove_dir_all(&node.dir).with_context(|| format!("removing {}", node.dir.display()))
}

/// fake-nvml's cdylib, which cargo has built beside this program or test.
fn library() -> Result<PathBuf> {
    const NAME: &str = "libfake_nvml.so";
    let program = env::current_exe().context("finding this program")?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    // A program lies in target/<profile>, a test in target/<profile>/deps, an example in .../examples. The one in
    // deps is always fresh; the one above only when fake-nvml was asked for by name.
    let places = [folder.join("deps"), folder.to_owned(), folder.join("../deps")];
    let mut files = places.iter().map(|place| place.join(NAME));
    files.find(|file| file.is_file()).with_context(|| {
        format!(
            "no {NAME} in {} or its deps: cargo build -p fake-nvml",
            folder.display()
        )
    })
}

impl Node {
    /// A node that was brought up before.
    pub fn open(dir: &Path) -> Result<Node> {
        let state = dir.join(state::FILE);
        ensure!(
            state.is_file() && dir.join(LIBRARY).is_file(),
            "{} is no node that is up: it has no {} or no {LIBRARY}",
            dir.display(),
            state::FILE
        );
        Ok(Node {
            dir: dir.canonicalize()?,
        })
    }

    /// Its folder, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The config file that points oci-mig-hook here.
    pub fn config(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// The folder that stands for /proc.
    pub fn proc(&self) -> PathBuf {
        self.dir.join("proc")
    }

    /// The folder that stands for /dev.
    pub fn dev(&self) -> PathBuf {
        self.dir.join("dev")
    }

    /// The NVML that answers for it.
    pub fn library(&self) -> PathBuf {
        self.dir.join(LIBRARY)
    }

    /// What the library answers from.
    pub fn state(&self) -> Result<State> {
        State::load(&self.dir).with_context(|| self.dir.join(state::FILE).display().to_string())
    }

    /// The major of that name in the node's devices file: `nvidia`, `nvidia-caps`, `nvidia-uvm`.
    pub fn major(&self, name: &str) -> Result<u32> {
        let majors = self.state()?.majors;
        majors
            .get(name)
            .copied()
            .with_context(|| format!("this node has no major {name}"))
    }

    /// Sets faults: each `KEY=VALUE` as on the command line. Running processes meet them at their next call.
    pub fn set(&self, settings: &[&str]) -> Result<()> {
        self.change(|state| {
            settings
                .iter()
                .try_for_each(|setting| set::apply(state, setting).with_context(|| format!("'{setting}'")))
        })
    }

    /// Lays the node out anew, as after someone repartitioned its GPUs. Majors and faults stay. Processes that have
    /// NVML initialised keep seeing what they saw.
    pub fn repartition(&self, spec: &NodeSpec) -> Result<()> {
        self.change(|state| {
            let mut plan = Plan::new(spec, Some(state.majors.clone()))?;
            plan.state.faults = state.faults.clone();
            plan.state.processes = state.processes.clone();
            dev::clear(&self.dir)?;
            proc::write(&plan, &self.dir, spec.open_kernel_module)?;
            dev::write(&plan, &self.dir, spec.cap_nodes)?;
            open_to_all(&self.proc())?;
            open_to_all(&self.dev())?;
            *state = plan.state;
            Ok(())
        })
    }

    /// One change at a time: two at once would lose one.
    fn change(&self, change: impl FnOnce(&mut State) -> Result<()>) -> Result<()> {
        let lock = File::open(&self.dir)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let mut state = self.state()?;
        change(&mut state)?;
        Ok(state.store(&self.dir)?)
    }

    /// Begins a trace, or empties the one there is.
    pub fn start_trace(&self) -> Result<()> {
        Ok(fs::write(self.dir.join(state::TRACE), "")?)
    }

    /// The trace so far; empty where none was begun.
    pub fn trace(&self) -> Result<Vec<TraceLine>> {
        let text = match fs::read_to_string(self.dir.join(state::TRACE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let lines = text
            .lines()
            .map(|line| TraceLine::parse(line).with_context(|| line.to_owned()));
        lines.collect()
    }
}
