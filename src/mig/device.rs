//! A MIG device that exists: one compute instance of one GPU instance.

use serde::{Deserialize, Serialize};

use super::{ComputeInstanceId, GpuInstanceId, MigUuid, Profile};

/// Where a GPU instance lies on its GPU, in memory slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Placement {
    /// First memory slice.
    pub start: u32,
    /// How many memory slices.
    pub size: u32,
}

/// What NVML says of a MIG device's share (`nvmlDeviceGetAttributes_v2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attributes {
    /// Memory of the GPU instance, in MiB.
    pub memory_mib: u64,
    /// Compute slices of the GPU instance.
    pub gi_slices: u32,
    /// Compute slices of the compute instance.
    pub ci_slices: u32,
}

/// A MIG device that exists on this node. Its GPU is the one whose list it stands in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigDevice {
    /// Its name to CUDA and to `NVIDIA_VISIBLE_DEVICES`.
    pub uuid: MigUuid,
    /// Its GPU instance.
    pub gi: GpuInstanceId,
    /// Its compute instance in that GPU instance.
    pub ci: ComputeInstanceId,
    /// Its profile, named as nvidia-smi does.
    pub profile: Profile,
    /// Its share, in figures.
    pub attributes: Attributes,
    /// Where its GPU instance lies.
    pub placement: Placement,
}
