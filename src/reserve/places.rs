//! Which lease a device is under: by its name, or by its place.
//!
//! An instance that was made anew where a leased one was has another UUID, and the device nodes that the lease's holder
//! still has. And MIG mode can be switched while a lease stands: a GPU that is leased whole is the place of all the
//! instances that it may have by now, and any leased instance keeps its GPU from being had whole.

use std::collections::BTreeMap;

use crate::lease::{Lease, LeasedDevice};
use crate::mig::{ComputeInstanceId, Device, DeviceMinor, GpuInstanceId, GpuUuid, MigUuid};

/// A GPU, by its name or by its node: after the driver was loaded anew, which may number GPUs in another order, a holder's
/// nodes are another GPU's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Seat<'a> {
    Named(&'a GpuUuid),
    Minor(DeviceMinor),
}

/// Where leases are. A full node has as many leases as devices: each is looked up, not searched for.
#[derive(Default)]
pub struct Places<'a> {
    by_name: BTreeMap<&'a MigUuid, &'a Lease>,
    by_place: BTreeMap<(Seat<'a>, GpuInstanceId, ComputeInstanceId), &'a Lease>,
    /// Of each GPU, one of the leases of its instances.
    of_parts: BTreeMap<Seat<'a>, &'a Lease>,
    /// Of each GPU, the lease of it as a whole.
    of_whole: BTreeMap<Seat<'a>, &'a Lease>,
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
                let named = Seat::Named(&device.gpu);
                for seat in [Some(named), device.minor.map(Seat::Minor)].into_iter().flatten() {
                    self.by_place.insert((seat, device.gi, device.ci), lease);
                    self.of_parts.insert(seat, lease);
                }
            }
            LeasedDevice::Gpu(gpu) => {
                for seat in [Seat::Named(&gpu.uuid), Seat::Minor(gpu.minor)] {
                    self.of_whole.insert(seat, lease);
                }
            }
        }
    }

    /// The lease that a device is under.
    pub fn lease_on(&self, device: Device<'_>) -> Option<&'a Lease> {
        let by_name = match device {
            Device::Mig { device, .. } => self.by_name.get(&device.uuid).copied(),
            Device::Whole { .. } => None,
        };
        let gpu = device.gpu();
        let mut seats = [Seat::Named(&gpu.uuid), Seat::Minor(gpu.minor)].into_iter();
        by_name.or_else(|| seats.find_map(|seat| self.lease_at(seat, device)))
    }

    fn lease_at(&self, seat: Seat<'_>, device: Device<'_>) -> Option<&'a Lease> {
        let parts = match device {
            Device::Mig { device, .. } => self.by_place.get(&(seat, device.gi, device.ci)),
            Device::Whole { .. } => self.of_parts.get(&seat),
        };
        parts.or_else(|| self.of_whole.get(&seat)).copied()
    }
}
