//! The question for everything that NVML knows of this node's GPUs and MIG devices, in one walk.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::OsStr;

use nvml_wrapper::Device;

use super::device::Partitioned;
use super::session::{Attach, Reporter, Session};
use super::trouble::{self, Reason};
use super::{Everything, Survey, facts, profiles, users, whole};
use crate::failure::Failure;
use crate::host::driver;
use crate::mig::{
    DeviceMinor, DeviceName, Gpu, GpuProfile, GpuUuid, Inventory, LeftOut, MigDevice, MigMode, User,
};

/// The profiles of each product name: GPUs of one name offer the same.
type ProfilesByModel = BTreeMap<String, Vec<GpuProfile>>;

/// Asks the NVML in `library` for everything.
///
/// # Errors
/// A host failure where NVML as a whole can't be used. A single GPU's trouble leaves that GPU out.
pub fn survey(library: &OsStr, asked: &Everything, reporter: &dyn Reporter) -> Result<Survey, Failure> {
    let mut found = of_nvml(library, asked, reporter)?;
    if let (Some(proc), true) = (&asked.proc, asked.avoid.is_empty()) {
        reporter.asking(None, "/proc/driver/nvidia/gpus");
        found.excluded = driver::excluded(proc);
    }
    Ok(found)
}

fn of_nvml(library: &OsStr, asked: &Everything, reporter: &dyn Reporter) -> Result<Survey, Failure> {
    let session = Session::open(library, Attach::OnDemand, reporter)?;
    let found = all(&session, library, asked, reporter)?;
    // No document promises that every driver goes on from an init that attached no GPU. But one that is to be left alone
    // must not be attached, and one that answers says that this is not it.
    if !found.inventory.gpus.is_empty() || !asked.avoid.is_empty() || !session.is_in_doubt() {
        return Ok(found);
    }
    session.shut_down();
    let session = Session::open(library, Attach::All, reporter)?;
    all(&session, library, asked, reporter)
}

fn all(
    session: &Session<'_>,
    library: &OsStr,
    asked: &Everything,
    reporter: &dyn Reporter,
) -> Result<Survey, Failure> {
    let call = "nvmlDeviceGetCount";
    reporter.asking(None, call);
    let count = session.nvml.device_count();
    let count = count.map_err(|error| trouble::unusable(library, call, &error))?;
    let mut walk = Walk {
        session,
        asked,
        profiles: ProfilesByModel::new(),
        left_out: Vec::new(),
        users: BTreeMap::new(),
    };
    let mut gpus = Vec::new();
    for index in 0..count {
        let avoided = asked.avoid.iter().find(|avoided| avoided.gpu == index);
        let found = avoided.map_or_else(|| walk.gpu(index), |avoided| Err(avoided.reason.clone()));
        match found {
            Ok(gpu) => gpus.push(gpu),
            Err(reason) => walk.left_out.push(LeftOut {
                what: format!("GPU {index}"),
                reason,
            }),
        }
    }
    gpus.sort_by_key(|gpu| gpu.pci);
    Ok(Survey {
        excluded: Vec::new(),
        inventory: Inventory {
            driver: session.driver.clone(),
            cuda: facts::cuda(session, reporter),
            gpus,
            left_out: walk.left_out,
        },
        users: walk.users,
    })
}

struct Walk<'a> {
    session: &'a Session<'a>,
    asked: &'a Everything,
    profiles: ProfilesByModel,
    left_out: Vec<LeftOut>,
    users: BTreeMap<DeviceName, Vec<User>>,
}

impl Walk<'_> {
    fn gpu(&mut self, index: u32) -> Result<Gpu, Reason> {
        let session = self.session;
        let device = session.gpu(index)?;
        let uuid = session.ask(index, "nvmlDeviceGetUUID", || device.uuid())?;
        let minor = session.ask(index, "nvmlDeviceGetMinorNumber", || device.minor_number())?;
        let pci = session.ask(index, "nvmlDeviceGetPciInfo", || device.pci_info())?;
        let model = session.ask(index, "nvmlDeviceGetName", || device.name())?;
        let uuid: GpuUuid = uuid.parse().map_err(|error| format!("its UUID: {error}"))?;
        let state = session.mig_state(index, &device)?;
        let mig = match whole::of(session, index, &device, state)? {
            Some(whole) => {
                self.note_users(index, &device, DeviceName::Gpu(uuid.clone()))?;
                whole
            }
            None => self.enabled(index, &device, &model)?,
        };
        Ok(Gpu {
            index,
            uuid,
            minor: DeviceMinor(minor),
            pci: pci
                .bus_id
                .parse()
                .map_err(|error| format!("its bus id: {error}"))?,
            model,
            arch: facts::arch(session, index, &device),
            brand: facts::brand(session, index, &device),
            mig,
        })
    }

    fn enabled(&mut self, index: u32, gpu: &Device, model: &str) -> Result<MigMode, Reason> {
        let session = self.session;
        if !self.profiles.contains_key(model) {
            let call = "nvmlDeviceGetGpuInstanceProfileInfo";
            let profiles = session.ask(index, call, || profiles::of(&session.nvml, gpu))?;
            self.profiles.insert(model.to_owned(), profiles);
        }
        let profiles = self.profiles.get(model).cloned().unwrap_or_default();
        let partitioned = Partitioned {
            session,
            index,
            gpu,
            profiles: &profiles,
        };
        let mut devices = Vec::new();
        for (at, mig) in partitioned.handles()? {
            match self.device(&partitioned, &mig) {
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

    fn device(&mut self, gpu: &Partitioned<'_>, mig: &Device) -> Result<MigDevice, Reason> {
        let device = gpu.of_handle(mig)?;
        self.note_users(gpu.index, mig, DeviceName::Mig(device.uuid.clone()))?;
        Ok(device)
    }

    /// Takes note of who uses a device, where that is asked.
    fn note_users(&mut self, index: u32, device: &Device, name: DeviceName) -> Result<(), Reason> {
        if self.asked.users {
            let users = users::of(self.session, index, device)?;
            if !users.is_empty() {
                self.users.insert(name, users);
            }
        }
        Ok(())
    }
}
