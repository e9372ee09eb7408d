//! `state.json`: what the library answers from. Written by fake-node, compact, since every client's start reads it.
//!
//! `faults` and `processes` are read anew whenever the file changes; the rest is what one `nvmlInit` saw.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The file's name in the node's folder.
pub const FILE: &str = "state.json";
/// The trace's name in the node's folder; nothing is traced while it doesn't exist.
pub const TRACE: &str = "trace";

/// A whole node, as NVML shows it. Excluded GPUs are not part of it: NVML doesn't count them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What goes wrong, and how slowly.
    pub faults: Faults,
    /// Processes that use a device.
    pub processes: Vec<Process>,
    /// The driver's version: `550.54.15`.
    pub driver: String,
    /// The node's character device majors by name; the library has no use for them.
    pub majors: BTreeMap<String, u32>,
    /// Whether the GPUs stay initialised while no client runs.
    pub persistence: bool,
    /// Profile tables, one for each kind of GPU on the node.
    pub tables: Vec<Vec<GiProfile>>,
    /// The GPUs in NVML's order, which is by PCI bus id.
    pub gpus: Vec<Gpu>,
}

/// The part of the file that is read again while a client runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// What goes wrong, and how slowly.
    pub faults: Faults,
    /// Processes that use a device.
    pub processes: Vec<Process>,
}

/// What goes wrong, and how slowly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// How long `nvmlInit` takes, in milliseconds.
    pub init_ms: u64,
    /// How long the first call of a session takes that needs a certain GPU, in milliseconds.
    pub first_touch_ms: u64,
    /// Whether GPUs that init didn't attach can't be used at all, rather than being attached when they are needed.
    pub needs_attach: bool,
    /// Functions that never answer.
    pub hang: Vec<Target>,
    /// Functions that answer with an error.
    pub fail: Vec<Fail>,
    /// NVML indexes of GPUs that fell off the bus.
    pub lost: Vec<u32>,
}

/// A function, on every GPU or on one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The function's exported name, or that without its `_v2`, which means every version.
    pub function: String,
    /// NVML index of the GPU, if only there.
    pub gpu: Option<u32>,
}

/// A function that answers with an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fail {
    /// Which.
    #[serde(flatten)]
    pub target: Target,
    /// NVML's return code.
    pub code: u32,
}

/// What a process does on a device: which of NVML's lists has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// It computes.
    Compute,
    /// It draws.
    Graphics,
    /// It computes through an MPS server.
    Mps,
}

/// A process that uses a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// What it does there.
    pub work: Work,
    /// UUID of the MIG device, or of a GPU whose MIG mode is off.
    pub device: String,
    /// Its pid.
    pub pid: u32,
}

/// A GPU that NVML counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// `GPU-<uuid>`.
    pub uuid: String,
    /// The product's name: `NVIDIA A100-SXM4-80GB`.
    pub name: String,
    /// Domain, bus, device on the PCI bus.
    pub pci: (u32, u32, u32),
    /// PCI device id and vendor id, as NVML joins them; 0 where unknown.
    pub pci_device_id: u32,
    /// CUDA's compute capability, major and minor, where known.
    pub compute_capability: Option<(i32, i32)>,
    /// NVML's number for its brand, where known.
    pub brand: Option<u32>,
    /// The N of `/dev/nvidiaN`.
    pub minor: u32,
    /// Memory in MiB, where known.
    pub memory_mib: Option<u64>,
    /// MIG mode now and after the next reset.
    pub mig: MigMode,
    /// Which of the tables holds its profiles.
    pub table: usize,
    /// Most MIG devices it can have.
    pub max_devices: u32,
    /// What exists, by GPU instance id.
    pub instances: Vec<GpuInstance>,
}

/// A GPU's MIG mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MigMode {
    /// Can't do MIG.
    Unsupported,
    /// Off, and stays off.
    Disabled,
    /// Off now, on after the next reset.
    Pending,
    /// On.
    Enabled,
}

