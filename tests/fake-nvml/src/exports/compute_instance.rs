//! Compute instances: profiles of a GPU instance, and what exists in it.

use super::exports;
use super::gpu_instance::printed;
use crate::abi::{Out, field};
use crate::call::{Ci, Gi, may_configure};
use crate::code::Code;
use crate::handle::{Handle, Thing};
use crate::layout::{
    CiProfileInfo, CiProfileInfoV2, CiProfileInfoV3, ComputeInstanceInfo, EngineCounts, Placement, version,
};
use crate::state::CiProfile;

/// `NVML_COMPUTE_INSTANCE_PROFILE_COUNT`, `NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_COUNT`.
const CI_PROFILES: u32 = 8;
const ENGINE_PROFILES: u32 = 1;
/// `NVML_COMPUTE_INSTANCE_PROFILE_CAPS_GFX`.
const CI_CAPS_GFX: u32 = 1;

exports! {
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
