//! What a container is to be given, as data (CDI's word: container edits). One plan, several renderings:
//! into config.json before it is created, or into the live container.

#![forbid(unsafe_code)]

pub mod cdi;
pub mod device;
pub mod driver;
pub mod guard;
mod mark;
pub mod mask;
pub mod mount;
pub mod spec;

use std::path::PathBuf;

pub use crate::mig::{Access, DeviceNode, DeviceNumber};
pub use mask::ProcMask;
pub use mount::{Mount, MountKind};

/// One plan of what a container is to be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerEdits {
    /// Annotations, each replacing any of the same key.
    pub annotations: Vec<(String, String)>,
    /// Environment variables, each replacing any of the same name.
    pub env: Vec<(String, String)>,
    /// Device nodes, each with its exact device rule.
    pub nodes: Vec<DeviceNode>,
    /// Where no rule of the container's own is on all devices: a first rule that denies them, and rules for these, which
    /// its engine gave it. crun opens everything to a container without such a rule.
    pub deny_others: Option<Vec<OtherDevice>>,
    /// Files of the host's, mounted in this order, behind all that the container has of its own.
    pub mounts: Vec<Mount>,
    /// Hooks to run later in the container's life.
    pub hooks: Vec<Hook>,
    /// Hooks of others that come along: NVIDIA's, from its CDI file.
    pub others_hooks: Vec<OthersHook>,
}

impl ContainerEdits {
    /// These, and others behind them.
    #[must_use]
    pub fn and(mut self, others: ContainerEdits) -> ContainerEdits {
        self.annotations.extend(others.annotations);
        self.env.extend(others.env);
        self.nodes.extend(others.nodes);
        self.deny_others = self.deny_others.or(others.deny_others);
        self.mounts.extend(others.mounts);
        self.hooks.extend(others.hooks);
        self.others_hooks.extend(others.others_hooks);
        self
    }
}

/// A device that a container was given by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherDevice {
    /// Whether it is a block device, and not a character device.
    pub is_block: bool,
    /// Its number.
    pub number: DeviceNumber,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookStage {
    /// The container exists, its process has not started.
    CreateRuntime,
    /// The container is gone.
    Poststop,
}

/// A hook entry of ours in config.json.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When it runs.
    pub stage: HookStage,
    /// The program: absolute.
    pub path: PathBuf,
    /// Its arguments, the program's name first.
    pub args: Vec<String>,
}

/// A hook entry of another program in config.json.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OthersHook {
    /// When it runs: one of [`STAGES`].
    pub stage: &'static str,
    /// The program: absolute.
    pub path: PathBuf,
    /// Its arguments, the program's name first.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<String>,
    /// How long it may take, in seconds.
    pub timeout: Option<u64>,
}

/// The stages that a config.json's hooks have.
pub const STAGES: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];
