//! NVML's structs as x86-64 lays them out, in nvml.h's order.

use std::ffi::c_char;

use crate::handle::Handle;

/// The version word of a struct that carries one: its size and its number.
pub const fn version<T>(number: u32) -> u32 {
    size_of::<T>() as u32 | number << 24
}

/// `nvmlPciInfo_v1_t`: what every later version begins with.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PciInfoV1 {
    /// `0000:07:00.0`.
    pub bus_id: [c_char; 16],
    /// Domain.
    pub domain: u32,
    /// Bus.
    pub bus: u32,
    /// Device.
    pub device: u32,
    /// Device id and vendor id.
    pub pci_device_id: u32,
}

/// `nvmlPciInfo_v2_t`, less its reserved tail, which NVML leaves alone.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PciInfoV2 {
    /// The first version's fields.
    pub v1: PciInfoV1,
    /// Subsystem id.
    pub pci_subsystem_id: u32,
}

/// `nvmlPciInfo_t`, the third version.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PciInfo {
    /// The second version's fields; its bus id is called legacy now.
    pub v2: PciInfoV2,
    /// `00000000:07:00.0`.
    pub bus_id: [c_char; 32],
}

/// `nvmlMemory_t`, in bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// Free.
    pub free: u64,
    /// Used.
    pub used: u64,
}

/// `nvmlMemory_v2_t`, in bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MemoryV2 {
    /// Version word.
    pub version: u32,
    /// All of it.
    pub total: u64,
    /// Taken by the driver.
    pub reserved: u64,
    /// Free.
    pub free: u64,
    /// Used.
    pub used: u64,
}

/// `nvmlProcessInfo_v1_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ProcessInfoV1 {
    /// Its pid.
    pub pid: u32,
    /// Bytes it uses; all ones where unknown.
    pub used_memory: u64,
}

/// `nvmlProcessInfo_v2_t`, which is also the third version's.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ProcessInfo {
    /// The first version's fields.
    pub v1: ProcessInfoV1,
    /// GPU instance, all ones without MIG.
    pub gi: u32,
    /// Compute instance, all ones without MIG.
    pub ci: u32,
}

/// `nvmlDeviceAttributes_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Attributes {
    /// Multiprocessors.
    pub sm: u32,
    /// Copy engines.
    pub copy: u32,
    /// Decoders.
    pub decoder: u32,
    /// Encoders.
    pub encoder: u32,
    /// JPEG engines.
    pub jpeg: u32,
    /// Optical flow engines.
    pub ofa: u32,
    /// Compute slices of the GPU instance.
    pub gi_slices: u32,
    /// Compute slices of the compute instance.
    pub ci_slices: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// `nvmlGpuInstancePlacement_t` and `nvmlComputeInstancePlacement_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Placement {
    /// First slice.
    pub start: u32,
    /// How many.
    pub size: u32,
}

/// Engine counts in the order that profile infos have them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct EngineCounts {
    /// Multiprocessors.
    pub sm: u32,
    /// Copy engines.
    pub copy: u32,
    /// Decoders.
    pub decoder: u32,
    /// Encoders.
    pub encoder: u32,
    /// JPEG engines.
    pub jpeg: u32,
    /// Optical flow engines.
    pub ofa: u32,
}

/// `nvmlGpuInstanceProfileInfo_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GiProfileInfo {
    /// Profile id.
    pub id: u32,
    /// Peer to peer.
    pub p2p: u32,
    /// Compute slices.
    pub slices: u32,
    /// Most instances.
    pub max: u32,
    /// Engines.
    pub engines: EngineCounts,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// `nvmlGpuInstanceProfileInfo_v2_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GiProfileInfoV2 {
    /// Version word.
    pub version: u32,
    /// Profile id.
    pub id: u32,
    /// Peer to peer.
    pub p2p: u32,
    /// Compute slices.
    pub slices: u32,
    /// Most instances.
    pub max: u32,
    /// Engines.
    pub engines: EngineCounts,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// `MIG 1g.10gb`.
    pub name: [c_char; 96],
}

