//! The vocabulary of MIG: what GPUs, instances and devices are called and what is known of them. No I/O.

#![forbid(unsafe_code)]

mod check;
mod device;
mod id;
mod inventory;
mod name;
mod node;
mod profile;
mod version;

pub use check::{Checked, User};
pub use device::{Attributes, Device, MigDevice, Placement};
pub use id::{ComputeInstanceId, DeviceMinor, GpuInstanceId, GpuUuid, MigUuid, PciBusId};
pub use inventory::{Gpu, GpuProfile, Gpus, Inventory, LeftOut, MigMode, WholeGpu};
pub use name::{DeviceName, Kind};
pub use node::{Access, DeviceNode, DeviceNumber};
pub use profile::{Profile, Suffix};
pub use version::Version;
