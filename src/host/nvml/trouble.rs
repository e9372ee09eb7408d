//! NVML's errors, as people read them: of one GPU, and of NVML as a whole.

#![forbid(unsafe_code)]

use std::ffi::OsStr;

use nvml_wrapper::error::NvmlError;

use crate::failure::Failure;

/// Why one GPU or device can't be used: a sentence.
pub type Reason = String;

/// What NVML answered about one GPU or device.
pub fn of_gpu(error: &NvmlError) -> Reason {
    match error {
        NvmlError::GpuLost => "it has fallen off the bus (reset the machine; 'dmesg' tells why)".to_owned(),
        NvmlError::ResetRequired => {
            "it needs a reset ('nvidia-smi --gpu-reset' while nothing uses it)".to_owned()
        }
        NvmlError::NoPermission => "NVML shows instances to root alone".to_owned(),
        other => format!("NVML: {other}"),
    }
}

/// Whether NVML may have answered so for no reason but that its init attached no GPU: any error that says nothing of the
/// GPU itself or of what was asked.
pub fn may_be_inits(error: &NvmlError) -> bool {
    !matches!(
        error,
        NvmlError::GpuLost
            | NvmlError::ResetRequired
            | NvmlError::NotFound
            | NvmlError::NotSupported
            | NvmlError::NoPermission
            | NvmlError::InsufficientSize(_)
            | NvmlError::FailedToLoadSymbol(_)
    )
}

/// MIG mode is on now, or off, and is to be the opposite.
pub fn pending(on_now: bool) -> Reason {
    let change = if on_now { "switched off" } else { "switched on" };
    format!(
        "MIG mode is being {change}, pending a GPU reset ('nvidia-smi --gpu-reset' while nothing uses it)"
    )
}

/// Why NVML as a whole can't be used: what it answered to `call`.
pub fn unusable(library: &OsStr, call: &str, error: &NvmlError) -> Failure {
    let library = library.to_string_lossy();
    match error {
        NvmlError::LibloadingError(error) => Failure::host(
            format!("NVML can't be loaded from {library}"),
            error,
        )
        .remedy(
            "install the driver's libnvidia-ml.so.1 (Debian: libnvidia-ml1), or name it with nvml.library",
        ),
        NvmlError::DriverNotLoaded => {
            Failure::host("the NVIDIA driver is not loaded", "NVML: Driver Not Loaded")
                .remedy("load it with 'modprobe nvidia', or install it; 'nvidia-smi' must work first")
        }
        NvmlError::LibRmVersionMismatch => Failure::host(
            "NVML and the kernel module are of different driver versions",
            library,
        )
        .remedy("reboot, or reload the nvidia modules, after a driver upgrade"),
        other => Failure::host("NVML can't be used", format!("{call}: {other}"))
            .remedy("'nvidia-smi' must work first; 'dmesg' tells of the driver's trouble"),
    }
}
