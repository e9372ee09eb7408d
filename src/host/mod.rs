//! What this machine has: the driver, its GPUs through NVML, its capabilities and its device nodes.

mod capabilities;
mod driver;
mod nodes;
pub mod nvml;

pub use nodes::number_at;

use crate::config::{Driver, Nvml};
use crate::failure::Failure;
use crate::mig::{DeviceNode, Gpu, Gpus, Inventory, MigDevice};

/// This machine, as the configuration says where to find it.
#[derive(Clone, Debug)]
pub struct Host {
    driver: Driver,
    nvml: Nvml,
    progress: fn(&str),
}

impl Host {
    /// The machine whose driver shows itself in `driver`'s folders.
    pub fn new(driver: Driver, nvml: Nvml) -> Host {
        Host {
            driver,
            nvml,
            progress: |_| {},
        }
    }

    /// Every major of NVIDIA's drivers; none where no driver is loaded.
    ///
    /// # Errors
    /// A host failure where /proc can't be read.
    pub fn majors(&self) -> Result<Vec<u32>, Failure> {
        capabilities::all_majors(&self.driver.proc)
    }

    /// The same, telling `progress` what NVML is asked whenever its answer takes long.
    #[must_use]
    pub fn with_progress(self, progress: fn(&str)) -> Host {
        Host { progress, ..self }
    }
}

impl Gpus for Host {
    fn inventory(&self) -> Result<Inventory, Failure> {
        // Before NVML is touched: as root, its init makes device nodes and calls nvidia-modprobe.
        driver::loaded(&self.driver.proc)?;
        let mut inventory = nvml::inventory(&self.nvml, &self.driver.root, self.progress)?;
        inventory.left_out.extend(driver::excluded(&self.driver.proc));
        Ok(inventory)
    }

    fn nodes(&self, gpu: &Gpu, device: &MigDevice) -> Result<Vec<DeviceNode>, Failure> {
        nodes::of_device(&self.driver, gpu, device)
    }
}
