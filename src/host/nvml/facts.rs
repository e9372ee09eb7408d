//! What images may require of the machine and its GPUs, as NVML tells it. Remembered with the rest, so that judging a
//! container asks nothing. A driver that doesn't tell is no trouble: then nothing can be held against it.

#![forbid(unsafe_code)]

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::Brand;

use super::raw;
use super::session::{Reporter, Session};
use crate::mig::Version;

/// The CUDA version that the driver brings.
pub fn cuda(session: &Session<'_>, reporter: &dyn Reporter) -> Option<Version> {
    reporter.asking(None, "nvmlSystemGetCudaDriverVersion");
    let version = u64::try_from(raw::cuda_version(&session.nvml).ok()?).ok()?;
    Some(Version::new(version / 1000, version % 1000 / 10))
}

/// The compute capability of the GPU of that index.
pub fn arch(session: &Session<'_>, index: u32, gpu: &Device) -> Option<Version> {
    let call = "nvmlDeviceGetCudaComputeCapability";
    let found = session
        .ask_plainly(index, call, || gpu.cuda_compute_capability())
        .ok()?;
    Some(Version::new(
        u64::try_from(found.major).ok()?,
        u64::try_from(found.minor).ok()?,
    ))
}

/// The brand of the GPU of that index, as `NVIDIA_REQUIRE_*` has it.
pub fn brand(session: &Session<'_>, index: u32, gpu: &Device) -> Option<String> {
    let found = session
        .ask_plainly(index, "nvmlDeviceGetBrand", || gpu.brand())
        .ok()?;
    Some(word(&found).to_owned())
}

fn word(brand: &Brand) -> &'static str {
    match brand {
        Brand::Unknown => "unknown",
        Brand::Quadro => "quadro",
        Brand::Tesla => "tesla",
        Brand::NVS => "nvs",
        Brand::GRID => "grid",
        Brand::GeForce => "geforce",
        Brand::Titan => "titan",
        Brand::VApps => "nvidiavapps",
        Brand::VPC => "nvidiavpc",
        Brand::VCS => "nvidiavcs",
        Brand::VWS => "nvidiavws",
        Brand::CloudGaming | Brand::VGaming => "nvidiacloudgaming",
        Brand::QuadroRTX => "quadrortx",
        Brand::NvidiaRTX => "nvidiartx",
        Brand::Nvidia => "nvidia",
        Brand::GeForceRTX => "geforcertx",
        Brand::TitanRTX => "titanrtx",
    }
}
