//! `refresh`: asks the driver for everything anew, remembers it, and says what is another than before.

use std::path::Path;

use serde::Serialize;

use super::progress;
use super::words::counted;
use crate::config::Config;
use crate::failure::one_line;
use crate::host::Host;
use crate::lease::Ledger;
use crate::mig::{Device, DeviceName, Gpu, Gpus, Inventory, Kind, LeftOut};

/// What `refresh` found; `--json` prints it as it is.
#[derive(Serialize)]
struct Found {
    driver: String,
    /// How many GPUs answer.
    gpus: usize,
    /// How many MIG devices there are.
    devices: usize,
    /// How many GPUs are not in MIG mode.
    whole: usize,
    /// Devices that were not there before. Empty where nothing was remembered.
    new: Vec<Described>,
    /// Devices that are not there any more.
    gone: Vec<Described>,
    /// Devices of one name that are another thing now.
    changed: Vec<Changed>,
    /// What can't be used now, and why.
    left_out: Vec<LeftOut>,
    /// Whether reservations go by what was found from now on.
    remembered: bool,
}

#[derive(Serialize)]
struct Described {
    uuid: DeviceName,
    profile: Kind,
    /// NVML index of its GPU.
    gpu: u32,
}

#[derive(Serialize)]
struct Changed {
    uuid: DeviceName,
    before: Kind,
    now: Kind,
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
    let in_one = |one: &Inventory, other: &Inventory| -> Vec<Described> {
        let lacks = |device: &Device<'_>| other.device(&device.name()).is_none();
        one.devices().filter(lacks).map(described).collect()
    };
    let is_whole = |gpu: &&Gpu| gpu.whole().is_some();
    Found {
        driver: now.driver.clone(),
        gpus: now.gpus.len(),
        devices: now.gpus.iter().map(|gpu| gpu.devices().len()).sum(),
        whole: now.gpus.iter().filter(is_whole).count(),
        new: before.map(|before| in_one(now, before)).unwrap_or_default(),
        gone: before.map(|before| in_one(before, now)).unwrap_or_default(),
        changed: before.map(|before| changed(before, now)).unwrap_or_default(),
        left_out: now.left_out.clone(),
        remembered,
    }
}

fn described(device: Device<'_>) -> Described {
    Described {
        uuid: device.name(),
        profile: device.kind(),
        gpu: device.gpu().index,
    }
}

/// A device that lies elsewhere, or has another share, is another as well, whatever its profile is called.
fn changed(before: &Inventory, now: &Inventory) -> Vec<Changed> {
    let change = |device: Device<'_>| {
        let name = device.name();
        let earlier = before.device(&name)?;
        (!is_same(earlier, device)).then(|| Changed {
            uuid: name,
            before: earlier.kind(),
            now: device.kind(),
            gpu: device.gpu().index,
        })
    };
    now.devices().filter_map(change).collect()
}

fn is_same(one: Device<'_>, other: Device<'_>) -> bool {
    let parts_agree = match (one, other) {
        (Device::Mig { device, .. }, Device::Mig { device: other, .. }) => device == other,
        (Device::Whole { whole, .. }, Device::Whole { whole: other, .. }) => whole == other,
        _ => false,
    };
    parts_agree && one.gpu().uuid == other.gpu().uuid
}

fn text(found: &Found) -> String {
    let whole = match found.whole {
        0 => String::new(),
        whole => format!(" and {}", counted(whole, "whole GPU")),
    };
    let mut text = format!(
        "{}{whole} on {}, driver {}\n",
        counted(found.devices, "MIG device"),
        counted(found.gpus, "GPU"),
        found.driver
    );
    let one = |sign: char, device: &Described| {
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
