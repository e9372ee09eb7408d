//! The processes that use a device, as NVML lists them: whoever started them, by whatever door.

#![forbid(unsafe_code)]

use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;

use super::session::Session;
use super::trouble::{self, Reason};
use crate::failure;
use crate::mig::User;

/// How often a list that grows while it is read is asked for again.
const TRIES: u32 = 3;

/// One of NVML's lists.
type List<'a> = &'a dyn Fn() -> Result<Vec<ProcessInfo>, NvmlError>;

/// Everyone who computes or draws on `device`, which is the GPU of that index or a MIG device of it. Nobody where NVML can't tell: before R510 it
/// has no such lists, and on a vGPU host none for a single device. Then a device counts as unused, as it did before NVML was
/// asked at all.
pub fn of(session: &Session<'_>, index: u32, device: &Device) -> Result<Vec<User>, Reason> {
    let mut pids = Vec::new();
    let lists: [(&'static str, List<'_>); 3] = [
        ("nvmlDeviceGetComputeRunningProcesses", &|| {
            device.running_compute_processes()
        }),
        ("nvmlDeviceGetGraphicsRunningProcesses", &|| {
            device.running_graphics_processes()
        }),
        ("nvmlDeviceGetMPSComputeRunningProcesses", &|| {
            device.mps_running_compute_processes()
        }),
    ];
    for (call, list) in lists {
        match listed(session, index, call, list) {
            Ok(found) => pids.extend(found.into_iter().map(|process| process.pid)),
            Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => {}
            Err(error) => return Err(trouble::of_gpu(&error)),
        }
    }
    // A process may be in more than one list.
    pids.sort_unstable();
    pids.dedup();
    Ok(pids.into_iter().map(user).collect())
}

fn listed(
    session: &Session<'_>,
    index: u32,
    call: &'static str,
    list: List<'_>,
) -> Result<Vec<ProcessInfo>, NvmlError> {
    let mut tried = 1;
    loop {
        match session.ask_plainly(index, call, list) {
            Err(NvmlError::InsufficientSize(_)) if tried < TRIES => tried += 1,
            other => return other,
        }
    }
}

/// A process chooses its own name.
fn user(pid: u32) -> User {
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    User {
        pid,
        name: failure::one_line(String::from_utf8_lossy(&name).trim_end_matches('\n')),
    }
}
