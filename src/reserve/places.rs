//! Which lease a device is under: by its name, or by its place.
//!
//! An instance that was made anew where a leased one was has another UUID, and the device nodes that the lease's holder
//! still has. And MIG mode can be switched while a lease stands: a GPU that is leased whole is the place of all the
//! instances that it may have by now, and any leased instance keeps its GPU from being had whole.

use std::collections::BTreeMap;

use crate::lease::{Lease, LeasedDevice};
use crate::mig::{ComputeInstanceId, Device, GpuInstanceId, GpuUuid, MigUuid};

/// Where leases are. A full node has as many leases as devices: each is looked up, not searched for.
#[derive(Default)]
pub struct Places<'a> {
    by_name: BTreeMap<&'a MigUuid, &'a Lease>,
    by_place: BTreeMap<(&'a GpuUuid, GpuInstanceId, ComputeInstanceId), &'a Lease>,
    /// Of each GPU, one of the leases of its instances.
    of_parts: BTreeMap<&'a GpuUuid, &'a Lease>,
    /// Of each GPU, the lease of it as a whole.
    of_whole: BTreeMap<&'a GpuUuid, &'a Lease>,
}

impl<'a> Places<'a> {
    /// Where these are.
    pub fn of(leases: &[&'a Lease]) -> Places<'a> {
        let mut places = Places::default();
        for lease in leases {
            for device in &lease.devices {
                places.put(device, lease);
            }
        }
        places
    }

    fn put(&mut self, device: &'a LeasedDevice, lease: &'a Lease) {
        match device {
            LeasedDevice::Mig(device) => {
                self.by_name.insert(&device.uuid, lease);
                self.by_place.insert((&device.gpu, device.gi, device.ci), lease);
                self.of_parts.insert(&device.gpu, lease);
            }
            LeasedDevice::Gpu(gpu) => {
                self.of_whole.insert(&gpu.uuid, lease);
            }
        }
    }

    /// The lease that a device is under.
    pub fn lease_on(&self, device: Device<'_>) -> Option<&'a Lease> {
        let gpu = &device.gpu().uuid;
        let parts = match device {
            Device::Mig { device, .. } => {
                let place = (gpu, device.gi, device.ci);
                let by_name = self.by_name.get(&device.uuid);
                by_name.or_else(|| self.by_place.get(&place))
            }
            Device::Whole { .. } => self.of_parts.get(gpu),
        };
        parts.or_else(|| self.of_whole.get(gpu)).copied()
    }
}
