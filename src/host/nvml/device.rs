//! What NVML says of one MIG device. The walk and the check both ask here, so that what is remembered and what is
//! checked can't come apart.

#![forbid(unsafe_code)]

use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;

use super::raw::{self, GpuInstance};
use super::session::Session;
use super::trouble::{self, Reason};
use crate::mig::{Attributes, ComputeInstanceId, GpuInstanceId, GpuProfile, MigDevice, Placement, Profile};

/// A GPU whose MIG mode is on.
pub struct Partitioned<'a> {
    pub session: &'a Session<'a>,
    /// Its NVML index.
    pub index: u32,
    /// Its handle.
    pub gpu: &'a Device<'a>,
    /// Every profile that it offers.
    pub profiles: &'a [GpuProfile],
}

/// A MIG device's handle, and what it is.
pub type Found<'a> = (Device<'a>, MigDevice);

impl Partitioned<'_> {
    fn ask<T>(&self, call: &'static str, asked: impl FnOnce() -> Result<T, NvmlError>) -> Result<T, Reason> {
        self.session.ask(self.index, call, asked)
    }

    /// The MIG device that this handle means.
    pub fn of_handle(&self, mig: &Device) -> Result<MigDevice, Reason> {
        let nvml = &self.session.nvml;
        let gi = self.ask("nvmlDeviceGetGpuInstanceId", || raw::gpu_instance_id(nvml, mig))?;
        let ci = self.ask("nvmlDeviceGetComputeInstanceId", || {
            raw::compute_instance_id(nvml, mig)
        })?;
        let instance = self.instance(gi)?;
        self.describe(mig, &instance, ci)
    }

    /// The MIG device that is compute instance `ci` of GPU instance `gi`, without a search, and its handle. None where
    /// there is none.
    pub fn of_ids(&self, gi: GpuInstanceId, ci: ComputeInstanceId) -> Result<Option<Found<'_>>, Reason> {
        let call = "nvmlDeviceGetGpuInstanceById";
        let found = self.session.ask_plainly(self.index, call, || {
            raw::gpu_instance(&self.session.nvml, self.gpu, gi.0)
        });
        let instance = match found {
            Err(NvmlError::NotFound) => return Ok(None),
            other => other.map_err(|error| trouble::of_gpu(&error))?,
        };
        let call = "nvmlGpuInstanceGetComputeInstanceById";
        let found = self.session.ask_plainly(self.index, call, || {
            raw::device_of_instance(&self.session.nvml, &instance, ci.0)
        });
        match found {
            Err(NvmlError::NotFound) => Ok(None),
            // Before R460, and then a search it is.
            Err(NvmlError::FailedToLoadSymbol(_)) => self.search(gi, ci),
            Ok(mig) => {
                let device = self.describe(&mig, &instance, ci.0)?;
                Ok(Some((mig, device)))
            }
            Err(error) => Err(trouble::of_gpu(&error)),
        }
    }

    /// The same by trying each index.
    fn search(&self, gi: GpuInstanceId, ci: ComputeInstanceId) -> Result<Option<Found<'_>>, Reason> {
        for (_, mig) in self.handles()? {
            let found = self.of_handle(&mig)?;
            if (found.gi, found.ci) == (gi, ci) {
                return Ok(Some((mig, found)));
            }
        }
        Ok(None)
    }

    /// The MIG devices that exist, with their indexes.
    pub fn handles(&self) -> Result<Vec<(u32, Device<'_>)>, Reason> {
        let most = self.ask("nvmlDeviceGetMaxMigDeviceCount", || self.gpu.mig_device_count())?;
        let mut handles = Vec::new();
        for at in 0..most {
            let call = "nvmlDeviceGetMigDeviceHandleByIndex";
            match self
                .session
                .ask_plainly(self.index, call, || self.gpu.mig_device_by_index(at))
            {
                // A hole: the next index may well be there.
                Err(NvmlError::NotFound) => {}
                other => handles.push((at, other.map_err(|error| trouble::of_gpu(&error))?)),
            }
        }
        Ok(handles)
    }

    fn instance(&self, gi: u32) -> Result<GpuInstance, Reason> {
        self.ask("nvmlDeviceGetGpuInstanceById", || {
            raw::gpu_instance(&self.session.nvml, self.gpu, gi)
        })
    }

    fn describe(&self, mig: &Device, instance: &GpuInstance, ci: u32) -> Result<MigDevice, Reason> {
        let uuid = self.ask("nvmlDeviceGetUUID", || mig.uuid())?;
        let share = self.ask("nvmlDeviceGetAttributes", || mig.attributes())?;
        let info = &instance.info;
        let of_gi = self
            .profiles
            .iter()
            .find(|profile| profile.id == info.profileId)
            .ok_or_else(|| format!("its profile id {} is not among its GPU's", info.profileId))?;
        let ci_slices =
            u8::try_from(share.compute_instance_slice_count).map_err(|error| error.to_string())?;
        Ok(MigDevice {
            uuid: uuid.parse().map_err(|error| format!("its UUID: {error}"))?,
            gi: GpuInstanceId(info.id),
            ci: ComputeInstanceId(ci),
            profile: Profile {
                ci_slices,
                ..of_gi.profile
            },
            attributes: Attributes {
                memory_mib: share.memory_size_mb,
                gi_slices: share.gpu_instance_slice_count,
                ci_slices: share.compute_instance_slice_count,
            },
            placement: Placement {
                start: info.placement.start,
                size: info.placement.size,
            },
        })
    }
}
