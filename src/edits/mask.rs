//! What a container may see of the driver's part of /proc: of `/proc/driver/nvidia`, which shows every GPU of the node and
//! every instance on them, the files about its own.
//!
//! It is no mount of a spec's: runtimes refuse mounts inside /proc. Our createRuntime hook puts it into the container.

use std::path::PathBuf;

use crate::mig::{ComputeInstanceId, DeviceMinor, GpuInstanceId, PciBusId};

/// The only part of `/proc/driver/nvidia` that a container sees, besides the driver's version and parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcMask {
    /// The host's `/proc/driver/nvidia`.
    pub source: PathBuf,
    /// Folders of its own GPUs, below that.
    pub folders: Vec<PathBuf>,
    /// Files of its own instances, below that.
    pub files: Vec<PathBuf>,
}

impl ProcMask {
    /// Nothing but the version and the parameters, from that folder of the host's.
    pub fn new(source: PathBuf) -> ProcMask {
        ProcMask {
            source,
            ..ProcMask::default()
        }
    }

    /// What the driver says of this GPU as well.
    pub fn show_gpu(&mut self, pci: PciBusId) {
        let folder = PathBuf::from(format!("gpus/{pci}"));
        if !self.folders.contains(&folder) {
            self.folders.push(folder);
        }
    }

    /// The access files of this instance as well.
    pub fn show_instance(&mut self, gpu: DeviceMinor, gi: GpuInstanceId, ci: ComputeInstanceId) {
        let instance = format!("capabilities/gpu{}/mig/gi{}", gpu.0, gi.0);
        for file in [
            format!("{instance}/access"),
            format!("{instance}/ci{}/access", ci.0),
        ] {
            let file = PathBuf::from(file);
            if !self.files.contains(&file) {
                self.files.push(file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_devices_share_is_shown_once() {
        let mut mask = ProcMask::new("/proc/driver/nvidia".into());
        let (gpu, gi) = (DeviceMinor(2), GpuInstanceId(1));
        for ci in [0, 1] {
            mask.show_gpu("00000000:0F:00.0".parse().unwrap());
            mask.show_instance(gpu, gi, ComputeInstanceId(ci));
        }
        assert_eq!(mask.folders, [PathBuf::from("gpus/0000:0f:00.0")]);
        let files = [
            "capabilities/gpu2/mig/gi1/access",
            "capabilities/gpu2/mig/gi1/ci0/access",
            "capabilities/gpu2/mig/gi1/ci1/access",
        ];
        assert_eq!(mask.files, files.map(PathBuf::from));
    }
}
