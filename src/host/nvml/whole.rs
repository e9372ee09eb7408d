//! What NVML says of a GPU as a whole. As with MIG devices, the walk and the check both ask here.

#![forbid(unsafe_code)]

use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;

use super::raw;
use super::session::{MigState, Session};
use super::trouble::{self, Reason};
use crate::mig::{MigMode, WholeGpu};

/// The MIG mode of the GPU of that index, with what is known of it as a whole; none where it is in MIG mode.
pub fn of(
    session: &Session<'_>,
    index: u32,
    gpu: &Device,
    state: MigState,
) -> Result<Option<MigMode>, Reason> {
    let mode = match state {
        MigState::On => return Ok(None),
        MigState::Off => MigMode::Disabled,
        MigState::Unsupported => MigMode::Unsupported,
    };
    let call = "nvmlDeviceGetMemoryInfo";
    let memory = session.ask_plainly(index, call, || raw::memory(&session.nvml, gpu));
    let memory_mib = match memory {
        Ok(bytes) => Some(bytes >> 20),
        // A GPU that has none of its own.
        Err(NvmlError::NotSupported) => None,
        Err(error) => return Err(trouble::of_gpu(&error)),
    };
    Ok(Some(mode(WholeGpu { memory_mib })))
}
