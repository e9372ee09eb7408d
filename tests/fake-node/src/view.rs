//! What a node holds and what was asked of it, for tests to compare with.

use anyhow::{Context, Result};
use fake_nvml::state::MigMode;

use crate::node::Node;
use crate::proc;

/// A MIG device of a node, as the node was last laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// NVML index of its GPU.
    pub gpu: u32,
    /// UUID of its GPU.
    pub gpu_uuid: String,
    /// The N of its GPU's `/dev/nvidiaN`.
    pub gpu_minor: u32,
    /// Its index on its GPU.
    pub index: u32,
    /// Its UUID.
    pub uuid: String,
    /// GPU instance id.
    pub gi: u32,
    /// Compute instance id.
    pub ci: u32,
    /// `1c.3g.40gb`, as nvidia-smi prints it.
    pub profile: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Minor of the capability node of its GPU instance.
    pub gi_minor: u32,
    /// Minor of the capability node of its compute instance.
    pub ci_minor: u32,
}

/// A GPU of a node that is not in MIG mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeGpu {
    /// NVML index.
    pub index: u32,
    /// Its UUID.
    pub uuid: String,
    /// The N of its `/dev/nvidiaN`.
    pub minor: u32,
    /// Memory in MiB, where NVML tells it.
    pub memory_mib: Option<u64>,
}

/// A line of the trace: one NVML call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLine {
    /// Who called.
    pub pid: u32,
    /// The exported function.
    pub function: String,
    /// NVML index of the GPU that the call needed.
    pub gpu: Option<u32>,
    /// What it answered; none if it hung.
    pub code: Option<u32>,
}

impl Node {
    /// The GPUs that are not in MIG mode, now and after the next reset, by NVML index.
    pub fn whole_gpus(&self) -> Result<Vec<WholeGpu>> {
        let gpus = (0..).zip(self.state()?.gpus);
        let whole = gpus.filter(|(_, gpu)| matches!(gpu.mig, MigMode::Disabled | MigMode::Unsupported));
        Ok(whole
            .map(|(index, gpu)| WholeGpu {
                index,
                uuid: gpu.uuid,
                minor: gpu.minor,
                memory_mib: gpu.memory_mib,
            })
            .collect())
    }

    /// Every MIG device there is, by GPU index, then (GI, CI).
    pub fn devices(&self) -> Result<Vec<Device>> {
        let state = self.state()?;
        let mut devices = Vec::new();
        for (index, gpu) in (0..).zip(&state.gpus) {
            for gi in &gpu.instances {
                let mut table = state.tables[gpu.table].iter();
                let row = table
                    .find(|row| row.id == gi.profile)
                    .context("a profile without a row")?;
                for ci in &gi.compute {
                    let known = row.compute.iter().find(|known| known.id == ci.profile);
                    let slices = known.map_or(row.slices, |known| known.slices);
                    let whole = slices == row.slices;
                    devices.push(Device {
                        gpu: index,
                        gpu_uuid: gpu.uuid.clone(),
                        gpu_minor: gpu.minor,
                        index: ci.index,
                        uuid: ci.uuid.clone(),
                        gi: gi.id,
                        ci: ci.id,
                        profile: if whole {
                            row.name.clone()
                        } else {
                            format!("{slices}c.{}", row.name)
                        },
                        memory_mib: row.memory_mib,
                        gi_minor: proc::gi_minor(gpu.minor, gi.id),
                        ci_minor: proc::ci_minor(gpu.minor, gi.id, ci.id),
                    });
                }
            }
        }
        Ok(devices)
    }
}

impl TraceLine {
    /// A line as the library writes it.
    pub(crate) fn parse(line: &str) -> Option<TraceLine> {
        let mut words = line.split(' ');
        let number = |word: &str| {
            if word == "-" {
                Some(None)
            } else {
                word.parse().ok().map(Some)
            }
        };
        let parsed = TraceLine {
            pid: words.next()?.parse().ok()?,
            function: words.next()?.to_owned(),
            gpu: number(words.next()?)?,
            code: number(words.next()?)?,
        };
        words.next().is_none().then_some(parsed)
    }
}
