//! NODE.json as written: everything optional, an unknown key an error. `tests/nodes/README.md` explains each key.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use fake_nvml::state::MigMode;
use serde::{Deserialize, Serialize};

/// A node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeSpec {
    /// What this node is for, for its reader.
    pub about: String,
    /// The driver's version; before 470 MIG devices have the old form of UUID.
    pub driver: Option<String>,
    /// Whether the kernel module is the open one, which writes its version line differently.
    pub open_kernel_module: bool,
    /// Whether the driver's libraries, programs and firmware are there, for containers to be given.
    pub driver_files: bool,
    /// Device majors.
    pub majors: MajorsSpec,
    /// What becomes of the capability nodes.
    pub cap_nodes: CapNodes,
    /// Whether GPUs stay initialised while no client runs; true unless given.
    pub persistence: Option<bool>,
    /// The GPUs.
    pub gpus: Vec<GpuSpec>,
}

/// Device majors, where the node asks for certain ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MajorsSpec {
    /// GPUs and nvidiactl.
    pub nvidia: Option<u32>,
    /// Capability nodes.
    #[serde(rename = "nvidia-caps")]
    pub caps: Option<u32>,
    /// Unified memory.
    #[serde(rename = "nvidia-uvm")]
    pub uvm: Option<u32>,
}

/// What becomes of the capability nodes, which user space makes on a real machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapNodes {
    /// As nvidia-modprobe makes them.
    #[default]
    Present,
    /// Nobody has made them.
    Missing,
    /// Left from before the driver got another major.
    Stale,
}

/// A GPU.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GpuSpec {
    /// A `key` of profiles.json.
    pub model: Option<String>,
    /// The product's name, where it isn't the model's.
    pub name: Option<String>,
    /// Its compute capability, `7.5`, where it isn't the model's.
    pub compute_capability: Option<String>,
    /// Its brand as NVIDIA_REQUIRE_* has it, where it isn't what this driver says of a data centre's GPU.
    pub brand: Option<String>,
    /// `GPU-<uuid>`.
    pub uuid: Option<String>,
    /// `0000:07:00.0`.
    pub pci_bus_id: Option<String>,
    /// The N of `/dev/nvidiaN`.
    pub minor: Option<u32>,
    /// All memory, in MiB; the model's unless given.
    pub memory_mib: Option<u64>,
    /// MIG mode; on unless given.
    pub mig: Option<MigMode>,
    /// How GPU instance ids map to places on this die.
    pub id_map: IdMap,
    /// Excluded by the driver: in /proc, not in NVML.
    pub excluded: bool,
    /// Fell off the bus.
    pub lost: bool,
    /// MIG device indexes that are empty.
    pub index_holes: Vec<u32>,
    /// Profiles that this driver shows otherwise than profiles.json has them.
    pub shown: BTreeMap<String, Shown>,
    /// The GPU instances that exist.
    pub instances: Vec<InstanceSpec>,
}

/// How GPU instance ids map to places; it differs from die to die.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdMap {
    /// The lowest id of a size lies at the lowest place.
    #[default]
    Identity,
    /// The two halves of the memory are swapped.
    Swapped,
}

/// A profile's name or memory as another driver gives it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shown {
    /// `3g.39gb` for `3g.40gb`.
    pub name: Option<String>,
    /// In MiB.
    pub memory_mib: Option<u64>,
}

/// A GPU instance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstanceSpec {
    /// `2g.20gb`, as profiles.json has it.
    pub profile: String,
    /// First memory slice; the lowest free one unless given.
    pub start: Option<u32>,
    /// Its id; follows from its place, and its place from it.
    pub gi: Option<u32>,
    /// Its compute instances: one that fills it unless given.
    pub compute: Option<Vec<ComputeSpec>>,
}

/// A compute instance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComputeSpec {
    /// `1c`; all slices of the GPU instance unless given.
    pub profile: Option<String>,
    /// Its id; the lowest free one unless given.
    pub ci: Option<u32>,
    /// `MIG-<uuid>`.
    pub uuid: Option<String>,
}

impl NodeSpec {
    /// Reads a NODE.json.
    pub fn read(path: &Path) -> Result<NodeSpec> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a node", path.display()))
    }
}
