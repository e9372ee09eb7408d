//! What `status` knows of a machine, as data; `--json` prints it as it is.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lease::{Holder, LeaseId};
use crate::mig::{ComputeInstanceId, DeviceName, GpuInstanceId, GpuUuid, Kind, LeftOut, PciBusId, User};

/// Everything that `status` knows; `--json` prints it as it is.
#[derive(Serialize)]
pub struct Status {
    /// The driver's version; absent where the driver can't be asked.
    pub driver: Option<String>,
    pub gpus: Vec<GpuStatus>,
    /// What can't be used now, and why.
    pub left_out: Vec<LeftOut>,
    /// Leases of devices that aren't there any more.
    pub orphans: Vec<DeviceStatus>,
    /// Files in the ledger that can't be read. What they hold is out of use.
    pub unreadable: Vec<UnreadableFile>,
    /// Who waits, first come first.
    pub waiting: Vec<WaitingStatus>,
    /// Why the driver can't be asked.
    pub error: Option<String>,
}

#[derive(Serialize)]
pub struct GpuStatus {
    pub index: u32,
    pub uuid: GpuUuid,
    pub pci: PciBusId,
    pub model: String,
    /// `enabled`, `disabled` or `unsupported`.
    pub mig: &'static str,
    /// Its MIG devices; itself, where it is not in MIG mode.
    pub devices: Vec<DeviceStatus>,
}

#[derive(Serialize)]
pub struct DeviceStatus {
    pub uuid: DeviceName,
    /// Its profile; `gpu` for a whole GPU.
    pub profile: Kind,
    /// Which instances it is; absent for a whole GPU.
    #[serde(flatten)]
    pub instances: Option<Instances>,
    /// Memory of its GPU instance, or of the whole GPU; absent for a device that is gone, or where NVML doesn't tell it.
    pub memory_mib: Option<u64>,
    pub state: State,
    /// Who holds it, and since when.
    pub lease: Option<LeaseStatus>,
    /// The processes that use it, where NVML tells.
    pub users: Vec<User>,
}

/// The instances that a MIG device is.
#[derive(Serialize)]
pub struct Instances {
    pub gi: GpuInstanceId,
    pub ci: ComputeInstanceId,
}

#[derive(Serialize)]
pub struct LeaseStatus {
    pub id: LeaseId,
    /// How long the lease has been in its state.
    pub age_seconds: u64,
    pub holder: Holder,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Free,
    /// No lease is on it, and a process uses it: it isn't given to anybody.
    InUse,
    Pending,
    Held,
    Releasing,
    /// Its holder is gone; the next reservation takes it back.
    Stale,
    /// Its lease can't be read: out of use until the holder is gone.
    Unreadable,
}

/// One who waits (`mig.wait`).
#[derive(Serialize)]
pub struct WaitingStatus {
    /// The container's id.
    pub container: String,
    /// What it asks for, as annotations.
    pub request: BTreeMap<String, String>,
    /// The process that waits.
    pub pid: i32,
    /// Since when.
    pub age_seconds: u64,
    /// How much longer.
    pub left_seconds: u64,
}

#[derive(Serialize)]
pub struct UnreadableFile {
    pub path: String,
    pub why: String,
    /// The devices that it holds; absent where that is unknown. Then none is handed out.
    pub devices: Option<Vec<DeviceName>>,
}
