//! `status`: which MIG devices this machine has, and who holds them.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::progress;
use super::table::Table;
use crate::config::Config;
use crate::failure::Failure;
use crate::host::Host;
use crate::lease::liveness::{self, Here};
use crate::lease::transition::{self, Fate};
use crate::lease::{Contents, Holder, Lease, LeaseId, LeaseState, Ledger, Unreadable};
use crate::mig::{
    ComputeInstanceId, Gpu, GpuInstanceId, GpuUuid, Gpus, Inventory, LeftOut, MigDevice, MigMode, MigUuid,
};
use crate::mig::{PciBusId, Profile};

/// Everything that `status` knows; `--json` prints it as it is.
#[derive(Serialize)]
struct Status {
    /// The driver's version; absent where the driver can't be asked.
    driver: Option<String>,
    gpus: Vec<GpuStatus>,
    /// What can't be used now, and why.
    left_out: Vec<LeftOut>,
    /// Leases of devices that aren't there any more.
    orphans: Vec<DeviceStatus>,
    /// Files in the ledger that can't be read. What they hold is out of use.
    unreadable: Vec<UnreadableFile>,
    /// Why the driver can't be asked.
    error: Option<String>,
}

#[derive(Serialize)]
struct GpuStatus {
    index: u32,
    uuid: GpuUuid,
    pci: PciBusId,
    model: String,
    /// `enabled`, `disabled` or `unsupported`.
    mig: &'static str,
    devices: Vec<DeviceStatus>,
}

#[derive(Serialize)]
struct DeviceStatus {
    uuid: MigUuid,
    profile: Profile,
    gi: GpuInstanceId,
    ci: ComputeInstanceId,
    /// Memory of its GPU instance; absent for a device that is gone.
    memory_mib: Option<u64>,
    state: State,
    /// Who holds it, and since when.
    lease: Option<LeaseStatus>,
}

#[derive(Serialize)]
struct LeaseStatus {
    id: LeaseId,
    /// How long the lease has been in its state.
    age_seconds: u64,
    holder: Holder,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Free,
    Pending,
    Held,
    Releasing,
    /// Its holder is gone; the next reservation takes it back.
    Stale,
    /// Its lease can't be read: out of use until the holder is gone.
    Unreadable,
}

#[derive(Serialize)]
struct UnreadableFile {
    path: String,
    why: String,
    /// The devices that it holds; absent where that is unknown. Then none is handed out.
    devices: Option<Vec<MigUuid>>,
}

/// Prints the machine's MIG devices and who holds them: a table, or JSON.
///
/// # Errors
/// A host failure where the driver can't be asked, or the ledger can't be read or has a file that can't. What is known
/// is printed all the same.
pub fn status(config: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let here = Here::look()?;
    let contents = match Ledger::existing(&config.ledger_dir)? {
        Some(ledger) => ledger.contents()?,
        None => Contents::default(),
    };
    let host = Host::new(&config);
    let inventory = progress::shown(host).inventory();
    progress::clear();
    let view = View {
        here: &here,
        contents: &contents,
        pending: config.pending,
    };
    let status = view.status(inventory.as_ref());
    let text = if json {
        serde_json::to_string_pretty(&status)? + "\n"
    } else {
        print(&status)
    };
    super::print(text.as_bytes())?;
    inventory?;
    match contents.unreadable.first() {
        Some(file) => Err(file.failure().into()),
        None => Ok(()),
    }
}

/// The ledger at one moment.
struct View<'a> {
    here: &'a Here,
    contents: &'a Contents,
    pending: Duration,
}

