//! What can be handed out: a MIG device that exists (one compute instance of one GPU instance), or a GPU as a whole.

use serde::{Deserialize, Serialize};

use super::{ComputeInstanceId, DeviceName, Gpu, GpuInstanceId, Kind, MigUuid, Profile, WholeGpu};

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

/// Something that can be handed out, as an inventory has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device<'a> {
    /// A MIG device.
    Mig {
        /// The GPU that it is a part of.
        gpu: &'a Gpu,
        /// Itself.
        device: &'a MigDevice,
    },
    /// A GPU that is not in MIG mode.
    Whole {
        /// The GPU.
        gpu: &'a Gpu,
        /// What is known of it as a whole.
        whole: &'a WholeGpu,
    },
}

impl<'a> Device<'a> {
    /// The GPU that it is, or is a part of.
    pub fn gpu(self) -> &'a Gpu {
        match self {
            Device::Mig { gpu, .. } | Device::Whole { gpu, .. } => gpu,
        }
    }

    /// Its name.
    pub fn name(self) -> DeviceName {
        match self {
            Device::Mig { device, .. } => device.uuid.clone().into(),
            Device::Whole { gpu, .. } => gpu.uuid.clone().into(),
        }
    }

    /// Whether that is its name.
    pub fn is_called(self, name: &DeviceName) -> bool {
        match (self, name) {
            (Device::Mig { device, .. }, DeviceName::Mig(uuid)) => device.uuid == *uuid,
            (Device::Whole { gpu, .. }, DeviceName::Gpu(uuid)) => gpu.uuid == *uuid,
            _ => false,
        }
    }

    /// Of which kind it is.
    pub fn kind(self) -> Kind {
        match self {
            Device::Mig { device, .. } => Kind::Mig(device.profile),
            Device::Whole { .. } => Kind::Gpu,
        }
    }

    /// Its memory in MiB; none where NVML doesn't tell it.
    pub fn memory_mib(self) -> Option<u64> {
        match self {
            Device::Mig { device, .. } => Some(device.attributes.memory_mib),
            Device::Whole { whole, .. } => whole.memory_mib,
        }
    }
}
