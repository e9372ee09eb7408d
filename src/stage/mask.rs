//! What a container sees of the driver's part of /proc: what is about its lease's devices.

use crate::config::Config;
use crate::edits::ProcMask;
use crate::failure::Failure;
use crate::inject::{self, LiveContainer};
use crate::lease::{Lease, LeasedDevice, LeasedMig};

/// Hides everything else of it in `live`, unless the configuration says not to.
///
/// # Errors
/// A host failure where that can't be done.
pub fn mask_proc(config: &Config, live: &LiveContainer, lease: &Lease) -> Result<(), Failure> {
    if !config.mask_proc {
        return Ok(());
    }
    let mut mask = ProcMask::new(config.driver.proc.join("driver/nvidia"));
    for device in &lease.devices {
        match device {
            LeasedDevice::Mig(device) => show_mig(&mut mask, device),
            LeasedDevice::Gpu(gpu) => mask.show_gpu(gpu.pci),
        }
    }
    inject::mask(live, &mask)
}

/// Of a lease of an earlier version that says neither, nothing is shown.
fn show_mig(mask: &mut ProcMask, device: &LeasedMig) {
    if let Some(pci) = device.pci {
        mask.show_gpu(pci);
    }
    if let Some(minor) = device.minor {
        mask.show_instance(minor, device.gi, device.ci);
    }
}
