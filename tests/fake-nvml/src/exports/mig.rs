//! MIG mode and MIG devices.

use super::exports;
use crate::abi::Out;
use crate::code::Code;
use crate::handle::{Handle, Thing};
use crate::layout::Attributes;
use crate::state::MigMode;

exports! {
    fn nvmlDeviceGetMigMode(device: Handle, current: Out<u32>, pending: Out<u32>) |call| {
        let session = call.session()?;
        let (now, later) = match call.gpu(&session, device)?.1.mig {
            MigMode::Unsupported => return Err(Code::NOT_SUPPORTED),
            MigMode::Disabled => (0, 0),
            MigMode::Pending => (0, 1),
            MigMode::Enabled => (1, 1),
        };
        current.put(now)?;
        pending.put(later)
    }

    fn nvmlDeviceGetMaxMigDeviceCount(device: Handle, count: Out<u32>) |call| {
        let session = call.session()?;
        let (_, gpu) = call.gpu(&session, device)?;
        count.put(if gpu.mig == MigMode::Enabled { gpu.max_devices } else { 0 })
    }

    fn nvmlDeviceGetMigDeviceHandleByIndex(device: Handle, index: u32, mig: Out<Handle>) |call| {
        let session = call.session()?;
        let (at, gpu) = call.gpu(&session, device)?;
        if gpu.mig == MigMode::Unsupported {
            return Err(Code::NOT_SUPPORTED);
        }
        if gpu.mig == MigMode::Enabled && index >= gpu.max_devices {
            return Err(Code::INVALID_ARGUMENT);
        }
        let (gi, ci) = gpu.mig_at(index).ok_or(Code::NOT_FOUND)?;
        mig.put(Handle::new(session.number, Thing::Mig(at, gi, ci)))
    }

    fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig: Handle, device: Out<Handle>) |call| {
        let session = call.session()?;
        let (gpu, _) = call.mig(&session, mig)?.gi.at;
        device.put(Handle::new(session.number, Thing::Gpu(gpu)))
    }

    fn nvmlDeviceIsMigDeviceHandle(device: Handle, is_mig: Out<u32>) |call| {
        let session = call.session()?;
        match call.thing(&session, device)? {
            Thing::Gpu(_) => is_mig.put(0),
            Thing::Mig(..) => is_mig.put(1),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    fn nvmlDeviceGetGpuInstanceId(mig: Handle, id: Out<u32>) |call| {
        let session = call.session()?;
        id.put(call.mig(&session, mig)?.gi.instance.id)
    }

    fn nvmlDeviceGetComputeInstanceId(mig: Handle, id: Out<u32>) |call| {
        let session = call.session()?;
        id.put(call.mig(&session, mig)?.instance.id)
    }

    fn nvmlDeviceGetAttributes | nvmlDeviceGetAttributes_v2(mig: Handle, attributes: Out<Attributes>) |call| {
        let session = call.session()?;
        let ci = call.mig(&session, mig)?;
        let (gi, own) = (ci.gi.profile, ci.profile()?);
        attributes.put(Attributes {
            sm: own.sm,
            copy: gi.engines.copy,
            decoder: gi.engines.decoder,
            encoder: gi.engines.encoder,
            jpeg: gi.engines.jpeg,
            ofa: gi.engines.ofa,
            gi_slices: gi.slices,
            ci_slices: own.slices,
            memory_mib: gi.memory_mib,
        })
    }
}
