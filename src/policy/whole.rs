//! What a refusal says of whole GPUs.

use super::phrases::{list, noun, reasons};
use super::refusal::GpuName;
use super::words::STATUS;
use crate::failure::Failure;
use crate::mig::{GpuUuid, LeftOut};
use crate::request::{GpuConstraint, Request, keys};

/// That all of the accepted GPUs are in MIG mode.
pub(super) fn no_whole_gpu(
    constraint: Option<&GpuConstraint>,
    enabled: &[u32],
    left_out: &[LeftOut],
) -> Failure {
    let which = constraint.map_or_else(String::new, |constraint| format!(" that is {constraint}"));
    let why = format!("MIG mode is on on gpu {}", list(enabled));
    let failure = Failure::refused(format!("no whole GPU{which}"), reasons([why], left_out));
    match enabled.first() {
        Some(gpu) => failure.remedy(format!(
            "ask for a MIG device, or turn MIG mode off with 'nvidia-smi -i {gpu} -mig 0'"
        )),
        None => failure.remedy(STATUS),
    }
}

/// That the one that is named is.
pub(super) fn in_mig_mode(gpu: &GpuUuid, index: u32) -> Failure {
    let why = format!("MIG mode is on on gpu {index}");
    Failure::refused(format!("{gpu} can't be had whole"), why).remedy(format!(
        "ask for one of its MIG devices with {}={gpu}, or turn MIG mode off with 'nvidia-smi -i {index} -mig 0'",
        keys::GPU
    ))
}

/// That each has too little memory.
pub(super) fn no_gpu_large_enough(
    request: &Request,
    nearest: Option<&(GpuName, u64)>,
    left_out: &[LeftOut],
) -> Failure {
    let (there, remedy) = match nearest {
        Some((gpu, lacks)) => {
            let (index, model, has) = (gpu.index, &gpu.model, gpu.memory_mib.unwrap_or_default());
            let nearest = format!("nearest is gpu {index} ({model}, {has} MiB), too small by {lacks} MiB");
            (nearest, "ask for less")
        }
        None => ("NVML tells no GPU's memory".to_owned(), "leave mig.memory out"),
    };
    Failure::refused(format!("no {}", noun(request)), reasons([there], left_out)).remedy(remedy)
}
