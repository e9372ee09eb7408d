//! Everything NVML knows of this node's GPUs and MIG devices, in one walk with a fresh init: handles of an older
//! one would keep answering for instances that are gone.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::mem::ManuallyDrop;

use nvml_wrapper::bitmasks::InitFlags;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::NVML_GPU_INSTANCE_PROFILE_COUNT;

use super::raw;
use crate::failure::Failure;
use crate::mig::{
    Attributes, ComputeInstanceId, DeviceMinor, Gpu, GpuInstanceId, GpuProfile, Inventory, LeftOut,
    MigDevice, MigMode, Placement, Profile, Suffix,
};

/// Hears of every call of NVML before it is made.
pub trait Reporter {
    /// NVML's function `call` is about to be asked, about that GPU (its NVML index).
    fn asking(&self, gpu: Option<u32>, call: &'static str);
}

/// Why one GPU or device can't be used: a sentence.
type Reason = String;

/// The profiles of each product name: GPUs of one name offer the same.
type ProfilesByModel = BTreeMap<String, Vec<GpuProfile>>;

/// Asks the NVML in `library` for everything.
///
/// # Errors
/// A host failure where NVML as a whole can't be used. A single GPU's trouble leaves that GPU out.
pub fn inventory(library: &OsStr, reporter: &dyn Reporter) -> Result<Inventory, Failure> {
    reporter.asking(None, "nvmlInit");
    // NO_GPUS: a node without GPUs is for us to explain, not NVML's error.
    let nvml = Nvml::builder().lib_path(library).flags(InitFlags::NO_GPUS).init();
    // Never shut down: this process ends with its answer, and shutting down would be one more call that can hang.
    let nvml = ManuallyDrop::new(nvml.map_err(|error| unusable(library, "nvmlInit", &error))?);
    reporter.asking(None, "nvmlSystemGetDriverVersion");
    let driver = nvml
        .sys_driver_version()
        .map_err(|error| unusable(library, "nvmlSystemGetDriverVersion", &error))?;
    reporter.asking(None, "nvmlDeviceGetCount");
    let count = nvml
        .device_count()
        .map_err(|error| unusable(library, "nvmlDeviceGetCount", &error))?;
    let mut walk = Walk {
        nvml: &nvml,
        reporter,
        profiles: ProfilesByModel::new(),
        left_out: Vec::new(),
    };
    let mut gpus = Vec::new();
    for index in 0..count {
        match walk.gpu(index) {
            Ok(gpu) => gpus.push(gpu),
            Err(reason) => walk.left_out.push(LeftOut {
                what: format!("GPU {index}"),
                reason,
            }),
        }
    }
    gpus.sort_by_key(|gpu| gpu.pci);
    let left_out = walk.left_out;
    Ok(Inventory {
        driver,
        gpus,
        left_out,
    })
}

struct Walk<'nvml> {
    nvml: &'nvml Nvml,
    reporter: &'nvml dyn Reporter,
    profiles: ProfilesByModel,
    left_out: Vec<LeftOut>,
}

