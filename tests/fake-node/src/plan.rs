//! NODE.json with every default filled in and every contradiction refused.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail, ensure};
use fake_nvml::state::{Faults, GiProfile, Gpu, MigMode, State};

use crate::majors::{self, Majors};
use crate::place::{Board, number};
use crate::spec::{GpuSpec, NodeSpec};
use crate::{catalog, uuid};

/// What a node is unless it says otherwise.
const DRIVER: &str = "550.54.15";
const MODEL: &str = "a100-80gb";
/// Bus numbers of a DGX A100, in order; more GPUs follow behind.
const BUSES: [u32; 8] = [0x07, 0x0f, 0x47, 0x4e, 0x87, 0x90, 0xb7, 0xbd];
const MORE_BUSES: u32 = 0xc1;
/// The capabilities' numbering has room for as many GPUs.
pub const MOST_GPUS: u32 = 32;
/// Since this driver branch MIG devices have UUIDs of their own.
const OWN_UUIDS: u32 = 470;
/// Since this one a data centre's GPUs are of the brand NVIDIA; before, they are Teslas.
const NVIDIA_BRAND: u32 = 470;
/// NVML's brands by number.
const BRANDS: [&str; 17] = [
    "unknown",
    "quadro",
    "tesla",
    "nvs",
    "grid",
    "geforce",
    "titan",
    "nvidiavapps",
    "nvidiavpc",
    "nvidiavcs",
    "nvidiavws",
    "nvidiacloudgaming",
    "quadrortx",
    "nvidiartx",
    "nvidia",
    "geforcertx",
    "titanrtx",
];

/// A node, decided.
pub struct Plan {
    /// What NVML shows.
    pub state: State,
    /// What /proc and /dev show: excluded GPUs too, by minor.
    pub cards: Vec<Card>,
}

/// A GPU as /proc and /dev show it.
#[derive(Clone, Debug)]
pub struct Card {
    /// What NVML shows of it, or would, were it not excluded.
    pub gpu: Gpu,
    /// Left out by the driver.
    pub excluded: bool,
    lost: bool,
}

impl Plan {
    /// Fills in a node. Its majors are chosen unless it is to keep those it has.
    pub fn new(spec: &NodeSpec, keep: Option<Majors>) -> Result<Plan> {
        let driver = spec.driver.clone().unwrap_or_else(|| DRIVER.to_owned());
        let branch = branch(&driver)?;
        let mut tables = Vec::new();
        let mut cards = Vec::new();
        let minors = minors(&spec.gpus)?;
        for (at, gpu) in spec.gpus.iter().enumerate() {
            let card = card(at, gpu, minors[at], branch, &mut tables);
            cards.push(card.with_context(|| format!("gpus[{at}]"))?);
        }
        unique(cards.iter().map(|card| card.gpu.uuid.clone()), "UUID")?;
        unique(
            cards.iter().map(|card| format!("{:?}", card.gpu.pci)),
            "PCI bus id",
        )?;
        let devices = cards
            .iter()
            .flat_map(|card| &card.gpu.instances)
            .flat_map(|gi| &gi.compute);
        unique(devices.map(|ci| ci.uuid.clone()), "MIG UUID")?;
        cards.sort_by_key(|card| card.gpu.pci);
        let counted = || cards.iter().filter(|card| !card.excluded);
        let lost = counted()
            .zip(0..)
            .filter(|(card, _)| card.lost)
            .map(|(_, index)| index);
        let state = State {
            faults: Faults {
                lost: lost.collect(),
                ..Faults::default()
            },
            processes: Vec::new(),
            majors: keep.map_or_else(|| majors::choose(&spec.majors, branch), Ok)?,
            driver,
            persistence: spec.persistence.unwrap_or(true),
            tables,
            gpus: counted().map(|card| card.gpu.clone()).collect(),
        };
        cards.sort_by_key(|card| card.gpu.minor);
        Ok(Plan { state, cards })
    }
}

/// The branch of a driver version: 550 of `550.54.15`.
fn branch(driver: &str) -> Result<u32> {
    let plain = !driver.is_empty() && driver.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let first = driver.split('.').next().and_then(|digits| digits.parse().ok());
    first
        .filter(|_| plain)
        .ok_or_else(|| anyhow!("driver '{driver}' is no version like {DRIVER}"))
}

/// Each GPU's minor: as given, else the lowest free one in the list's order.
fn minors(gpus: &[GpuSpec]) -> Result<Vec<u32>> {
    let given: Vec<u32> = gpus.iter().filter_map(|gpu| gpu.minor).collect();
    unique(given.iter().map(u32::to_string), "minor")?;
    let mut free = (0..).filter(|minor| !given.contains(minor));
    let minors: Vec<u32> = gpus
        .iter()
        .filter_map(|gpu| gpu.minor.or_else(|| free.next()))
        .collect();
    ensure!(
        minors.iter().all(|minor| *minor < MOST_GPUS),
        "minors are below {MOST_GPUS}: the driver numbers capabilities of no more GPUs"
    );
    Ok(minors)
}