impl View<'_> {
    fn status(&self, inventory: Result<&Inventory, &Failure>) -> Status {
        let known = inventory.ok();
        let unreadable = self.contents.unreadable.iter().map(|file| UnreadableFile {
            path: file.path.display().to_string(),
            why: file.why.clone(),
            devices: file.known.as_ref().map(|lease| lease.uuids().cloned().collect()),
        });
        Status {
            driver: known.map(|inventory| inventory.driver.clone()),
            gpus: known
                .iter()
                .flat_map(|inventory| &inventory.gpus)
                .map(|gpu| self.gpu(gpu))
                .collect(),
            left_out: known
                .map(|inventory| inventory.left_out.clone())
                .unwrap_or_default(),
            orphans: self.orphans(known),
            unreadable: unreadable.collect(),
            error: inventory.err().map(Failure::to_string),
        }
    }

    fn gpu(&self, gpu: &Gpu) -> GpuStatus {
        GpuStatus {
            index: gpu.index,
            uuid: gpu.uuid.clone(),
            pci: gpu.pci,
            model: gpu.model.clone(),
            mig: match gpu.mig {
                MigMode::Enabled { .. } => "enabled",
                MigMode::Disabled => "disabled",
                MigMode::Unsupported => "unsupported",
            },
            devices: gpu
                .devices()
                .iter()
                .map(|device| self.device(gpu, device))
                .collect(),
        }
    }

    fn device(&self, gpu: &Gpu, device: &MigDevice) -> DeviceStatus {
        let lease = self.leases().find(|lease| lease.holds(gpu, device));
        DeviceStatus {
            uuid: device.uuid.clone(),
            profile: device.profile,
            gi: device.gi,
            ci: device.ci,
            memory_mib: Some(device.attributes.memory_mib),
            state: lease.map_or(State::Free, |lease| self.state(lease)),
            lease: lease.map(|lease| self.lease(lease)),
        }
    }

    /// The leases, and what is known of those that can't be read.
    fn leases(&self) -> impl Iterator<Item = &Lease> {
        let known = self.contents.unreadable.iter().flat_map(|file| &file.known);
        self.contents.leases.iter().chain(known)
    }

    /// Leased devices that the driver doesn't list: all of them, where it can't be asked.
    fn orphans(&self, known: Option<&Inventory>) -> Vec<DeviceStatus> {
        let pairs = self
            .leases()
            .flat_map(|lease| lease.devices.iter().map(move |device| (lease, device)));
        let gone = pairs
            .filter(|(_, device)| known.is_none_or(|inventory| inventory.device(device.uuid()).is_none()));
        gone.map(|(lease, device)| {
            let crate::lease::LeasedDevice::Mig(device) = device;
            DeviceStatus {
                uuid: device.uuid.clone(),
                profile: device.profile,
                gi: device.gi,
                ci: device.ci,
                memory_mib: None,
                state: self.state(lease),
                lease: Some(self.lease(lease)),
            }
        })
        .collect()
    }

    fn state(&self, lease: &Lease) -> State {
        let is_unreadable = |file: &Unreadable| file.known.as_ref() == Some(lease);
        let fate = transition::reconcile(lease.state, self.here.evidence(lease, self.pending));
        match (fate, lease.state) {
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

fn print(status: &Status) -> String {
    let mut table = Table::new(["GPU", "PROFILE", "DEVICE", "HOLDER", "STATE"], 2);
    for gpu in &status.gpus {
        for device in &gpu.devices {
            table.row(row(gpu.index.to_string(), device));
        }
        if gpu.devices.is_empty() {
            let why = if gpu.mig == "enabled" {
                "no MIG devices".to_owned()
            } else {
                format!("MIG is {}", gpu.mig)
            };
            table.row([gpu.index.to_string(), "-".into(), why, "-".into(), "-".into()]);
        }
    }
    for device in &status.orphans {
        let gpu = if status.error.is_some() { "?" } else { "gone" };
        table.row(row(gpu.to_owned(), device));
    }
    let mut text = match (table.is_empty(), &status.error) {
        (false, _) => table.to_string(),
        (true, None) => "no MIG devices\n".to_owned(),
        // What there is isn't known; why follows as the error.
        (true, Some(_)) => String::new(),
    };
    let notes = status
        .left_out
        .iter()
        .map(|left_out| format!("left out: {}: {}\n", left_out.what, left_out.reason));
    text.extend(notes);
    text
}

fn row(gpu: String, device: &DeviceStatus) -> [String; 5] {
    let state = match device.state {
        State::Free => "free",
        State::Pending => "pending",
        State::Held => "held",
        State::Releasing => "freeing",
        State::Stale => "stale",
        State::Unreadable => "unreadable",
    };
    let (holder, state) = match &device.lease {
        Some(lease) => (
            lease.holder.short_name(),
            format!("{state} {}", age(lease.age_seconds)),
        ),
        None => ("-".to_owned(), state.to_owned()),
    };
    [
        gpu,
        device.profile.to_string(),
        device.uuid.to_string(),
        crate::failure::one_line(&holder),
        state,
    ]
}

/// In the largest unit that is at least one: ages are for a glance, exact ones are in the JSON.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
