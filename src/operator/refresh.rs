//! `refresh`: asks the driver for everything anew, remembers it, and says what is another than before.

use std::path::Path;

use serde::Serialize;

use super::progress;
use super::words::counted;
use crate::config::Config;
use crate::failure::one_line;
use crate::host::Host;
use crate::lease::Ledger;
use crate::mig::{Gpu, Gpus, Inventory, LeftOut, MigDevice, MigUuid, Profile};

/// What `refresh` found; `--json` prints it as it is.
#[derive(Serialize)]
struct Found {
    driver: String,
    /// How many GPUs answer.
    gpus: usize,
    /// How many MIG devices there are.
    devices: usize,
    /// Devices that were not there before. Empty where nothing was remembered.
    new: Vec<Device>,
    /// Devices that are not there any more.
    gone: Vec<Device>,
    /// Devices of one name that are another thing now.
    changed: Vec<Changed>,
    /// What can't be used now, and why.
    left_out: Vec<LeftOut>,
    /// Whether reservations go by what was found from now on.
    remembered: bool,
}

#[derive(Serialize)]
struct Device {
    uuid: MigUuid,
    profile: Profile,
    /// NVML index of its GPU.
    gpu: u32,
}

#[derive(Serialize)]
struct Changed {
    uuid: MigUuid,
    before: Profile,
    now: Profile,
    /// NVML index of its GPU now.
    gpu: u32,
}

/// Reads everything anew, and prints what there is and what changed.
///
/// # Errors
/// A host failure where the driver can't be asked, or the ledger's folder is not ours.
pub fn refresh(config: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    // It is remembered beside the leases.
    Ledger::open(&config.ledger_dir)?;
    let host = progress::shown(Host::new(&config));
    let before = host.last_remembered();
    let inventory = host.refresh();
    progress::clear();
    let inventory = inventory?;
    let is_remembered = host.remembered().as_ref() == Some(&inventory);
    let found = found(before.as_ref(), &inventory, is_remembered);
    super::say(&found, json, text)
}

fn found(before: Option<&Inventory>, now: &Inventory, remembered: bool) -> Found {
    let lacks = |inventory: &Inventory, device: &MigDevice| inventory.device(&device.uuid).is_none();
    let in_one = |one: &Inventory, other: &Inventory| -> Vec<Device> {
        let only = one.devices().filter(|(_, device)| lacks(other, device));
        only.map(described).collect()
    };
    Found {
        driver: now.driver.clone(),
        gpus: now.gpus.len(),
        devices: now.devices().count(),
        new: before.map(|before| in_one(now, before)).unwrap_or_default(),
        gone: before.map(|before| in_one(before, now)).unwrap_or_default(),
        changed: before.map(|before| changed(before, now)).unwrap_or_default(),
        left_out: now.left_out.clone(),
        remembered,
    }
}

fn described((gpu, device): (&Gpu, &MigDevice)) -> Device {
    Device {
        uuid: device.uuid.clone(),
        profile: device.profile,
        gpu: gpu.index,
    }
}

/// A device that lies elsewhere, or has another share, is another as well, whatever its profile is called.
fn changed(before: &Inventory, now: &Inventory) -> Vec<Changed> {
    let change = |(gpu, device): (&Gpu, &MigDevice)| {
        let (earlier_gpu, earlier) = before.device(&device.uuid)?;
        let same = earlier == device && earlier_gpu.uuid == gpu.uuid;
        (!same).then(|| Changed {
            uuid: device.uuid.clone(),
            before: earlier.profile,
            now: device.profile,
            gpu: gpu.index,
        })
    };
    now.devices().filter_map(change).collect()
}

fn text(found: &Found) -> String {
    let mut text = format!(
        "{} on {}, driver {}\n",
        counted(found.devices, "MIG device"),
        counted(found.gpus, "GPU"),
        found.driver
    );
    let one = |sign: char, device: &Device| {
        format!(
            "{sign} {} {} on GPU {}\n",
            device.profile, device.uuid, device.gpu
        )
    };
    text.extend(found.gone.iter().map(|device| one('-', device)));
    text.extend(found.new.iter().map(|device| one('+', device)));
    text.extend(found.changed.iter().map(|device| {
        let Changed {
            uuid,
            before,
            now,
            gpu,
        } = device;
        format!("~ {now} {uuid} on GPU {gpu}, was {before}\n")
    }));
    let left_out = |left: &LeftOut| format!("left out: {}: {}\n", left.what, one_line(&left.reason));
    text.extend(found.left_out.iter().map(left_out));
    if !found.remembered {
        text += "not remembered: it can't be written, or something changed meanwhile; each reservation asks for everything\n";
    }
    text
}