/// A GPU instance profile: a row of `nvidia-smi mig -lgip`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiProfile {
    /// What profile info is asked by.
    pub index: u32,
    /// What it is called by everywhere else.
    pub id: u32,
    /// `1g.10gb`, `1g.10gb+me`.
    pub name: String,
    /// Compute slices.
    pub slices: u32,
    /// Most instances of it on one GPU.
    pub max: u32,
    /// Memory slices.
    pub size: u32,
    /// Where it may begin, in memory slices.
    pub starts: Vec<u32>,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Multiprocessors.
    pub sm: u32,
    /// Copy engines, decoders, encoders, JPEG and OFA engines.
    pub engines: Engines,
    /// Compute instance profiles in it.
    pub compute: Vec<CiProfile>,
}

/// Engine counts of a GPU instance, shared by its compute instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engines {
    /// Copy engines.
    pub copy: u32,
    /// Decoders.
    pub decoder: u32,
    /// Encoders.
    pub encoder: u32,
    /// JPEG engines.
    pub jpeg: u32,
    /// Optical flow engines.
    pub ofa: u32,
}

/// A compute instance profile: a row of `nvidia-smi mig -lcip`. Its index and its id are one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CiProfile {
    /// What it is called by.
    pub id: u32,
    /// Compute slices.
    pub slices: u32,
    /// Most instances of it in one GPU instance.
    pub max: u32,
    /// Multiprocessors.
    pub sm: u32,
}

/// A GPU instance that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuInstance {
    /// Its id.
    pub id: u32,
    /// Its profile's id.
    pub profile: u32,
    /// First memory slice.
    pub start: u32,
    /// What exists in it, by compute instance id; may be empty.
    pub compute: Vec<ComputeInstance>,
}

/// A compute instance that exists: a MIG device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComputeInstance {
    /// Its id in its GPU instance.
    pub id: u32,
    /// Its profile's id.
    pub profile: u32,
    /// First compute slice.
    pub start: u32,
    /// The index it is found by on its GPU.
    pub index: u32,
    /// `MIG-<uuid>`, or `MIG-GPU-<uuid>/<gi>/<ci>` before R470.
    pub uuid: String,
}

impl Target {
    /// Whether this means a call of `function` that needs `gpu`.
    pub fn meets(&self, function: &str, gpu: Option<u32>) -> bool {
        let named = self.function == function || self.function == unversioned(function);
        named && self.gpu.is_none_or(|only| Some(only) == gpu)
    }
}

/// `nvmlInit` of `nvmlInit_v2`.
pub fn unversioned(function: &str) -> &str {
    match function.rsplit_once("_v") {
        Some((base, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => base,
        _ => function,
    }
}

impl State {
    /// Reads a node's state.
    pub fn load(dir: &Path) -> io::Result<State> {
        Ok(serde_json::from_slice(&fs::read(dir.join(FILE))?)?)
    }

    /// Writes it whole, by rename: a client never sees half of it.
    pub fn store(&self, dir: &Path) -> io::Result<()> {
        let fresh = dir.join(format!("{FILE}.{}", std::process::id()));
        fs::write(&fresh, serde_json::to_vec(self)?)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644))?;
        fs::rename(&fresh, dir.join(FILE))
    }
}

impl Live {
    /// Reads only what can change while a client runs.
    pub fn load(dir: &Path) -> io::Result<Live> {
        Ok(serde_json::from_slice(&fs::read(dir.join(FILE))?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_version_means_every_version() {
        let target = |function: &str, gpu| Target {
            function: function.into(),
            gpu,
        };
        assert!(target("nvmlInit", None).meets("nvmlInit_v2", None));
        assert!(target("nvmlInit_v2", None).meets("nvmlInit_v2", None));
        assert!(!target("nvmlInit_v2", None).meets("nvmlInit", None));
        assert!(!target("nvmlInit", None).meets("nvmlInitWithFlags", None));
        assert!(target("nvmlDeviceGetUUID", Some(1)).meets("nvmlDeviceGetUUID", Some(1)));
        assert!(!target("nvmlDeviceGetUUID", Some(1)).meets("nvmlDeviceGetUUID", Some(0)));
        assert!(!target("nvmlDeviceGetUUID", Some(1)).meets("nvmlDeviceGetUUID", None));
    }
}
