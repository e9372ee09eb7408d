//! The plan as /proc files, in the driver's own words and spacing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use fake_nvml::state::MigMode;

use crate::majors;
use crate::plan::{Card, MOST_GPUS, Plan};

/// GPU instances and compute instances that the capabilities' numbering has room for.
const MOST_GIS: u32 = 15;
const MOST_CIS: u32 = 8;
/// The two capabilities over all instances.
pub const CONFIG: u32 = 1;
pub const MONITOR: u32 = 2;
/// File modes as the access files give them, in decimal: 0400 and 0444.
const ROOT_ONLY: u32 = 0o400;
const ALL_READ: u32 = 0o444;

/// The minor of the node that opens a GPU instance.
pub fn gi_minor(gpu: u32, gi: u32) -> u32 {
    3 + (MOST_GIS * (MOST_CIS + 1)) * gpu + (MOST_CIS + 1) * gi
}

/// The minor of the node that opens a compute instance.
pub fn ci_minor(gpu: u32, gi: u32, ci: u32) -> u32 {
    gi_minor(gpu, gi) + 1 + ci
}

/// Capability minors that exist on this GPU: its GPU instances' and their compute instances'.
pub fn cap_minors(card: &Card) -> Vec<u32> {
    let mut minors = Vec::new();
    for gi in &card.gpu.instances {
        minors.push(gi_minor(card.gpu.minor, gi.id));
        minors.extend(gi.compute.iter().map(|ci| ci_minor(card.gpu.minor, gi.id, ci.id)));
    }
    minors
}

/// The mode that the driver wants a capability's node to have.
pub fn cap_mode(minor: u32) -> u32 {
    if minor == CONFIG { ROOT_ONLY } else { ALL_READ }
}

/// Writes all of `DIR/proc`.
pub fn write(plan: &Plan, dir: &Path, open_kernel_module: bool) -> Result<()> {
    let proc = dir.join("proc");
    let driver = &plan.state.driver;
    put(&proc.join("devices"), &majors::print(&plan.state.majors))?;
    put(
        &proc.join("driver/nvidia/version"),
        &version(driver, open_kernel_module),
    )?;
    put(&proc.join("driver/nvidia/params"), PARAMS)?;
    put(&proc.join("driver/nvidia-caps/mig-minors"), &mig_minors())?;
    for card in &plan.cards {
        let (domain, bus, device) = card.gpu.pci;
        let folder = format!("driver/nvidia/gpus/{domain:04x}:{bus:02x}:{device:02x}.0");
        put(&proc.join(folder).join("information"), &information(card, driver))?;
    }
    capabilities(plan, &proc.join("driver/nvidia/capabilities"))
}

/// What exists: the tree of access files.
fn capabilities(plan: &Plan, root: &Path) -> Result<()> {
    put(&root.join("mig/config"), &access(CONFIG))?;
    put(&root.join("mig/monitor"), &access(MONITOR))?;
    for card in &plan.cards {
        if card.excluded || card.gpu.mig == MigMode::Unsupported {
            continue;
        }
        let minor = card.gpu.minor;
        let mig = root.join(format!("gpu{minor}/mig"));
        folder(&mig)?;
        for gi in &card.gpu.instances {
            let instance = mig.join(format!("gi{}", gi.id));
            put(&instance.join("access"), &access(gi_minor(minor, gi.id)))?;
            for ci in &gi.compute {
                let file = instance.join(format!("ci{}/access", ci.id));
                put(&file, &access(ci_minor(minor, gi.id, ci.id)))?;
            }
        }
    }
    Ok(())
}

fn access(minor: u32) -> String {
    let mode = cap_mode(minor);
    format!("DeviceFileMinor: {minor}\nDeviceFileMode: {mode}\nDeviceFileModify: 1\n")
}

/// Every line there can be, whatever exists.
fn mig_minors() -> String {
    let mut lines = format!("config {CONFIG}\nmonitor {MONITOR}\n");
    for gpu in 0..MOST_GPUS {
        for gi in 0..MOST_GIS {
            lines += &format!("gpu{gpu}/gi{gi}/access {}\n", gi_minor(gpu, gi));
            for ci in 0..MOST_CIS {
                lines += &format!("gpu{gpu}/gi{gi}/ci{ci}/access {}\n", ci_minor(gpu, gi, ci));
            }
        }
    }
    lines
}

fn version(driver: &str, open: bool) -> String {
    let module = if open {
        format!("NVIDIA UNIX Open Kernel Module for x86_64  {driver}  Release Build  (builder@host)  ")
    } else {
        format!("NVIDIA UNIX x86_64 Kernel Module  {driver}  ")
    };
    format!(
        "NVRM version: {module}Tue Mar  5 22:23:56 UTC 2024\nGCC version:  gcc version 12.2.0 (Debian 12.2.0-14) \n"
    )
}

/// What the driver was loaded with: its defaults.
const PARAMS: &str = "ResmanDebugLevel: 4294967295
RmLogonRC: 1
ModifyDeviceFiles: 1
DeviceFileUID: 0
DeviceFileGID: 0
DeviceFileMode: 438
InitializeSystemMemoryAllocations: 1
UsePageAttributeTable: 4294967295
EnableMSI: 1
EnablePCIeGen3: 0
MemoryPoolSize: 0
EnableUserNUMAManagement: 1
IgnoreMMIOCheck: 0
RegistryDwords: \"\"
RegistryDwordsPerDevice: \"\"
RmMsg: \"\"
GpuBlacklist: \"\"
TemporaryFilePath: \"\"
ExcludedGpus: \"\"
";

fn information(card: &Card, driver: &str) -> String {
    let gpu = &card.gpu;
    let (domain, bus, device) = gpu.pci;
    let excluded = if card.excluded { "Yes" } else { "No" };
    format!(
        "Model: \t\t {}
IRQ:   \t\t {}
GPU UUID: \t {}
Video BIOS: \t ??.??.??.??.??
Bus Type: \t PCIe
DMA Size: \t 47 bits
DMA Mask: \t 0x7fffffffffff
Bus Location: \t {domain:04x}:{bus:02x}:{device:02x}.0
Device Minor: \t {}
GPU Firmware: \t {driver}
GPU Excluded:\t {excluded}
",
        gpu.name,
        64 + gpu.minor,
        gpu.uuid,
        gpu.minor,
    )
}

fn put(path: &Path, text: &str) -> Result<()> {
    path.parent().map_or(Ok(()), folder)?;
    fs::write(path, text).with_context(|| path.display().to_string())
}

fn folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minors_are_the_drivers() {
        // Pairs seen on real machines.
        assert_eq!((gi_minor(0, 11), ci_minor(0, 11, 0)), (102, 103));
        assert_eq!((gi_minor(1, 2), ci_minor(1, 2, 0)), (156, 157));
        let lines = mig_minors();
        assert_eq!(lines.lines().count(), 4322);
        assert!(lines.starts_with("config 1\nmonitor 2\ngpu0/gi0/access 3\ngpu0/gi0/ci0/access 4\n"));
        assert!(lines.ends_with("gpu31/gi14/ci7/access 4322\n"));
    }
}
