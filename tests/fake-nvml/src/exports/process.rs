//! Processes on a device. Read from the file at every call, as the driver's list is.

use super::exports;
use crate::abi::Out;
use crate::call::{Call, compute_instance, may_configure};
use crate::code::Code;
use crate::handle::{Handle, Thing};
use crate::layout::{ProcessInfo, ProcessInfoV1};
use crate::session::Session;
use crate::state::{MigMode, Work};

/// nvml.h's "not available", and its GI and CI id of a process without MIG.
const UNKNOWN_MEMORY: u64 = u64::MAX;
const NO_INSTANCE: u32 = u32::MAX;

exports! {
    fn nvmlDeviceGetComputeRunningProcesses(
        device: Handle,
        count: Out<u32>,
        infos: Out<ProcessInfoV1>
    ) |call| {
        let found = processes(call, device, Work::Compute)?;
        let short: Vec<ProcessInfoV1> = found.into_iter().map(|info| info.v1).collect();
        answer(count, infos, &short)
    }

    fn nvmlDeviceGetComputeRunningProcesses_v2 | nvmlDeviceGetComputeRunningProcesses_v3(
        device: Handle,
        count: Out<u32>,
        infos: Out<ProcessInfo>
    ) |call| {
        answer(count, infos, &processes(call, device, Work::Compute)?)
    }

    fn nvmlDeviceGetGraphicsRunningProcesses | nvmlDeviceGetMPSComputeRunningProcesses(
        device: Handle,
        count: Out<u32>,
        _infos: Out<ProcessInfoV1>
    ) |call| {
        processes(call, device, Work::Compute)?;
        count.put(0)
    }

    fn nvmlDeviceGetGraphicsRunningProcesses_v2 | nvmlDeviceGetGraphicsRunningProcesses_v3(
        device: Handle,
        count: Out<u32>,
        infos: Out<ProcessInfo>
    ) |call| {
        answer(count, infos, &processes(call, device, Work::Graphics)?)
    }

    fn nvmlDeviceGetMPSComputeRunningProcesses_v2 | nvmlDeviceGetMPSComputeRunningProcesses_v3(
        device: Handle,
        count: Out<u32>,
        infos: Out<ProcessInfo>
    ) |call| {
        answer(count, infos, &processes(call, device, Work::Mps)?)
    }
}

/// The processes that a handle may list: a MIG device's own, or a GPU's with those of all of its instances, which
/// with MIG on is for privileged callers.
fn processes(call: &mut Call, device: Handle, work: Work) -> Result<Vec<ProcessInfo>, Code> {
    let session = call.session()?;
    let asked = call.thing(&session, device)?;
    let gpu = match asked {
        Thing::Gpu(gpu) => gpu,
        Thing::Mig(gpu, gi, ci) => compute_instance(&session, gpu, gi, ci)?.gi.at.0,
        _ => return Err(Code::INVALID_ARGUMENT),
    };
    if asked == Thing::Gpu(gpu) && session.state.gpus[gpu].mig == MigMode::Enabled {
        may_configure()?;
    }
    let listed = call.processes().iter().filter(|process| process.work == work);
    let found = listed.filter_map(|process| {
        let (holder, ids) = holder(&session, gpu, &process.device)?;
        let listed = asked == Thing::Gpu(gpu) || asked == holder;
        listed.then_some(ProcessInfo {
            v1: ProcessInfoV1 {
                pid: process.pid,
                used_memory: UNKNOWN_MEMORY,
            },
            gi: ids.0,
            ci: ids.1,
        })
    });
    Ok(found.collect())
}

/// What on that GPU has this UUID, with its GI and CI id.
fn holder(session: &Session, gpu: usize, uuid: &str) -> Option<(Thing, (u32, u32))> {
    let on = &session.state.gpus[gpu];
    if on.uuid == uuid {
        return Some((Thing::Gpu(gpu), (NO_INSTANCE, NO_INSTANCE)));
    }
    let (gi, ci) = on.find_mig(|_, ci| ci.uuid == uuid)?;
    let instance = &on.instances[gi];
    Some((Thing::Mig(gpu, gi, ci), (instance.id, instance.compute[ci].id)))
}

/// NVML's way with lists: the capacity comes in `count`, the size goes out in it, too small is an error.
fn answer<T: Copy>(count: Out<u32>, infos: Out<T>, found: &[T]) -> Result<(), Code> {
    let room = count.get()?;
    count.put(found.len() as u32)?;
    if found.is_empty() {
        return Ok(());
    }
    if (room as usize) < found.len() {
        return Err(Code::INSUFFICIENT_SIZE);
    }
    infos.put_all(found)
}
