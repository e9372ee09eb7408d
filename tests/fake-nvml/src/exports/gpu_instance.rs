//! GPU instances: profiles, placements, what exists.

use super::exports;
use crate::abi::{Out, field};
use crate::call::may_configure;
use crate::code::Code;
use crate::handle::{Handle, Thing};
use crate::layout::{
    EngineCounts, GiProfileInfo, GiProfileInfoV2, GiProfileInfoV3, GpuInstanceInfo, Placement, version,
};
use crate::state::GiProfile;

/// `NVML_GPU_INSTANCE_PROFILE_COUNT`.
const GI_PROFILES: u32 = 17;
/// `NVML_GPU_INSTANCE_PROFILE_CAPS_GFX`.
const GI_CAPS_GFX: u32 = 2;

exports! {
    fn nvmlDeviceGetGpuInstanceProfileInfo(device: Handle, profile: u32, info: Out<GiProfileInfo>) |call| {
        let session = call.session()?;
        let (.., table) = call.partitioned(&session, device)?;
        let row = by_index(table, profile)?;
        info.put(GiProfileInfo {
            id: row.id,
            p2p: 0,
            slices: row.slices,
            max: row.max,
            engines: row.counts(),
            memory_mib: row.memory_mib,
        })
    }

    fn nvmlDeviceGetGpuInstanceProfileInfoV(device: Handle, profile: u32, info: Out<GiProfileInfoV2>) |call| {
        let session = call.session()?;
        let (.., table) = call.partitioned(&session, device)?;
        put_versioned(by_index(table, profile)?, info)
    }

    fn nvmlDeviceGetGpuInstanceProfileInfoByIdV(device: Handle, id: u32, info: Out<GiProfileInfoV2>) |call| {
        let session = call.session()?;
        let (.., table) = call.partitioned(&session, device)?;
        put_versioned(by_id(table, id)?, info)
    }

    fn nvmlDeviceGetGpuInstancePossiblePlacements | nvmlDeviceGetGpuInstancePossiblePlacements_v2(
        device: Handle,
        profile_id: u32,
        placements: Out<Placement>,
        count: Out<u32>
    ) |call| {
        let session = call.session()?;
        let (.., table) = call.partitioned(&session, device)?;
        may_configure()?;
        let row = by_id(table, profile_id)?;
        let all: Vec<Placement> =
            row.starts.iter().map(|start| Placement { start: *start, size: row.size }).collect();
        count.put(all.len() as u32)?;
        if placements.is_null() { Ok(()) } else { placements.put_all(&all) }
    }

    fn nvmlDeviceGetGpuInstanceRemainingCapacity(device: Handle, profile_id: u32, count: Out<u32>) |call| {
        let session = call.session()?;
        let (_, gpu, table) = call.partitioned(&session, device)?;
        may_configure()?;
        count.put(gpu.remaining(by_id(table, profile_id)?, table))
    }

    fn nvmlDeviceGetGpuInstances(
        device: Handle,
        profile_id: u32,
        instances: Out<Handle>,
        count: Out<u32>
    ) |call| {
        let session = call.session()?;
        let (at, gpu, table) = call.partitioned(&session, device)?;
        may_configure()?;
        by_id(table, profile_id)?;
        let found: Vec<Handle> = (0..gpu.instances.len())
            .filter(|gi| gpu.instances[*gi].profile == profile_id)
            .map(|gi| Handle::new(session.number, Thing::GpuInstance(at, gi)))
            .collect();
        count.put(found.len() as u32)?;
        if found.is_empty() { Ok(()) } else { instances.put_all(&found) }
    }

    fn nvmlDeviceGetGpuInstanceById(device: Handle, id: u32, instance: Out<Handle>) |call| {
        let session = call.session()?;
        let (at, gpu, _) = call.partitioned(&session, device)?;
        may_configure()?;
        let gi = gpu.instances.iter().position(|gi| gi.id == id).ok_or(Code::NOT_FOUND)?;
        instance.put(Handle::new(session.number, Thing::GpuInstance(at, gi)))
    }

    fn nvmlGpuInstanceGetInfo(instance: Handle, info: Out<GpuInstanceInfo>) |call| {
        let session = call.session()?;
        let gi = call.gpu_instance(&session, instance)?;
        may_configure()?;
        info.put(GpuInstanceInfo {
            device: Handle::new(session.number, Thing::Gpu(gi.at.0)),
            id: gi.instance.id,
            profile: gi.profile.id,
            placement: Placement { start: gi.instance.start, size: gi.profile.size },
        })
    }
}

/// The row that profile info's index names: a hole is not supported, past the end is no index.
fn by_index(table: &[GiProfile], index: u32) -> Result<&GiProfile, Code> {
    if index >= GI_PROFILES {
        return Err(Code::INVALID_ARGUMENT);
    }
    table
        .iter()
        .find(|row| row.index == index)
        .ok_or(Code::NOT_SUPPORTED)
}

/// The row of a profile id.
fn by_id(table: &[GiProfile], id: u32) -> Result<&GiProfile, Code> {
    table
        .iter()
        .find(|row| row.id == id)
        .ok_or(Code::INVALID_ARGUMENT)
}

/// A profile's name as profile infos give it: what `nvidia-smi mig -lgip` prints.
pub fn printed(name: &str) -> String {
    format!("MIG {name}")
}

/// Fills the struct whose version the caller has put into it.
fn put_versioned(row: &GiProfile, info: Out<GiProfileInfoV2>) -> Result<(), Code> {
    let asked = info.cast::<u32>().get()?;
    let (engines, name) = (row.counts(), field(&printed(&row.name)));
    if asked == version::<GiProfileInfoV2>(2) {
        info.put(GiProfileInfoV2 {
            version: asked,
            id: row.id,
            p2p: 0,
            slices: row.slices,
            max: row.max,
            engines,
            memory_mib: row.memory_mib,
            name,
        })
    } else if asked == version::<GiProfileInfoV3>(3) {
        info.cast().put(GiProfileInfoV3 {
            version: asked,
            id: row.id,
            slices: row.slices,
            max: row.max,
            engines,
            memory_mib: row.memory_mib,
            name,
            capabilities: if row.name.ends_with("+gfx") {
                GI_CAPS_GFX
            } else {
                0
            },
        })
    } else {
        Err(Code::ARGUMENT_VERSION_MISMATCH)
    }
}

impl GiProfile {
    /// Its engines and multiprocessors.
    pub fn counts(&self) -> EngineCounts {
        EngineCounts {
            sm: self.sm,
            copy: self.engines.copy,
            decoder: self.engines.decoder,
            encoder: self.engines.encoder,
            jpeg: self.engines.jpeg,
            ofa: self.engines.ofa,
        }
    }
}