impl Walk<'_> {
    fn gpu(&mut self, index: u32) -> Result<Gpu, Reason> {
        let at = |call| self.reporter.asking(Some(index), call);
        at("nvmlDeviceGetHandleByIndex");
        let device = self
            .nvml
            .device_by_index(index)
            .map_err(|error| gpu_trouble(&error))?;
        at("nvmlDeviceGetUUID");
        let uuid = device.uuid().map_err(|error| gpu_trouble(&error))?;
        at("nvmlDeviceGetMinorNumber");
        let minor = device.minor_number().map_err(|error| gpu_trouble(&error))?;
        at("nvmlDeviceGetPciInfo");
        let pci = device.pci_info().map_err(|error| gpu_trouble(&error))?;
        at("nvmlDeviceGetName");
        let model = device.name().map_err(|error| gpu_trouble(&error))?;
        let mig = self.mig(index, &device, &model)?;
        Ok(Gpu {
            index,
            uuid: uuid.parse().map_err(|error| format!("its UUID: {error}"))?,
            minor: DeviceMinor(minor),
            pci: pci
                .bus_id
                .parse()
                .map_err(|error| format!("its bus id: {error}"))?,
            model,
            mig,
        })
    }

    fn mig(&mut self, index: u32, device: &Device, model: &str) -> Result<MigMode, Reason> {
        self.reporter.asking(Some(index), "nvmlDeviceGetMigMode");
        let mode = match device.mig_mode() {
            Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => {
                return Ok(MigMode::Unsupported);
            }
            other => other.map_err(|error| gpu_trouble(&error))?,
        };
        match (mode.current, mode.pending) {
            (0, 0) => Ok(MigMode::Disabled),
            (1, 1) => self.enabled(index, device, model),
            (now, _) => Err(pending(now == 1)),
        }
    }

    fn enabled(&mut self, index: u32, device: &Device, model: &str) -> Result<MigMode, Reason> {
        if !self.profiles.contains_key(model) {
            self.reporter
                .asking(Some(index), "nvmlDeviceGetGpuInstanceProfileInfo");
            self.profiles.insert(model.to_owned(), self.profiles_of(device)?);
        }
        let profiles = self.profiles.get(model).cloned().unwrap_or_default();
        self.reporter
            .asking(Some(index), "nvmlDeviceGetMaxMigDeviceCount");
        let most = device.mig_device_count().map_err(|error| gpu_trouble(&error))?;
        let mut devices = Vec::new();
        for at in 0..most {
            self.reporter
                .asking(Some(index), "nvmlDeviceGetMigDeviceHandleByIndex");
            let mig = match device.mig_device_by_index(at) {
                // A hole: the next index may well be there.
                Err(NvmlError::NotFound) => continue,
                other => other.map_err(|error| gpu_trouble(&error))?,
            };
            match self.mig_device(index, device, &mig, &profiles) {
                Ok(found) => devices.push(found),
                Err(reason) => self.left_out.push(LeftOut {
                    what: format!("MIG device {at} of GPU {index}"),
                    reason,
                }),
            }
        }
        devices.sort_by_key(|device| (device.gi, device.ci));
        Ok(MigMode::Enabled { profiles, devices })
    }

    fn mig_device(
        &self,
        index: u32,
        gpu: &Device,
        mig: &Device,
        profiles: &[GpuProfile],
    ) -> Result<MigDevice, Reason> {
        let at = |call| self.reporter.asking(Some(index), call);
        at("nvmlDeviceGetUUID");
        let uuid = mig.uuid().map_err(|error| gpu_trouble(&error))?;
        at("nvmlDeviceGetGpuInstanceId");
        let gi = raw::gpu_instance_id(self.nvml, mig).map_err(|error| gpu_trouble(&error))?;
        at("nvmlDeviceGetComputeInstanceId");
        let ci = raw::compute_instance_id(self.nvml, mig).map_err(|error| gpu_trouble(&error))?;
        at("nvmlDeviceGetAttributes");
        let share = mig.attributes().map_err(|error| gpu_trouble(&error))?;
        at("nvmlDeviceGetGpuInstanceById");
        let instance = raw::gpu_instance(self.nvml, gpu, gi).map_err(|error| gpu_trouble(&error))?;
        let of_gi = profiles.iter().find(|profile| profile.id == instance.profileId);
        let of_gi =
            of_gi.ok_or_else(|| format!("its profile id {} is not among its GPU's", instance.profileId))?;
        let ci_slices =
            u8::try_from(share.compute_instance_slice_count).map_err(|error| error.to_string())?;
        Ok(MigDevice {
            uuid: uuid.parse().map_err(|error| format!("its UUID: {error}"))?,
            gi: GpuInstanceId(gi),
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
                start: instance.placement.start,
                size: instance.placement.size,
            },
        })
    }

    /// Every GPU instance profile that the GPU offers: the enum has holes, so each value is asked for.
    fn profiles_of(&self, gpu: &Device) -> Result<Vec<GpuProfile>, Reason> {
        let mut profiles = Vec::new();
        for number in 0..NVML_GPU_INSTANCE_PROFILE_COUNT {
            match self.profile(gpu, number) {
                Ok(profile) => profiles.push(profile),
                Err(NvmlError::NotSupported) => {}
                // Past the end of what this driver knows.
                Err(NvmlError::InvalidArg) => break,
                Err(error) => return Err(gpu_trouble(&error)),
            }
        }
        Ok(profiles)
    }

    fn profile(&self, gpu: &Device, number: u32) -> Result<GpuProfile, NvmlError> {
        let plain = gpu.profile_info(number)?;
        let named = raw::profile_name(self.nvml, gpu, number)?;
        Ok(GpuProfile {
            id: plain.id,
            profile: named.unwrap_or_else(|| computed_name(number, plain.slice_count, plain.memory_size_mb)),
            memory_mib: plain.memory_size_mb,
        })
    }
}

/// The name for a driver that doesn't tell it. The figure may be one off nvidia-smi's; requests allow for that.
fn computed_name(number: u32, slices: u32, memory_mib: u64) -> Profile {
    let slices = u8::try_from(slices).unwrap_or(u8::MAX);
    Profile {
        ci_slices: slices,
        gi_slices: slices,
        memory_gb: u16::try_from(memory_mib.div_ceil(1024)).unwrap_or(u16::MAX),
        suffix: match number {
            7 | 8 => Suffix::Me,
            10..=12 => Suffix::Gfx,
            13 | 14 => Suffix::NoMe,
            15 | 16 => Suffix::MeAll,
            _ => Suffix::Plain,
        },
    }
}

fn pending(on_now: bool) -> Reason {
    let change = if on_now { "switched off" } else { "switched on" };
    format!(
        "MIG mode is being {change}, pending a GPU reset ('nvidia-smi --gpu-reset' while nothing uses it)"
    )
}

fn gpu_trouble(error: &NvmlError) -> Reason {
    match error {
        NvmlError::GpuLost => "it has fallen off the bus (reset the machine; 'dmesg' tells why)".to_owned(),
        NvmlError::ResetRequired => {
            "it needs a reset ('nvidia-smi --gpu-reset' while nothing uses it)".to_owned()
        }
        NvmlError::NoPermission => "NVML shows instances to root alone".to_owned(),
        other => format!("NVML: {other}"),
    }
}

/// Why NVML as a whole can't be used: what it answered to `call`.
fn unusable(library: &OsStr, call: &str, error: &NvmlError) -> Failure {
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