/// `nvmlGpuInstanceProfileInfo_v3_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GiProfileInfoV3 {
    /// Version word.
    pub version: u32,
    /// Profile id.
    pub id: u32,
    /// Compute slices.
    pub slices: u32,
    /// Most instances.
    pub max: u32,
    /// Engines.
    pub engines: EngineCounts,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// `MIG 1g.10gb`.
    pub name: [c_char; 96],
    /// Bit 0: peer to peer; bit 1: graphics.
    pub capabilities: u32,
}

/// `nvmlGpuInstanceInfo_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GpuInstanceInfo {
    /// Its GPU.
    pub device: Handle,
    /// Its id.
    pub id: u32,
    /// Its profile's id.
    pub profile: u32,
    /// Where it lies, in memory slices.
    pub placement: Placement,
}

/// `nvmlComputeInstanceProfileInfo_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CiProfileInfo {
    /// Profile id.
    pub id: u32,
    /// Compute slices.
    pub slices: u32,
    /// Most instances.
    pub max: u32,
    /// Engines, all but the multiprocessors shared.
    pub engines: EngineCounts,
}

/// `nvmlComputeInstanceProfileInfo_v2_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CiProfileInfoV2 {
    /// Version word.
    pub version: u32,
    /// The first version's fields.
    pub v1: CiProfileInfo,
    /// `MIG 1c.3g.40gb`.
    pub name: [c_char; 96],
}

/// `nvmlComputeInstanceProfileInfo_v3_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CiProfileInfoV3 {
    /// The second version's fields.
    pub v2: CiProfileInfoV2,
    /// Bit 0: graphics.
    pub capabilities: u32,
}

/// `nvmlComputeInstanceInfo_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ComputeInstanceInfo {
    /// The MIG device's handle.
    pub device: Handle,
    /// Its GPU instance.
    pub gpu_instance: Handle,
    /// Its id.
    pub id: u32,
    /// Its profile's id.
    pub profile: u32,
    /// Where it lies, in compute slices.
    pub placement: Placement,
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn structs_are_as_nvml_lays_them_out() {
        assert_eq!(size_of::<Attributes>(), 40);
        assert_eq!(offset_of!(Attributes, gi_slices), 24);
        assert_eq!(offset_of!(Attributes, memory_mib), 32);
        assert_eq!(size_of::<Placement>(), 8);
        assert_eq!(size_of::<GiProfileInfo>(), 48);
        assert_eq!(offset_of!(GiProfileInfo, memory_mib), 40);
        assert_eq!(version::<GiProfileInfoV2>(2), 0x0200_0098);
        assert_eq!(offset_of!(GiProfileInfoV2, memory_mib), 48);
        assert_eq!(offset_of!(GiProfileInfoV2, name), 56);
        assert_eq!(version::<GiProfileInfoV3>(3), 0x0300_0098);
        assert_eq!(offset_of!(GiProfileInfoV3, memory_mib), 40);
        assert_eq!(offset_of!(GiProfileInfoV3, name), 48);
        assert_eq!(offset_of!(GiProfileInfoV3, capabilities), 144);
        assert_eq!(size_of::<GpuInstanceInfo>(), 24);
        assert_eq!(size_of::<CiProfileInfo>(), 36);
        assert_eq!(version::<CiProfileInfoV2>(2), 0x0200_0088);
        assert_eq!(offset_of!(CiProfileInfoV2, name), 40);
        assert_eq!(version::<CiProfileInfoV3>(3), 0x0300_008c);
        assert_eq!(offset_of!(CiProfileInfoV3, capabilities), 136);
        assert_eq!(size_of::<ComputeInstanceInfo>(), 32);
        assert_eq!(offset_of!(ComputeInstanceInfo, placement), 24);
        assert_eq!(size_of::<PciInfo>(), 68);
        assert_eq!(version::<MemoryV2>(2), 0x0200_0028);
        assert_eq!(size_of::<ProcessInfoV1>(), 16);
        assert_eq!(size_of::<ProcessInfo>(), 24);
    }
}
