//! What the ledger keeps of each held device beside its lease: enough to keep the device out of use, and to judge its
//! holder, where the lease itself can't be read. Written as `devices/<uuid>`, before the lease, and removed after it.

use serde::{Deserialize, Serialize};

use super::files::Document;
use super::record::layout;
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
        let first = records.first()?;
        let agree = |record: &DeviceRecord| record.lease == first.lease && record.of == first.of;
        if records.len() != first.of || !records.iter().all(agree) {
            return None;
        }
        let (devices, known): (Vec<_>, Vec<_>) = records.into_iter().map(DeviceRecord::split).unzip();
        // A writer may have been killed between two of them: the younger one knows more.
        let youngest = known.into_iter().max_by_key(|lease| lease.written)?;
        Some(Lease {
            version: layout(&devices),
            devices,
            ..youngest
        })
    }

    /// The device, and what is known of its lease besides.
    fn split(self) -> (LeasedDevice, Lease) {
        let lease = Lease {
            version: layout(std::slice::from_ref(&self.device)),
            id: self.lease,
            state: self.state,
            holder: self.holder,
            devices: Vec::new(),
            request: Default::default(),
            boot_id: self.boot_id,
            driver: String::new(),
            written: self.written,
        };
        (self.device, lease)
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
