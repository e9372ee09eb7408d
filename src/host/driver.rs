//! The driver as /proc shows it: whether it is loaded, and which GPUs it was told to leave out.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::failure::Failure;
use crate::mig::LeftOut;

/// Whether the driver's kernel module is loaded.
///
/// # Errors
/// A host failure that says how to load it.
pub fn loaded(proc: &Path) -> Result<(), Failure> {
    let version = proc.join("driver/nvidia/version");
    std::fs::metadata(&version).map(|_| ()).map_err(|error| {
        Failure::host(
            "the NVIDIA driver is not loaded",
            format!("{}: {error}", version.display()),
        )
        .remedy("load it with 'modprobe nvidia', or install it; 'nvidia-smi' must work first")
    })
}

/// The GPUs that the driver was told to leave out (its module option NVreg_ExcludedGpus). NVML doesn't count them.
pub fn excluded(proc: &Path) -> Vec<LeftOut> {
    let Ok(folders) = std::fs::read_dir(proc.join("driver/nvidia/gpus")) else {
        return Vec::new();
    };
    let mut found: Vec<LeftOut> = folders
        .flatten()
        .filter_map(|gpu| excluded_gpu(&gpu.path()))
        .collect();
    found.sort_by(|a, b| a.what.cmp(&b.what));
    found
}

fn excluded_gpu(folder: &Path) -> Option<LeftOut> {
    let information = std::fs::read_to_string(folder.join("information")).ok()?;
    let value = information
        .lines()
        .find_map(|line| line.strip_prefix("GPU Excluded:"))?;
    (value.trim() == "Yes").then(|| LeftOut {
        what: format!("GPU {}", folder.file_name().unwrap_or_default().to_string_lossy()),
        reason: "the driver excludes it (NVreg_ExcludedGpus)".to_owned(),
    })
}
