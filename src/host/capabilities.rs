//! The driver's capabilities: which device number is the right to an instance. Facts as /proc shows them; the
//! numbers are read, never computed.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::mig::{ComputeInstanceId, DeviceMinor, GpuInstanceId};

/// The driver's majors, from /proc/devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Majors {
    /// `nvidia` (since R550) or `nvidia-frontend`: the GPUs and nvidiactl.
    pub gpu: u32,
    /// `nvidia-uvm`: unified memory, without which no CUDA program runs.
    pub uvm: u32,
    /// `nvidia-caps`: capabilities. A driver before MIG has none.
    caps: Option<u32>,
    /// The file that they were read from.
    path: PathBuf,
}

const PROC: &str = "/proc must be mounted here; driver.proc names another folder";

/// One capability, as its access file describes its device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The node's minor, below the major of `nvidia-caps`.
    pub minor: u32,
    /// The node's permission bits.
    pub mode: u32,
    /// Whether the driver lets user space make or change the node.
    pub may_modify: bool,
}

impl Majors {
    /// Reads them from `proc`'s `devices`.
    ///
    /// # Errors
    /// A host failure that names the kernel module which is missing.
    pub fn read(proc: &Path) -> Result<Majors, Failure> {
        let path = proc.join("devices");
        let text = read_devices(&path)?;
        let of = |names: &[&str]| character_major(&text, names);
        let gpu = ["nvidia", "nvidia-frontend"];
        Ok(Majors {
            gpu: of(&gpu).ok_or_else(|| module_missing(&path, &gpu, "nvidia"))?,
            uvm: of(&["nvidia-uvm"]).ok_or_else(|| module_missing(&path, &["nvidia-uvm"], "nvidia-uvm"))?,
            caps: of(&["nvidia-caps"]),
            path,
        })
    }

    /// The capabilities' major, which a MIG device needs.
    ///
    /// # Errors
    /// A host failure where the driver has none.
    pub fn caps(&self) -> Result<u32, Failure> {
        self.caps.ok_or_else(|| too_old(&self.path))
    }
}

/// Every major of NVIDIA's drivers, whatever it is for: also those that no MIG device needs (`nvidia-nvlink`,
/// `nvidia-nvswitch`, `nvidia-caps-imex-channels`). None where no driver is loaded.
///
/// # Errors
/// A host failure where `proc`'s `devices` can't be read.
pub fn all_majors(proc: &Path) -> Result<Vec<u32>, Failure> {
    let text = read_devices(&proc.join("devices"))?;
    let theirs = character_majors(&text).filter(|(_, name)| name.starts_with("nvidia"));
    let mut majors: Vec<u32> = theirs.map(|(major, _)| major).collect();
    // One driver may be listed under several names.
    majors.sort_unstable();
    majors.dedup();
    Ok(majors)
}

fn read_devices(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::host(format!("can't read {}", path.display()), error).remedy(PROC))
}

fn character_major(devices: &str, names: &[&str]) -> Option<u32> {
    let mut majors = character_majors(devices);
    majors
        .find(|(_, name)| names.contains(name))
        .map(|(major, _)| major)
}

/// Number and name of each driver of character devices.
fn character_majors(devices: &str) -> impl Iterator<Item = (u32, &str)> {
    let characters = devices.lines().skip_while(|line| *line != "Character devices:");
    let rows = characters.skip(1).take_while(|line| !line.trim().is_empty());
    let pairs = rows.filter_map(|line| line.trim().split_once(' '));
    pairs.filter_map(|(major, name)| Some((major.parse().ok()?, name.trim())))
}

/// The driver is there, and its capabilities are not.
fn too_old(path: &Path) -> Failure {
    let why = format!("{} lists no 'nvidia-caps'", path.display());
    Failure::host("the NVIDIA driver has no MIG capabilities", why)
        .remedy("MIG needs driver R450 or later; see /proc/driver/nvidia/version")
}

fn module_missing(path: &Path, names: &[&str], module: &str) -> Failure {
    let why = format!("{} lists no '{}'", path.display(), names.join("' or '"));
    Failure::host(format!("the kernel module {module} is not loaded"), why).remedy(format!(
        "load it with 'modprobe {module}' (at boot: 'nvidia-modprobe -u -c0')"
    ))
}

/// The two capabilities that are the right to a MIG device: its GPU instance's and its compute instance's.
///
/// # Errors
/// A host failure where an access file is missing (the instance is gone) or not of its form.
pub fn of_device(
    proc: &Path,
    gpu: DeviceMinor,
    gi: GpuInstanceId,
    ci: ComputeInstanceId,
) -> Result<[Capability; 2], Failure> {
    let gi_folder = proc.join(format!("driver/nvidia/capabilities/gpu{}/mig/gi{}", gpu.0, gi.0));
    let ci_folder = gi_folder.join(format!("ci{}", ci.0));
    Ok([read(gi_folder.join("access"))?, read(ci_folder.join("access"))?])
}

fn read(path: PathBuf) -> Result<Capability, Failure> {
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::host(format!("no capability at {}", path.display()), error)
            .remedy("the GPU was repartitioned meanwhile, or the driver is too old for MIG; start the container again")
    })?;
    parse(&text).ok_or_else(|| {
        Failure::host(
            format!("capability {} is not of the known form", path.display()),
            &text,
        )
        .remedy("this driver may be newer than this program: look for a newer oci-mig-hook")
    })
}

fn parse(text: &str) -> Option<Capability> {
    let field = |name: &str| -> Option<u32> {
        let value = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().parse().ok()
    };
    Some(Capability {
        minor: field("DeviceFileMinor")?,
        // Decimal in the file: 292 is 0444.
        mode: field("DeviceFileMode")? & 0o777,
        may_modify: field("DeviceFileModify")? == 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majors_come_from_the_character_devices_alone() {
        let devices = "Character devices:\n  1 mem\n195 nvidia-frontend\n237 nvidia-caps\n\nBlock devices:\n  9 nvidia-uvm\n";
        assert_eq!(
            character_major(devices, &["nvidia", "nvidia-frontend"]),
            Some(195)
        );
        assert_eq!(character_major(devices, &["nvidia-uvm"]), None);
    }

    #[test]
    fn every_driver_of_nvidias_counts() {
        let devices = "Character devices:\n  1 mem\n195 nvidia\n195 nvidia-modeset\n508 nvidia-caps-imex-channels\n\
                       237 nvidia-caps\n 10 xnvidia\n\nBlock devices:\n  9 nvidia-md\n";
        let folder = std::env::temp_dir().join(format!("oci-mig-hook-majors-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("devices"), devices).unwrap();
        let majors = all_majors(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(majors.unwrap(), [195, 237, 508]);
        assert!(
            all_majors(&folder)
                .unwrap_err()
                .to_string()
                .contains("can't read")
        );
    }

    #[test]
    fn an_access_file_says_minor_mode_and_whether_it_may_be_made() {
        let text = "DeviceFileMinor: 12\nDeviceFileMode: 292\nDeviceFileModify: 1\n";
        let expected = Capability {
            minor: 12,
            mode: 0o444,
            may_modify: true,
        };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("DeviceFileMinor: x\n"), None);
    }
}
