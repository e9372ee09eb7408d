//! What a node has: its GPUs, their profiles and MIG devices, and what is left out and why.

use serde::{Deserialize, Serialize};

use super::{
    Checked, Device, DeviceMinor, DeviceName, DeviceNode, GpuUuid, MigDevice, PciBusId, Profile, Version,
};
use crate::failure::Failure;

/// Everything on this node that could be handed out, and what could not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The driver's version: `550.54.15`.
    pub driver: String,
    /// The CUDA version that it brings, where it tells: 12.4.
    pub cuda: Option<Version>,
    /// The GPUs that answer, by PCI bus id.
    pub gpus: Vec<Gpu>,
    /// What can't be used now, and why; never fatal to the others.
    pub left_out: Vec<LeftOut>,
}

/// One GPU that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its NVML index, which is what nvidia-smi and people call it. Never an identity.
    pub index: u32,
    /// Its UUID.
    pub uuid: GpuUuid,
    /// The N of its `/dev/nvidiaN`.
    pub minor: DeviceMinor,
    /// Where it sits.
    pub pci: PciBusId,
    /// Its product name: `NVIDIA A100-SXM4-80GB`.
    pub model: String,
    /// Its compute capability, where the driver tells: 8.0.
    pub arch: Option<Version>,
    /// Its brand, where the driver tells, as `NVIDIA_REQUIRE_*` has it: `nvidia`.
    pub brand: Option<String>,
    /// Whether it is cut into instances.
    pub mig: MigMode,
}

/// A GPU's MIG mode, and what it has where MIG is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MigMode {
    /// The GPU can't do MIG: it can be handed out whole.
    Unsupported(WholeGpu),
    /// It could, and is not in MIG mode, now and after the next reset: likewise.
    Disabled(WholeGpu),
    /// It is in MIG mode now and after the next reset.
    Enabled {
        /// Every profile this GPU offers, whether or not an instance of it exists.
        profiles: Vec<GpuProfile>,
        /// The devices that exist, by (GI, CI): the driver's own order.
        devices: Vec<MigDevice>,
    },
}

/// What is known of a GPU that is not cut into instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeGpu {
    /// All of its memory, in MiB; absent where NVML doesn't tell it (GPUs that share the machine's own).
    pub memory_mib: Option<u64>,
}

/// A GPU instance profile that a GPU offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuProfile {
    /// NVML's profile id: what a GPU instance names as its profile. Not the enum that asks for it.
    pub id: u32,
    /// Its name, with the CI as large as the GI.
    pub profile: Profile,
    /// Memory of an instance, in MiB.
    pub memory_mib: u64,
}

/// A GPU or device that can't be used now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The GPU's bus id or index, or the device's UUID, as a person would look it up.
    pub what: String,
    /// Why, and what would bring it back.
    pub reason: String,
}

impl Gpu {
    /// The MIG devices that exist on this GPU; none where MIG is off.
    pub fn devices(&self) -> &[MigDevice] {
        match &self.mig {
            MigMode::Enabled { devices, .. } => devices,
            MigMode::Disabled(_) | MigMode::Unsupported(_) => &[],
        }
    }

    /// The profiles this GPU offers; none where MIG is off.
    pub fn profiles(&self) -> &[GpuProfile] {
        match &self.mig {
            MigMode::Enabled { profiles, .. } => profiles,
            MigMode::Disabled(_) | MigMode::Unsupported(_) => &[],
        }
    }

    /// The GPU as a whole; none where it is in MIG mode.
    pub fn whole(&self) -> Option<&WholeGpu> {
        match &self.mig {
            MigMode::Enabled { .. } => None,
            MigMode::Disabled(whole) | MigMode::Unsupported(whole) => Some(whole),
        }
    }

    /// All that can be handed out of it: its MIG devices, or itself.
    pub fn offers(&self) -> impl Iterator<Item = Device<'_>> {
        let parts = self.devices().iter();
        let parts = parts.map(move |device| Device::Mig { gpu: self, device });
        let whole = self.whole();
        parts.chain(whole.map(move |whole| Device::Whole { gpu: self, whole }))
    }
}

impl Inventory {
    /// All that can be handed out, by PCI bus id, then (GI, CI).
    pub fn devices(&self) -> impl Iterator<Item = Device<'_>> {
        self.gpus.iter().flat_map(Gpu::offers)
    }

    /// Leaves a device out of all further choice.
    pub fn forget(&mut self, name: &DeviceName) {
        match name {
            DeviceName::Mig(uuid) => {
                for gpu in &mut self.gpus {
                    if let MigMode::Enabled { devices, .. } = &mut gpu.mig {
                        devices.retain(|device| device.uuid != *uuid);
                    }
                }
            }
            DeviceName::Gpu(uuid) => self.gpus.retain(|gpu| gpu.uuid != *uuid || gpu.whole().is_none()),
        }
    }

    /// The device of that name.
    pub fn device(&self, name: &DeviceName) -> Option<Device<'_>> {
        self.devices().find(|device| device.is_called(name))
    }
}

/// A node's GPUs, as the transaction sees them. `host` implements it over NVML and /proc.
pub trait Gpus {
    /// What [`Gpus::inventory`] found earlier, where nothing that can be seen without the driver has changed since.
    /// Cheap, and safe under the ledger's lock. What is chosen from it is to be checked, and no refusal may rest on it.
    fn remembered(&self) -> Option<Inventory>;

    /// Everything the node has now, remembered from here on. Slow: it asks the driver, and touches every GPU. Never call
    /// it with the ledger's lock held.
    fn inventory(&self) -> Result<Inventory, Failure>;

    /// Whether anything that can be seen without the driver has changed since the node was last read or remembered. Cheap.
    fn has_changed(&self) -> bool;

    /// Asks the driver about these devices alone, touching no other GPU; one answer each, in their order. Never call it
    /// with the ledger's lock held.
    fn check(&self, devices: &[Device<'_>]) -> Result<Vec<Checked>, Failure>;

    /// The device nodes that are the access right to `device`, checked against /proc and made where they are
    /// missing. Asks no driver: safe under the ledger's lock.
    fn nodes(&self, device: Device<'_>) -> Result<Vec<DeviceNode>, Failure>;
}
