//! A device under a lease, with all that later stages need of it, so that they need no driver; and the layout that a record
//! of such devices has.

use serde::{Deserialize, Serialize};

use crate::mig::{
    ComputeInstanceId, Device, DeviceMinor, DeviceName, DeviceNode, GpuInstanceId, GpuUuid, Kind, MigUuid,
    PciBusId, Profile,
};

/// The newest layout that this program reads. 1 had no records of devices beside it; 2 knew no whole GPUs.
///
/// What is written is of the oldest layout since 2 that can say it ([`layout`]), so that an earlier program beside this one
/// goes on reading leases of MIG devices. One of a whole GPU it sees for what it is, of a newer layout, and its device's
/// record too: then it hands out nothing, since that GPU may be in MIG mode by the time that it looks.
pub const VERSION: u32 = 3;

/// The layout for a lease or record of these devices.
pub fn layout(devices: &[LeasedDevice]) -> u32 {
    let is_whole = |device: &LeasedDevice| matches!(device, LeasedDevice::Gpu(_));
    if devices.iter().any(is_whole) { 3 } else { 2 }
}

/// A device under a lease, with all that later stages need of it, so that they need no driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeasedDevice {
    /// A MIG device.
    Mig(LeasedMig),
    /// A whole GPU.
    Gpu(LeasedGpu),
}

/// A MIG device under a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasedMig {
    /// The device.
    pub uuid: MigUuid,
    /// Its GPU.
    pub gpu: GpuUuid,
    /// Where that sits. Earlier versions didn't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci: Option<PciBusId>,
    /// And its minor, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<DeviceMinor>,
    /// Its GPU instance.
    pub gi: GpuInstanceId,
    /// Its compute instance.
    pub ci: ComputeInstanceId,
    /// Its profile when it was leased.
    pub profile: Profile,
    /// The device nodes that are the right to use it.
    pub nodes: Vec<DeviceNode>,
}

/// A whole GPU under a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasedGpu {
    /// The GPU.
    pub uuid: GpuUuid,
    /// Where it sits.
    pub pci: PciBusId,
    /// Its minor.
    pub minor: DeviceMinor,
    /// The device nodes that are the right to use it.
    pub nodes: Vec<DeviceNode>,
}

impl LeasedDevice {
    /// The name that the container's environment gets.
    pub fn name(&self) -> DeviceName {
        match self {
            LeasedDevice::Mig(device) => device.uuid.clone().into(),
            LeasedDevice::Gpu(gpu) => gpu.uuid.clone().into(),
        }
    }

    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            LeasedDevice::Mig(device) => Kind::Mig(device.profile),
            LeasedDevice::Gpu(_) => Kind::Gpu,
        }
    }

    /// Whether this is `device`, or was in its very place, so that its nodes are that device's now. A GPU whose MIG mode
    /// was switched meanwhile is in the place of all of its devices, and they are in its.
    pub(super) fn is(&self, device: Device<'_>) -> bool {
        match (self, device) {
            (LeasedDevice::Mig(leased), Device::Mig { gpu, device }) => {
                let same_place = leased.gpu == gpu.uuid && leased.gi == device.gi && leased.ci == device.ci;
                same_place || leased.uuid == device.uuid
            }
            (LeasedDevice::Mig(leased), Device::Whole { gpu, .. }) => leased.gpu == gpu.uuid,
            (LeasedDevice::Gpu(leased), device) => leased.uuid == device.gpu().uuid,
        }
    }

    /// The device nodes that are the right to use it.
    pub fn nodes(&self) -> &[DeviceNode] {
        match self {
            LeasedDevice::Mig(device) => &device.nodes,
            LeasedDevice::Gpu(gpu) => &gpu.nodes,
        }
    }

    /// What tells it from others, without the right to use it.
    pub(super) fn without_nodes(&self) -> LeasedDevice {
        match self {
            LeasedDevice::Mig(device) => LeasedDevice::Mig(LeasedMig {
                nodes: Vec::new(),
                ..device.clone()
            }),
            LeasedDevice::Gpu(gpu) => LeasedDevice::Gpu(LeasedGpu {
                nodes: Vec::new(),
                ..gpu.clone()
            }),
        }
    }
}
