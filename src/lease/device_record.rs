//! What the ledger keeps of each held device beside its lease: enough to keep the device out of use, and to judge its
//! holder, where the lease itself can't be read. Written as `devices/<uuid>`, before the lease, and removed after it.

use serde::{Deserialize, Serialize};

use super::files::Document;
use super::leased::layout;
use super::{Holder, Lease, LeaseId, LeaseState, LeasedDevice};
use crate::mig::DeviceName;

/// One held device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// The layout of this record: its lease's.
    pub version: u32,
    /// The lease that holds it. Where that is gone, this is what a writer left that was killed.
    pub lease: LeaseId,
    /// How many devices that lease holds: so many records name it.
    pub of: usize,
    /// The device, without its nodes.
    pub device: LeasedDevice,
    /// As in the lease.
    pub state: LeaseState,
    /// As in the lease.
    pub holder: Holder,
    /// As in the lease.
    pub boot_id: String,
    /// As in the lease.
    pub written: u64,
}

impl DeviceRecord {
    /// The records of a lease's devices.
    pub fn of(lease: &Lease) -> impl Iterator<Item = DeviceRecord> {
        lease.devices.iter().map(|device| DeviceRecord {
            version: layout(&lease.devices),
            lease: lease.id.clone(),
            of: lease.devices.len(),
            device: device.without_nodes(),
            state: lease.state,
            holder: lease.holder.clone(),
            boot_id: lease.boot_id.clone(),
            written: lease.written,
        })
    }

    /// The file that the record of that device is in. The name of a device before driver R470 has slashes in it.
    pub fn file_name_of(device: &DeviceName) -> String {
        device.to_string().replace('/', ":")
    }

    /// What all of a lease's records say of it: whose it is, and which devices it holds. None where they are not all
    /// there, or don't agree.
    pub fn together(records: Vec<DeviceRecord>) -> Option<Lease> {
        let first = records.first()?.clone();
        let agree = |record: &DeviceRecord| record.lease == first.lease && record.of == first.of;
        if records.len() != first.of || !records.iter().all(agree) {
            return None;
        }
        // A writer may have been killed between two of them: the younger one knows more.
        let youngest = records.iter().max_by_key(|record| record.written)?.clone();
        let devices: Vec<LeasedDevice> = records.into_iter().map(|record| record.device).collect();
        Some(Lease {
            version: layout(&devices),
            id: first.lease,
            state: youngest.state,
            holder: youngest.holder,
            devices,
            request: Default::default(),
            boot_id: youngest.boot_id,
            driver: String::new(),
            written: youngest.written,
        })
    }
}

impl Document for DeviceRecord {
    fn version(&self) -> u32 {
        self.version
    }

    fn file_name(&self) -> String {
        DeviceRecord::file_name_of(&self.device.name())
    }
}
