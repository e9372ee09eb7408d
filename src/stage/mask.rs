//! What a container sees of the driver's part of /proc: what is about its lease's devices.

use crate::config::Config;
use crate::edits::ProcMask;
use crate::failure::Failure;
use crate::inject::{self, LiveContainer};
use crate::lease::{Lease, LeasedDevice};

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
        show(&mut mask, device);
    }
    inject::mask(live, &mask)
}

/// A whole GPU has no instances. Of a MIG device that an earlier version leased the GPU's place isn't known.
fn show(mask: &mut ProcMask, device: &LeasedDevice) {
    match device {
        LeasedDevice::Mig(device) => {
            device.pci.into_iter().for_each(|pci| mask.show_gpu(pci));
            if let Some(minor) = device.minor {
                mask.show_instance(minor, device.gi, device.ci);
            }
        }
        LeasedDevice::Gpu(device) => mask.show_gpu(device.pci),
    }
}
