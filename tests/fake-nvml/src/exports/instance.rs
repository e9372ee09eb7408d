//! GPU instances and compute instances: profiles, placements, what exists.

use super::exports;
use crate::abi::{
    CiProfileInfo, CiProfileInfoV2, CiProfileInfoV3, ComputeInstanceInfo, EngineCounts, GiProfileInfo,
    GiProfileInfoV2, GiProfileInfoV3, GpuInstanceInfo, Out, Placement, field, version,
};
use crate::call::{Ci, Gi, may_configure};
use crate::code::Code;
use crate::handle::{Handle, Thing};
use crate::state::{CiProfile, GiProfile};

/// `NVML_GPU_INSTANCE_PROFILE_COUNT`, `NVML_COMPUTE_INSTANCE_PROFILE_COUNT`, `..._ENGINE_PROFILE_COUNT`.
const GI_PROFILES: u32 = 17;
const CI_PROFILES: u32 = 8;
const ENGINE_PROFILES: u32 = 1;
/// `NVML_GPU_INSTANCE_PROFILE_CAPS_GFX` and `NVML_COMPUTE_INSTANCE_PROFILE_CAPS_GFX`.
const GI_CAPS_GFX: u32 = 2;
const CI_CAPS_GFX: u32 = 1;

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

    fn nvmlGpuInstanceGetComputeInstanceProfileInfo(
        instance: Handle,
        profile: u32,
        engines: u32,
        info: Out<CiProfileInfo>
    ) |call| {
        let session = call.session()?;
        let gi = call.gpu_instance(&session, instance)?;
        info.put(gi.compute_profile(profile, engines)?.0)
    }

    fn nvmlGpuInstanceGetComputeInstanceProfileInfoV(
        instance: Handle,
        profile: u32,
        engines: u32,
        info: Out<CiProfileInfoV2>
    ) |call| {
        let session = call.session()?;
        let gi = call.gpu_instance(&session, instance)?;
        let (v1, row) = gi.compute_profile(profile, engines)?;
        let asked = info.cast::<u32>().get()?;
        let v2 = CiProfileInfoV2 { version: asked, v1, name: field(&printed(&gi.device_name(row))) };
        if asked == version::<CiProfileInfoV2>(2) {
            info.put(v2)
        } else if asked == version::<CiProfileInfoV3>(3) {
            let capabilities = if gi.profile.name.ends_with("+gfx") { CI_CAPS_GFX } else { 0 };
            info.cast().put(CiProfileInfoV3 { v2, capabilities })
        } else {
            Err(Code::ARGUMENT_VERSION_MISMATCH)
        }
    }

    fn nvmlGpuInstanceGetComputeInstanceRemainingCapacity(
        instance: Handle,
        profile_id: u32,
        count: Out<u32>
    ) |call| {
        let session = call.session()?;
        let gi = call.gpu_instance(&session, instance)?;
        may_configure()?;
        count.put(gi.remaining(gi.compute_by_id(profile_id)?))
    }

    fn nvmlGpuInstanceGetComputeInstances(
        instance: Handle,
        profile_id: u32,
        instances: Out<Handle>,
        count: Out<u32>
    ) |call| {
        let session = call.session()?;
        let gi = call.gpu_instance(&session, instance)?;
        may_configure()?;
        gi.compute_by_id(profile_id)?;
        let (gpu, at) = gi.at;
        let found: Vec<Handle> = (0..gi.instance.compute.len())
            .filter(|ci| gi.instance.compute[*ci].profile == profile_id)
            .map(|ci| Handle::new(session.number, Thing::ComputeInstance(gpu, at, ci)))
            .collect();
        count.put(found.len() as u32)?;
        if found.is_empty() { Ok(()) } else { instances.put_all(&found) }
    }

    fn nvmlGpuInstanceGetComputeInstanceById(instance: Handle, id: u32, compute: Out<Handle>) |call| {
        let session = call.session()?;
        let gi = call.gpu_instance(&session, instance)?;
        may_configure()?;
        let ci = gi.instance.compute.iter().position(|ci| ci.id == id).ok_or(Code::NOT_FOUND)?;
        let (gpu, at) = gi.at;
        compute.put(Handle::new(session.number, Thing::ComputeInstance(gpu, at, ci)))
    }

    fn nvmlComputeInstanceGetInfo | nvmlComputeInstanceGetInfo_v2(
        compute: Handle,
        info: Out<ComputeInstanceInfo>
    ) |call| {
        let session = call.session()?;
        let ci = call.compute_instance(&session, compute)?;
        may_configure()?;
        let (gpu, gi) = ci.gi.at;
        info.put(ComputeInstanceInfo {
            device: Handle::new(session.number, Thing::Mig(gpu, gi, ci.at)),
            gpu_instance: Handle::new(session.number, Thing::GpuInstance(gpu, gi)),
            id: ci.instance.id,
            profile: ci.instance.profile,
            placement: Placement { start: ci.instance.start, size: ci.profile()?.slices },
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
fn printed(name: &str) -> String {
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
    fn counts(&self) -> EngineCounts {
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

impl Gi<'_> {
    fn compute_by_id(&self, id: u32) -> Result<&CiProfile, Code> {
        self.profile
            .compute
            .iter()
            .find(|row| row.id == id)
            .ok_or(Code::INVALID_ARGUMENT)
    }

    fn compute_profile(&self, profile: u32, engines: u32) -> Result<(CiProfileInfo, &CiProfile), Code> {
        if profile >= CI_PROFILES || engines >= ENGINE_PROFILES {
            return Err(Code::INVALID_ARGUMENT);
        }
        let row = self.compute_by_id(profile).map_err(|_| Code::NOT_SUPPORTED)?;
        let info = CiProfileInfo {
            id: row.id,
            slices: row.slices,
            max: row.max,
            engines: EngineCounts {
                sm: row.sm,
                ..self.profile.counts()
            },
        };
        Ok((info, row))
    }

    /// `1c.3g.40gb`; without the `c` part where the compute instance is as large as the GPU instance.
    fn device_name(&self, compute: &CiProfile) -> String {
        if compute.slices == self.profile.slices {
            self.profile.name.clone()
        } else {
            format!("{}c.{}", compute.slices, self.profile.name)
        }
    }

    fn remaining(&self, wanted: &CiProfile) -> u32 {
        let existing = &self.instance.compute;
        let slices = |id: u32| self.compute_by_id(id).map_or(0, |row| row.slices);
        let used: u32 = existing.iter().map(|ci| slices(ci.profile)).sum();
        let same = existing.iter().filter(|ci| ci.profile == wanted.id).count() as u32;
        let room = self.profile.slices.saturating_sub(used) / wanted.slices.max(1);
        room.min(wanted.max.saturating_sub(same))
    }
}

impl Ci<'_> {
    /// Its profile.
    pub fn profile(&self) -> Result<&CiProfile, Code> {
        self.gi
            .compute_by_id(self.instance.profile)
            .map_err(|_| Code::UNKNOWN)
    }

    /// Its name as nvidia-smi prints it.
    pub fn profile_name(&self) -> Result<String, Code> {
        Ok(self.gi.device_name(self.profile()?))
    }
}
