//! The few NVML calls that nvml-wrapper doesn't offer safely, through nvml-wrapper-sys.

use std::os::raw::c_uint;

use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::{
    nvmlComputeInstance_t, nvmlComputeInstanceInfo_t, nvmlDevice_t, nvmlGpuInstance_t, nvmlGpuInstanceInfo_t,
    nvmlGpuInstanceProfileInfo_v2_t, nvmlMemory_t, nvmlReturn_t,
};

use crate::mig::Profile;

/// The CUDA version that the driver brings, as 12040 for 12.4: what the libcuda says that the loader finds; where there is
/// none for it, what this NVML was made for. (The older function does both; nvml-wrapper has the newer one, which does the
/// first alone.)
pub fn cuda_version(nvml: &Nvml) -> Result<i32, NvmlError> {
    let get = *nvml_sym(nvml.lib().nvmlSystemGetCudaDriverVersion.as_ref())?;
    let mut version = 0;
    // SAFETY: `get` is NVML's own symbol of that signature, and the out pointer is ours.
    nvml_try(unsafe { get(&mut version) })?;
    Ok(version)
}

type GetId = unsafe extern "C" fn(nvmlDevice_t, *mut c_uint) -> nvmlReturn_t;

/// The id of a MIG device's GPU instance.
pub fn gpu_instance_id(nvml: &Nvml, mig: &Device) -> Result<u32, NvmlError> {
    id(*nvml_sym(nvml.lib().nvmlDeviceGetGpuInstanceId.as_ref())?, mig)
}

/// The id of a MIG device's compute instance.
pub fn compute_instance_id(nvml: &Nvml, mig: &Device) -> Result<u32, NvmlError> {
    id(
        *nvml_sym(nvml.lib().nvmlDeviceGetComputeInstanceId.as_ref())?,
        mig,
    )
}

fn id(get: GetId, mig: &Device) -> Result<u32, NvmlError> {
    let mut id = 0;
    // SAFETY: `get` is NVML's own symbol of that signature, the handle lives as long as the init, `id` is ours.
    nvml_try(unsafe { get(mig.handle(), &mut id) })?;
    Ok(id)
}

/// All of a GPU's memory, in bytes. The first version of that call: nvml-wrapper's needs R510.
pub fn memory(nvml: &Nvml, gpu: &Device) -> Result<u64, NvmlError> {
    let get = nvml_sym(nvml.lib().nvmlDeviceGetMemoryInfo.as_ref())?;
    // SAFETY: a plain C struct of integers, for which all zeroes is a value.
    let mut memory: nvmlMemory_t = unsafe { std::mem::zeroed() };
    // SAFETY: the symbol is NVML's, the handle lives as long as the init, and the out pointer is ours.
    nvml_try(unsafe { get(gpu.handle(), &mut memory) })?;
    Ok(memory.total)
}

/// A GPU instance that exists.
pub struct GpuInstance {
    handle: nvmlGpuInstance_t,
    /// Its id, profile id and placement.
    pub info: nvmlGpuInstanceInfo_t,
}

/// A GPU instance's profile id and placement. NVML tells them to root alone.
pub fn gpu_instance(nvml: &Nvml, gpu: &Device, id: u32) -> Result<GpuInstance, NvmlError> {
    let by_id = nvml_sym(nvml.lib().nvmlDeviceGetGpuInstanceById.as_ref())?;
    let get_info = nvml_sym(nvml.lib().nvmlGpuInstanceGetInfo.as_ref())?;
    let mut instance: nvmlGpuInstance_t = std::ptr::null_mut();
    // SAFETY: the symbol is NVML's, the device handle lives as long as the init, and the out pointer is ours.
    nvml_try(unsafe { by_id(gpu.handle(), id, &mut instance) })?;
    // SAFETY: a plain C struct of integers and pointers, for which all zeroes is a value.
    let mut info: nvmlGpuInstanceInfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the instance handle was given by the call above, and the out pointer is ours.
    nvml_try(unsafe { get_info(instance, &mut info) })?;
    Ok(GpuInstance {
        handle: instance,
        info,
    })
}

/// The MIG device that is compute instance `id` of that GPU instance.
pub fn device_of_instance<'nvml>(
    nvml: &'nvml Nvml,
    instance: &GpuInstance,
    id: u32,
) -> Result<Device<'nvml>, NvmlError> {
    let by_id = nvml_sym(nvml.lib().nvmlGpuInstanceGetComputeInstanceById.as_ref())?;
    let get_info = nvml_sym(nvml.lib().nvmlComputeInstanceGetInfo_v2.as_ref())?;
    let mut compute: nvmlComputeInstance_t = std::ptr::null_mut();
    // SAFETY: the symbol is NVML's, the instance's handle lives as long as the init, and the out pointer is ours.
    nvml_try(unsafe { by_id(instance.handle, id, &mut compute) })?;
    // SAFETY: a plain C struct of integers and pointers, for which all zeroes is a value.
    let mut info: nvmlComputeInstanceInfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the instance handle was given by the call above, and the out pointer is ours.
    nvml_try(unsafe { get_info(compute, &mut info) })?;
    // SAFETY: the handle is a device's, and lives as long as this init of NVML, as the result does.
    Ok(unsafe { Device::new(info.device, nvml) })
}

/// A GPU instance profile's name as nvidia-smi prints it (`MIG 1g.10gb`), by NVML's enum; none where the driver
/// (before R510) doesn't tell it, or tells one that is no profile.
pub fn profile_name(nvml: &Nvml, gpu: &Device, number: u32) -> Result<Option<Profile>, NvmlError> {
    let Ok(get) = nvml_sym(nvml.lib().nvmlDeviceGetGpuInstanceProfileInfoV.as_ref()) else {
        return Ok(None);
    };
    // SAFETY: a plain C struct of integers and characters, for which all zeroes is a value.
    let mut info: nvmlGpuInstanceProfileInfo_v2_t = unsafe { std::mem::zeroed() };
    info.version = struct_version::<nvmlGpuInstanceProfileInfo_v2_t>(2);
    // SAFETY: the symbol is NVML's, the handle lives as long as the init, and `version` tells NVML the size.
    match nvml_try(unsafe { get(gpu.handle(), number, &mut info) }) {
        // 25, ARGUMENT_VERSION_MISMATCH: nvml-wrapper has no name for it.
        Err(NvmlError::UnexpectedVariant(_)) => return Ok(None),
        other => other?,
    }
    let bytes: Vec<u8> = info
        .name
        .iter()
        .map(|c| c.to_ne_bytes()[0])
        .take_while(|byte| *byte != 0)
        .collect();
    let name = String::from_utf8_lossy(&bytes);
    Ok(name.strip_prefix("MIG ").unwrap_or(&name).parse().ok())
}

/// NVML's NVML_STRUCT_VERSION: the size, and the version in the top byte.
fn struct_version<T>(version: u32) -> u32 {
    u32::try_from(std::mem::size_of::<T>()).unwrap_or(0) | (version << 24)
}
