//! Nodes to choose from, in figures of real GPUs.

use oci_mig_hook::mig::{
    Attributes, ComputeInstanceId, DeviceMinor, Gpu, GpuInstanceId, GpuProfile, Inventory, LeftOut,
    MigDevice, MigMode, Placement, Profile, Version, WholeGpu,
};

/// A GPU model as NVML shows it: product name, and the profiles it offers with id, memory in MiB and memory slices.
pub struct Model {
    pub name: &'static str,
    pub profiles: &'static [(&'static str, u32, u64, u32)],
}

pub const A100_40: Model = Model {
    name: "NVIDIA A100-SXM4-40GB",
    profiles: &[
        ("1g.5gb", 19, 4864, 1),
        ("1g.5gb+me", 20, 4864, 1),
        ("1g.10gb", 15, 9984, 2),
        ("2g.10gb", 14, 9984, 2),
        ("3g.20gb", 9, 20096, 4),
        ("4g.20gb", 5, 20096, 4),
        ("7g.40gb", 0, 40448, 8),
    ],
};

pub const H100_80: Model = Model {
    name: "NVIDIA H100 80GB HBM3",
    profiles: &[
        ("1g.10gb", 19, 9984, 1),
        ("1g.10gb+me", 20, 9984, 1),
        ("1g.20gb", 15, 20096, 2),
        ("2g.20gb", 14, 20096, 2),
        ("3g.40gb", 9, 40448, 4),
        ("4g.40gb", 5, 40448, 4),
        ("7g.80gb", 0, 81152, 8),
    ],
};

/// Some A100 boards and drivers round the half to 39.
pub const A100_80_39: Model = Model {
    name: "NVIDIA A100-SXM4-80GB",
    profiles: &[
        ("1g.10gb", 19, 9984, 1),
        ("1g.10gb+me", 20, 9984, 1),
        ("1g.20gb", 15, 19968, 2),
        ("2g.20gb", 14, 19968, 2),
        ("3g.39gb", 9, 40192, 4),
        ("4g.39gb", 5, 40192, 4),
        ("7g.79gb", 0, 80640, 8),
    ],
};

/// How a die numbers its instances: by where they start, or with its halves swapped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IdMap {
    Identity,
    Swapped,
}

/// One GPU instance: its profile, where it starts, and its compute instances (profiles, or none for one as large
/// as the instance).
pub type Instance = (&'static str, u32, &'static [&'static str]);

/// A GPU in MIG mode with these instances. Its bus id runs with `bus`, its index with nothing.
pub fn gpu(model: &Model, index: u32, bus: u8, map: IdMap, instances: &[Instance]) -> Gpu {
    let mut devices: Vec<MigDevice> = Vec::new();
    for (name, start, compute) in instances {
        let whole = [*name];
        let compute = if compute.is_empty() { &whole[..] } else { compute };
        for (ci, compute) in compute.iter().enumerate() {
            devices.push(device(model, bus, map, (name, *start), (compute, ci as u32)));
        }
    }
    devices.sort_by_key(|device| (device.gi, device.ci));
    let profiles = model.profiles.iter().map(|(name, id, memory_mib, _)| GpuProfile {
        id: *id,
        profile: name.parse().unwrap(),
        memory_mib: *memory_mib,
    });
    bare(
        model.name,
        index,
        bus,
        MigMode::Enabled {
            profiles: profiles.collect(),
            devices,
        },
    )
}

/// A GPU that could be in MIG mode and isn't, of that memory.
pub fn disabled(memory_mib: u64) -> MigMode {
    MigMode::Disabled(WholeGpu {
        memory_mib: Some(memory_mib),
    })
}

/// A GPU without MIG whose memory NVML doesn't tell.
pub const UNSUPPORTED: MigMode = MigMode::Unsupported(WholeGpu { memory_mib: None });

/// A GPU in whatever mode.
pub fn bare(model: &str, index: u32, bus: u8, mig: MigMode) -> Gpu {
    Gpu {
        index,
        uuid: format!("GPU-000000{bus:02x}-0000-4000-8000-000000000000")
            .parse()
            .unwrap(),
        minor: DeviceMinor(index),
        pci: format!("0000:{bus:02x}:00.0").parse().unwrap(),
        model: model.to_owned(),
        arch: Some(Version::new(8, 0)),
        brand: Some("nvidia".to_owned()),
        mig,
    }
}

fn device(
    model: &Model,
    bus: u8,
    map: IdMap,
    (name, start): (&str, u32),
    (compute, ci): (&str, u32),
) -> MigDevice {
    let (_, _, memory_mib, size) = model.profiles.iter().find(|known| known.0 == name).expect(name);
    let profile: Profile = compute.parse().unwrap();
    let at = if map == IdMap::Swapped {
        (start + 4) % 8
    } else {
        start
    };
    let gi = match size {
        8 => 0,
        4 => 1 + at / 4,
        2 => 3 + at / 2,
        _ => 7 + at,
    };
    MigDevice {
        uuid: format!("MIG-000000{bus:02x}-{gi:04x}-5{ci:03x}-8000-000000000000")
            .parse()
            .unwrap(),
        gi: GpuInstanceId(gi),
        ci: ComputeInstanceId(ci),
        profile,
        attributes: Attributes {
            memory_mib: *memory_mib,
            gi_slices: profile.gi_slices.into(),
            ci_slices: profile.ci_slices.into(),
        },
        placement: Placement { start, size: *size },
    }
}

pub fn node(gpus: Vec<Gpu>) -> Inventory {
    Inventory {
        driver: "550.54.15".to_owned(),
        cuda: Some(Version::new(12, 4)),
        gpus,
        left_out: Vec::new(),
    }
}

pub fn left_out(what: &str, reason: &str) -> LeftOut {
    LeftOut {
        what: what.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The devices of a GPU, to be changed by a story.
pub fn devices(gpu: &mut Gpu) -> &mut Vec<MigDevice> {
    match &mut gpu.mig {
        MigMode::Enabled { devices, .. } => devices,
        _ => panic!("MIG is off"),
    }
}
