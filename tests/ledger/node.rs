//! A scratch folder, made-up GPUs, and leases to put into the ledger.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use oci_mig_hook::failure::Failure;
use oci_mig_hook::lease::liveness::{self, Here};
use oci_mig_hook::lease::{Container, Holder, Lease, LeaseId, LeaseState, LeasedDevice, LeasedMig, Process};
use oci_mig_hook::mig::{
    Attributes, Checked, ComputeInstanceId, Device, DeviceMinor, DeviceName, DeviceNode, Gpu, GpuInstanceId,
    GpuProfile, Gpus, Inventory, MigDevice, MigMode, MigUuid, Placement,
};

/// A folder that goes when the test ends.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "oci-mig-hook-ledger-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One GPU with seven devices of 1g.10gb.
pub struct SevenSlices;

impl Gpus for SevenSlices {
    fn inventory(&self) -> Result<Inventory, Failure> {
        let profile = "1g.10gb".parse().unwrap();
        let device = |k: u32| MigDevice {
            uuid: uuid(k),
            gi: GpuInstanceId(7 + k),
            ci: ComputeInstanceId(0),
            profile,
            attributes: Attributes {
                memory_mib: 9984,
                gi_slices: 1,
                ci_slices: 1,
            },
            placement: Placement { start: k, size: 1 },
        };
        let mig = MigMode::Enabled {
            profiles: vec![GpuProfile {
                id: 19,
                profile,
                memory_mib: 9984,
            }],
            devices: (0..7).map(device).collect(),
        };
        let gpu = Gpu {
            index: 0,
            uuid: "GPU-00000000-0000-4000-8000-000000000000".parse().unwrap(),
            minor: DeviceMinor(0),
            pci: "0000:07:00.0".parse().unwrap(),
            model: "NVIDIA A100-SXM4-80GB".into(),
            arch: None,
            brand: None,
            mig,
        };
        Ok(Inventory {
            driver: "550.54.15".into(),
            cuda: None,
            gpus: vec![gpu],
            left_out: vec![],
        })
    }

    fn has_changed(&self) -> bool {
        false
    }

    fn remembered(&self) -> Option<Inventory> {
        None
    }

    fn check(&self, devices: &[Device<'_>]) -> Result<Vec<Checked>, Failure> {
        Ok(devices.iter().map(|_| Checked::AsKnown).collect())
    }

    fn nodes(&self, _: Device<'_>) -> Result<Vec<DeviceNode>, Failure> {
        Ok(vec![])
    }
}

/// The same, where nobody can make the nodes of the first devices.
pub struct WithoutNodesBefore(pub u32);

impl Gpus for WithoutNodesBefore {
    fn inventory(&self) -> Result<Inventory, Failure> {
        SevenSlices.inventory()
    }

    fn has_changed(&self) -> bool {
        false
    }

    fn remembered(&self) -> Option<Inventory> {
        None
    }

    fn check(&self, devices: &[Device<'_>]) -> Result<Vec<Checked>, Failure> {
        SevenSlices.check(devices)
    }

    fn nodes(&self, device: Device<'_>) -> Result<Vec<DeviceNode>, Failure> {
        let Device::Mig { device, .. } = device else {
            panic!("no whole GPU: {device:?}");
        };
        match device.placement.start < self.0 {
            true => Err(Failure::host(
                format!("no node for slice {}", device.placement.start),
                "made up",
            )),
            false => Ok(vec![]),
        }
    }
}

/// The UUID of the k-th device.
pub fn uuid(k: u32) -> MigUuid {
    format!("MIG-0000000{k}-0000-5000-8000-000000000000")
        .parse()
        .unwrap()
}

/// The same, as a device's name.
pub fn called(k: u32) -> DeviceName {
    uuid(k).into()
}

/// A container of that id whose process is this test's own: it lives as long as the test.
pub fn container(id: &str) -> Container {
    let here = Here::look().unwrap();
    container_of(id, here.name_process(std::process::id() as i32).unwrap())
}

/// A container of that id and process, without a cgroup of its own.
pub fn container_of(id: &str, process: Process) -> Container {
    Container {
        id: id.into(),
        bundle: Some("/bundle".into()),
        process,
        own_pid_namespace: false,
        state_root: None,
        cgroups: vec![],
        cgroup_namespace: Here::look().unwrap().cgroup_namespace,
    }
}

/// A lease of device 0 for that container, written now.
pub fn lease(id: &str, state: LeaseState) -> Lease {
    lease_of(container(id), state)
}

/// A lease of device 0 for that container, written now.
pub fn lease_of(container: Container, state: LeaseState) -> Lease {
    let here = Here::look().unwrap();
    Lease {
        version: 2,
        id: LeaseId::random().unwrap(),
        state,
        holder: Holder::Container(container),
        devices: vec![LeasedDevice::Mig(LeasedMig {
            uuid: uuid(0),
            gpu: "GPU-00000000-0000-4000-8000-000000000000".parse().unwrap(),
            pci: None,
            minor: None,
            gi: GpuInstanceId(7),
            ci: ComputeInstanceId(0),
            profile: "1g.10gb".parse().unwrap(),
            nodes: vec![],
        })],
        request: Default::default(),
        boot_id: here.boot_id.clone(),
        driver: "550.54.15".into(),
        written: liveness::now(),
    }
}
