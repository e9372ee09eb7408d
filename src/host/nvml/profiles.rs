//! The GPU instance profiles that a GPU offers.

#![forbid(unsafe_code)]

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::NVML_GPU_INSTANCE_PROFILE_COUNT;

use super::raw;
use crate::mig::{GpuProfile, Profile, Suffix};

/// Every profile that `gpu` offers: NVML's enum has holes, so each value is asked for.
pub fn of(nvml: &Nvml, gpu: &Device) -> Result<Vec<GpuProfile>, NvmlError> {
    let mut profiles = Vec::new();
    for number in 0..NVML_GPU_INSTANCE_PROFILE_COUNT {
        match profile(nvml, gpu, number) {
            Ok(profile) => profiles.push(profile),
            Err(NvmlError::NotSupported) => {}
            // Past the end of what this driver knows.
            Err(NvmlError::InvalidArg) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(profiles)
}

fn profile(nvml: &Nvml, gpu: &Device, number: u32) -> Result<GpuProfile, NvmlError> {
    let plain = gpu.profile_info(number)?;
    let named = raw::profile_name(nvml, gpu, number)?;
    Ok(GpuProfile {
        id: plain.id,
        profile: named.unwrap_or_else(|| computed_name(number, plain.slice_count, plain.memory_size_mb)),
        memory_mib: plain.memory_size_mb,
    })
}

/// The name for a driver that doesn't tell it. The figure may be one off nvidia-smi's; requests allow for that.
fn computed_name(number: u32, slices: u32, memory_mib: u64) -> Profile {
    let slices = u8::try_from(slices).unwrap_or(u8::MAX);
    Profile {
        ci_slices: slices,
        gi_slices: slices,
        memory_gb: u16::try_from(memory_mib.div_ceil(1024)).unwrap_or(u16::MAX),
        suffix: match number {
            7 | 8 => Suffix::Me,
            10..=12 => Suffix::Gfx,
            13 | 14 => Suffix::NoMe,
            15 | 16 => Suffix::MeAll,
            _ => Suffix::Plain,
        },
    }
}