fn card(
    at: usize,
    spec: &GpuSpec,
    minor: u32,
    branch: u32,
    tables: &mut Vec<Vec<GiProfile>>,
) -> Result<Card> {
    let model = catalog::model(spec.model.as_deref().unwrap_or(MODEL))?;
    ensure!(
        spec.mig != Some(MigMode::Unsupported) || spec.name.is_some(),
        "a GPU without MIG is no model of profiles.json: give its name"
    );
    let name = spec.name.clone().or(model.nvml_name.clone());
    let name = name.with_context(|| format!("nobody has published the name of {}: give name", model.key))?;
    let pci = match &spec.pci_bus_id {
        Some(text) => bus_id(text).with_context(|| format!("'{text}' is no bus id like 0000:07:00.0"))?,
        None => (0, BUSES.get(at).copied().unwrap_or(MORE_BUSES + at as u32), 0),
    };
    let uuid = spec
        .uuid
        .clone()
        .unwrap_or_else(|| uuid::gpu(&format!("{}/{minor}/{pci:?}", model.key)));
    let known = model.table()?;
    let board = Board {
        slices: model.memory_slices,
        map: spec.id_map,
        table: &known,
        uuid: &uuid,
        old_uuids: branch < OWN_UUIDS,
    };
    let mig = spec.mig.unwrap_or(MigMode::Enabled);
    if mig != MigMode::Enabled || spec.excluded {
        ensure!(spec.instances.is_empty(), "instances need a GPU with MIG enabled");
    }
    let mut instances = board.fill(&spec.instances)?;
    number(&mut instances, &spec.index_holes, model.compute_slices())?;
    // A GPU without MIG is no model of profiles.json: only what the node says of it is known.
    let known_board = mig != MigMode::Unsupported;
    let models_own = Some(model.compute_capability.clone()).filter(|_| known_board);
    let capability = spec.compute_capability.clone().or(models_own);
    let gpu = Gpu {
        name,
        pci,
        compute_capability: capability.as_deref().map(capability_of).transpose()?,
        brand: brand(spec.brand.as_deref(), model.brand.as_deref(), branch)?,
        pci_device_id: if known_board { model.pci_device_id() } else { 0 },
        minor,
        memory_mib: spec.memory_mib.or(model.memory_mib.filter(|_| known_board)),
        mig,
        table: table_of(shown(known, spec)?, tables),
        max_devices: model.compute_slices(),
        instances,
        uuid,
    };
    Ok(Card {
        gpu,
        excluded: spec.excluded,
        lost: spec.lost,
    })
}

/// 8 and 0 of `8.0`.
fn capability_of(text: &str) -> Result<(i32, i32)> {
    let numbers = text.split_once('.');
    let numbers = numbers.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    numbers.with_context(|| format!("'{text}' is no compute capability like 8.0"))
}

/// NVML's number for the brand that this driver gives the GPU, where known.
fn brand(given: Option<&str>, models: Option<&str>, branch: u32) -> Result<Option<u32>> {
    let drivers = if branch < NVIDIA_BRAND {
        Some("tesla")
    } else {
        models
    };
    let number = |name| {
        let number = BRANDS.iter().position(|known| *known == name);
        let number = number.with_context(|| format!("no brand '{name}'; known are {}", BRANDS.join(", ")))?;
        Ok(u32::try_from(number)?)
    };
    given.or(drivers).map(number).transpose()
}

/// The table as this node's driver shows it.
fn shown(mut table: Vec<GiProfile>, spec: &GpuSpec) -> Result<Vec<GiProfile>> {
    for (name, shown) in &spec.shown {
        let Some(row) = table.iter_mut().find(|row| row.name == *name) else {
            bail!("shown: this GPU has no profile {name}");
        };
        row.memory_mib = shown.memory_mib.unwrap_or(row.memory_mib);
        row.name = shown.name.clone().unwrap_or(name.clone());
    }
    Ok(table)
}

/// The table's position, once for all GPUs that share it.
fn table_of(table: Vec<GiProfile>, tables: &mut Vec<Vec<GiProfile>>) -> usize {
    let known = tables.iter().position(|other| *other == table);
    known.unwrap_or_else(|| {
        tables.push(table);
        tables.len() - 1
    })
}

fn bus_id(text: &str) -> Option<(u32, u32, u32)> {
    let hex = |digits: &str| u32::from_str_radix(digits, 16).ok();
    let parts: Vec<u32> = text
        .strip_suffix(".0")?
        .split(':')
        .map(hex)
        .collect::<Option<_>>()?;
    match parts[..] {
        [domain, bus @ 0..=0xff, device @ 0..=0x1f] => Some((domain, bus, device)),
        _ => None,
    }
}

fn unique(all: impl Iterator<Item = String>, what: &str) -> Result<()> {
    let mut seen = BTreeSet::new();
    for one in all {
        ensure!(seen.insert(one.clone()), "{what} {one} is given twice");
    }
    Ok(())
}
