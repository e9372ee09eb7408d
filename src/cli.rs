//! The command line, as types: what may be typed, and what --help says of it.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::mig::DeviceName;

/// Gives a container its own NVIDIA MIG device, or a whole GPU, and takes it back when the container ends.
///
/// Engines call the stages (precreate, createRuntime, prestart, poststop) as OCI hooks; people call the rest.
/// A container asks by annotation:
///
///   podman run --annotation mig.profile=1g.10gb IMAGE COMMAND
///   docker run --runtime mig --annotation mig.profile=1g.10gb IMAGE COMMAND
///
/// 'oci-mig-hook setup podman' or 'docker' makes that so.
///
/// Other keys: mig.memory=10GB, mig.compute=2 (at least that much), mig.count=2, mig.gpu=GPU-...|BUS ID|PRODUCT*,
/// mig.device=MIG-..., mig.wait=5m (wait until one comes free). mig.profile=gpu asks for a GPU that is not in MIG mode,
/// whole. oci-mig-hook(1) explains each.
#[derive(Debug, Parser)]
#[command(name = "oci-mig-hook", version, verbatim_doc_comment, after_help = EXIT_CODES)]
pub struct Cli {
    /// Configuration file [default: /etc/oci-mig-hook/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 refused (all held, no such profile, can't be isolated, wait over);
2 command line or annotations; 3 this machine (driver, NVML, config file, ledger)";

/// What can be asked of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Who has which MIG device or whole GPU
    Status(StatusArgs),
    /// Asks the driver for everything anew, after GPUs were cut otherwise; says what changed
    Refresh(RefreshArgs),
    /// Takes back every device whose holder is gone, and says why. Each reservation does the same first
    Gc(GcArgs),
    /// Gives back one lease by hand: of a container, of a device, or those that can't be read
    Release(ReleaseArgs),
    /// Writes a CDI file of this machine's MIG devices and whole GPUs, for engines that take --device KIND=NAME. Such a
    /// container takes no lease: nothing keeps its device from others
    Cdi(CdiArgs),
    /// Registers with an engine, in that engine's own configuration; takes it out again with --undo
    Setup {
        /// Which engine
        #[command(subcommand)]
        engine: SetupEngine,
    },
    /// [engines] Podman's precreate hook: config.json in, the edited one out
    Precreate(PrecreateArgs),
    /// [engines] createRuntime hook: confirm what precreate reserved, or serve the live container
    #[command(name = "createRuntime")]
    CreateRuntime(StageArgs),
    /// [engines] The older name of createRuntime
    Prestart(StageArgs),
    /// [engines] poststop hook: give back what the container held
    Poststop(StageArgs),
    /// Completions for a shell, to be sourced or put where it looks for them
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// `status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `refresh`
#[derive(Debug, Args)]
pub struct RefreshArgs {
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// `gc`
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Only say what would be taken back
    #[arg(long)]
    pub dry_run: bool,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// `release`
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// A container's id or how it begins, a device's MIG-<uuid> or GPU-<uuid>, or a lease's id
    #[arg(required_unless_present = "unreadable", value_name = "CONTAINER|DEVICE|LEASE",
          value_parser = NonEmptyStringValueParser::new())]
    pub name: Option<String>,
    /// The leases that can't be read, whose devices stay out of use
    #[arg(long, conflicts_with = "name")]
    pub unreadable: bool,
    /// Also take it from a container that lives: the next one may get the device while this one still uses it
    #[arg(long)]
    pub force: bool,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// `cdi`
#[derive(Debug, Args)]
pub struct CdiArgs {
    /// The file, *.json or *.yaml; - for standard output [default: /var/run/cdi/oci-mig-hook.local-gpu.json]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write nothing: exit 1 where the file is missing or says what isn't true any more
    #[arg(long)]
    pub check: bool,
    /// The version of CDI: 0.6.0 says what each device is, 0.5.0 is for older engines [default: 0.6.0]
    #[arg(long, value_name = "VERSION")]
    pub cdi_version: Option<String>,
    /// Which of the driver's files go along; an image's own NVIDIA_DRIVER_CAPABILITIES can't be heard here
    #[arg(long, value_name = "LIST", default_value = "compute,utility")]
    pub driver_capabilities: String,
}

/// A stage's arguments, as our own hook entries have them.
#[derive(Debug, Args)]
pub struct StageArgs {
    /// Written into hook entries: the devices that were edited into the container.
    #[arg(long, hide = true, value_delimiter = ',')]
    pub devices: Option<Vec<DeviceName>>,
    /// Written into hook entries: the nodes that were edited into the container.
    #[arg(long, hide = true)]
    pub nodes: Option<String>,
    /// Written into hook entries: the mounts that were edited into the container, by their marks.
    #[arg(long, hide = true)]
    pub mounts: Option<String>,
    /// Written into hook entries: others' hooks that were edited into the container, by their marks.
    #[arg(long, hide = true)]
    pub hooks: Option<String>,
    /// Written into hook entries: variables that were set besides.
    #[arg(long, hide = true)]
    pub env: Vec<String>,
    /// Written into hook entries: all other devices were denied, but these.
    #[arg(long, hide = true)]
    pub others: Option<String>,
}

/// `precreate`
#[derive(Debug, Args)]
pub struct PrecreateArgs {
    /// What every stage takes.
    #[command(flatten)]
    pub stage: StageArgs,
    /// Judge containers that did not ask, as 'guard' of the configuration says; leave those that did alone
    #[arg(long)]
    pub guard: bool,
}

/// `setup`
#[derive(Debug, Subcommand)]
pub enum SetupEngine {
    /// The runtime 'mig' in /etc/docker/daemon.json
    Docker(RuntimeSetupArgs),
    /// The runtime 'mig' of containerd's CRI plugin, in /etc/containerd/config.toml
    Containerd(RuntimeSetupArgs),
    /// The runtime 'mig' in a drop-in, /etc/crio/crio.conf.d/50-oci-mig-hook.conf
    Crio(RuntimeSetupArgs),
    /// The precreate hook, in a folder of its own that Podman's hooks_dir names
    Podman(PodmanSetupArgs),
}

/// `setup` with any engine
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// Show what would be changed, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take our entry out again, and nothing else
    #[arg(long)]
    pub undo: bool,
    /// JSON instead of the difference and text
    #[arg(long)]
    pub json: bool,
    /// The engine's configuration file, where it isn't in its usual place
    #[arg(long, value_name = "FILE")]
    pub engine_config: Option<PathBuf>,
}

/// `setup` with an engine that calls the wrapper
#[derive(Debug, Args)]
pub struct RuntimeSetupArgs {
    /// What is the same with every engine
    #[command(flatten)]
    pub setup: SetupArgs,
    /// The wrapper, where oci-mig-runtime doesn't lie beside this program
    #[arg(long, value_name = "FILE")]
    pub runtime_path: Option<PathBuf>,
}

/// `setup podman`
#[derive(Debug, Args)]
pub struct PodmanSetupArgs {
    /// What is the same with every engine
    #[command(flatten)]
    pub setup: SetupArgs,
    /// The folder of the hook files; Podman's alone [default: /usr/share/oci-mig-hook/podman-hooks.d]
    #[arg(long, value_name = "FOLDER", overrides_with = "hooks_dir")]
    pub hooks_dir: Option<PathBuf>,
    /// Also judge containers that didn't ask
    #[arg(long)]
    pub guard: bool,
}
