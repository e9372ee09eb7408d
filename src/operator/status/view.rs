//! The machine at one moment: the ledger, held against what the driver says.

use std::collections::BTreeMap;

use super::report::{
    DeviceStatus, GpuStatus, Instances, LeaseStatus, State, Status, UnreadableFile, WaitingStatus,
};
use crate::config::{Config, Unmanaged};
use crate::failure::Failure;
use crate::host::Survey;
use crate::lease::liveness::{self, Here};
use crate::lease::transition::{Fate, Occasion};
use crate::lease::{Contents, Judge, Lease, LeaseState, LeasedDevice, Ticket, Unreadable};
use crate::mig::{Device, DeviceName, Gpu, Inventory, MigMode, User};

/// The ledger at one moment.
pub struct View<'a> {
    pub here: &'a Here,
    pub contents: &'a Contents,
    /// Who waits.
    pub tickets: &'a [Ticket],
    /// What the program goes by.
    pub config: &'a Config,
}

/// Who uses which device.
type Users = BTreeMap<DeviceName, Vec<User>>;

impl View<'_> {
    /// All that is known, beside what the driver said.
    pub fn status(&self, survey: Result<&Survey, &Failure>) -> Status {
        let known = survey.ok().map(|survey| &survey.inventory);
        let unreadable = self.contents.unreadable.iter().map(|file| UnreadableFile {
            path: file.path.display().to_string(),
            why: file.why.clone(),
            devices: file.known.as_ref().map(|lease| lease.names().collect()),
        });
        Status {
            driver: known.map(|inventory| inventory.driver.clone()),
            gpus: survey.map(|survey| self.gpus(survey)).unwrap_or_default(),
            left_out: known
                .map(|inventory| inventory.left_out.clone())
                .unwrap_or_default(),
            orphans: self.orphans(known),
            unreadable: unreadable.collect(),
            waiting: self.waiting().collect(),
            error: survey.err().map(Failure::to_string),
        }
    }

    fn gpus(&self, survey: &Survey) -> Vec<GpuStatus> {
        let gpus = survey.inventory.gpus.iter();
        gpus.map(|gpu| self.gpu(gpu, &survey.users)).collect()
    }

    fn gpu(&self, gpu: &Gpu, users: &Users) -> GpuStatus {
        GpuStatus {
            index: gpu.index,
            uuid: gpu.uuid.clone(),
            pci: gpu.pci,
            model: gpu.model.clone(),
            mig: match gpu.mig {
                MigMode::Enabled { .. } => "enabled",
                MigMode::Disabled(_) => "disabled",
                MigMode::Unsupported(_) => "unsupported",
            },
            devices: gpu.offers().map(|device| self.device(device, users)).collect(),
        }
    }

    fn device(&self, device: Device<'_>, users: &Users) -> DeviceStatus {
        let users = users.get(&device.name()).cloned().unwrap_or_default();
        let without_lease = match users.is_empty() || self.config.unmanaged == Unmanaged::Ignore {
            true => State::Free,
            false => State::InUse,
        };
        let lease = self.leases().find(|lease| lease.holds(device));
        DeviceStatus {
            uuid: device.name(),
            profile: device.kind(),
            instances: match device {
                Device::Mig { device, .. } => Some(Instances {
                    gi: device.gi,
                    ci: device.ci,
                }),
                Device::Whole { .. } => None,
            },
            memory_mib: device.memory_mib(),
            state: lease.map_or(without_lease, |lease| self.state(lease)),
            lease: lease.map(|lease| self.lease(lease)),
            users,
        }
    }

    /// The leases, and what is known of those that can't be read.
    fn leases(&self) -> impl Iterator<Item = &Lease> {
        let known = self.contents.unreadable.iter().flat_map(|file| &file.known);
        self.contents.leases.iter().chain(known)
    }

    fn waiting(&self) -> impl Iterator<Item = WaitingStatus> {
        let waiting = self.tickets.iter().filter(|ticket| ticket.counts(self.here));
        waiting.map(|ticket| WaitingStatus {
            container: ticket.container.clone(),
            request: asked(ticket),
            pid: ticket.process.pid,
            age_seconds: liveness::now().saturating_sub(ticket.since) / 1000,
            left_seconds: ticket.left().as_secs(),
        })
    }

    /// Leased devices that the driver doesn't list: all of them, where it can't be asked.
    fn orphans(&self, known: Option<&Inventory>) -> Vec<DeviceStatus> {
        let pairs = self
            .leases()
            .flat_map(|lease| lease.devices.iter().map(move |device| (lease, device)));
        let gone = pairs
            .filter(|(_, device)| known.is_none_or(|inventory| inventory.device(&device.name()).is_none()));
        gone.map(|(lease, device)| {
            let instances = match device {
                LeasedDevice::Mig(device) => Some(Instances {
                    gi: device.gi,
                    ci: device.ci,
                }),
                LeasedDevice::Gpu(_) => None,
            };
            DeviceStatus {
                uuid: device.name(),
                profile: device.kind(),
                instances,
                memory_mib: None,
                state: self.state(lease),
                lease: Some(self.lease(lease)),
                users: Vec::new(),
            }
        })
        .collect()
    }

    fn state(&self, lease: &Lease) -> State {
        let is_unreadable = |file: &Unreadable| file.known.as_ref() == Some(lease);
        let judge = Judge::new(self.here, self.config.pending);
        let judged = judge.one(lease.clone(), Occasion::Look);
        match (judged.fate, lease.state) {
            (Fate::Remove, _) => State::Stale,
            _ if self.contents.unreadable.iter().any(is_unreadable) => State::Unreadable,
            (Fate::Release, _) | (_, LeaseState::Releasing) => State::Releasing,
            (_, LeaseState::Pending) => State::Pending,
            (_, LeaseState::Held) => State::Held,
        }
    }

    fn lease(&self, lease: &Lease) -> LeaseStatus {
        LeaseStatus {
            id: lease.id.clone(),
            age_seconds: liveness::now().saturating_sub(lease.written) / 1000,
            holder: lease.holder.clone(),
        }
    }
}

/// What a waiter asks for: not what its image requires besides, which its ticket also has.
fn asked(ticket: &Ticket) -> BTreeMap<String, String> {
    let annotations = ticket.request.iter().filter(|(key, _)| key.starts_with("mig."));
    annotations
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
