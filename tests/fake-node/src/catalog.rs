//! profiles.json: what is known of each GPU model, from public outputs of real GPUs. Nothing is added to it here.
//!
//! A row whose figures nobody has published (`null`) is left out of the simulated GPU: profile info finds a hole
//! there, and a node that wants an instance of it is refused.

use anyhow::{Context, Result, anyhow};
use fake_nvml::state::{CiProfile, Engines, GiProfile};
use serde::Deserialize;

/// All models.
#[derive(Deserialize)]
struct Catalog {
    models: Vec<Model>,
}

/// A GPU model.
#[derive(Deserialize)]
pub struct Model {
    /// What NODE.json calls it.
    pub key: String,
    /// The product's name in NVML, where known.
    pub nvml_name: Option<String>,
    pci_device_ids: Vec<String>,
    /// CUDA's compute capability, as NVIDIA's list of CUDA GPUs has it.
    pub compute_capability: String,
    /// Its brand since driver R470, as NVIDIA_REQUIRE_* has it, where known.
    pub brand: Option<String>,
    /// All memory in MiB, where known.
    #[serde(rename = "nvidia_smi_total_mib")]
    pub memory_mib: Option<u64>,
    /// Memory slices.
    pub memory_slices: u32,
    profiles: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    nvml_enum: u32,
    id: u32,
    gi_compute_slices: u32,
    max_instances: u32,
    placement_size: u32,
    placement_starts: Vec<u32>,
    memory_mib: Option<u64>,
    sm: Option<u32>,
    decoder: Option<u32>,
    encoder: Option<u32>,
    copy_engine: Option<u32>,
    jpeg: Option<u32>,
    ofa: Option<u32>,
    ci_profiles: Vec<CiRow>,
}

#[derive(Deserialize)]
struct CiRow {
    name: String,
    id: u32,
    max: u32,
}

/// The model of that key.
pub fn model(key: &str) -> Result<Model> {
    let catalog: Catalog = serde_json::from_str(include_str!("../profiles.json")).context("profiles.json")?;
    let keys: Vec<String> = catalog.models.iter().map(|model| model.key.clone()).collect();
    let mut models = catalog.models.into_iter();
    models
        .find(|model| model.key == key)
        .ok_or_else(|| anyhow!("no model '{key}'; known are {}", keys.join(", ")))
}

impl Model {
    /// Device id and vendor id of the first board of this model; 0 where none is known.
    pub fn pci_device_id(&self) -> u32 {
        let first = self.pci_device_ids.first();
        let hex = first.and_then(|id| u32::from_str_radix(id.trim_start_matches("0x"), 16).ok());
        hex.unwrap_or(0)
    }

    /// Most MIG devices of one GPU: one for each compute slice.
    pub fn compute_slices(&self) -> u32 {
        self.profiles
            .iter()
            .map(|row| row.gi_compute_slices)
            .max()
            .unwrap_or(0)
    }

    /// The profiles whose figures are known, as NVML gives them.
    pub fn table(&self) -> Result<Vec<GiProfile>> {
        let one_slice = self.profiles.iter().find(|row| row.nvml_enum == 0);
        let slice_sm = one_slice.and_then(|row| row.sm).unwrap_or(0);
        let known = self.profiles.iter().filter_map(|row| row.known(slice_sm));
        known.collect()
    }
}

impl Row {
    fn known(&self, slice_sm: u32) -> Option<Result<GiProfile>> {
        let engines = Engines {
            copy: self.copy_engine?,
            decoder: self.decoder?,
            encoder: self.encoder?,
            jpeg: self.jpeg?,
            ofa: self.ofa?,
        };
        let (memory_mib, sm) = (self.memory_mib?, self.sm?);
        let compute = self.ci_profiles.iter().map(|ci| ci.resolve(self, sm, slice_sm));
        Some(compute.collect::<Result<_>>().map(|compute| GiProfile {
            index: self.nvml_enum,
            id: self.id,
            name: self.name.clone(),
            slices: self.gi_compute_slices,
            max: self.max_instances,
            size: self.placement_size,
            starts: self.placement_starts.clone(),
            memory_mib,
            sm,
            engines,
            compute,
        }))
    }
}

impl CiRow {
    /// Multiprocessors of a partial compute instance are in no table: an even share of the GPU instance's where it
    /// divides, else as many as its slices have in the one-slice profile. No test may lean on them.
    fn resolve(&self, gi: &Row, gi_sm: u32, slice_sm: u32) -> Result<CiProfile> {
        let digits = self.name.strip_suffix('c').and_then(|digits| digits.parse().ok());
        let slices: u32 = digits.with_context(|| format!("compute profile '{}'", self.name))?;
        let sm = if slices == gi.gi_compute_slices {
            gi_sm
        } else if gi_sm % gi.gi_compute_slices == 0 {
            gi_sm / gi.gi_compute_slices * slices
        } else {
            slice_sm * slices
        };
        Ok(CiProfile {
            id: self.id,
            slices,
            max: self.max,
            sm,
        })
    }
}
