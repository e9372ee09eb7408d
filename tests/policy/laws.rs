//! What holds on any node, for any request: checked on nodes, leases and requests made up at random.

use std::collections::{BTreeMap, BTreeSet};

use oci_mig_hook::mig::{
    Device, DeviceName, Gpu, Inventory, Kind, MigDevice, MigMode, Profile, Suffix, WholeGpu,
};
use oci_mig_hook::policy::{Held, Limits, Refusal, choose};
use oci_mig_hook::request::{Memory, Request, Want};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::node::{A100_40, A100_80_39, H100_80, IdMap, Instance, Model, bare, devices, gpu, node};

/// A case: a node, who holds what, a request and the limits.
#[derive(Clone, Debug)]
struct Case {
    node: Inventory,
    held: BTreeMap<DeviceName, String>,
    request: Request,
    limits: Limits,
}

impl Case {
    fn choose(&self) -> Result<Vec<Device<'_>>, Refusal> {
        choose(&self.request, &self.node, &self.held(), &self.limits)
    }

    fn held(&self) -> Held {
        self.held.clone().into_iter().collect()
    }

    /// Every device that the request accepts and the limits allow, by the rules written anew.
    fn would_do(&self) -> Vec<Device<'_>> {
        let does = |device: &Device<'_>| {
            let accepted = self.request.gpu();
            let is_accepted = accepted.is_none_or(|constraint| constraint.accepts(device.gpu()));
            let kinds = self.limits.profiles.as_ref();
            let is_allowed = kinds.is_none_or(|all| all.iter().any(|kind| is_of(*kind, *device)));
            is_accepted && is_allowed && is_wanted(self.request.want(), *device)
        };
        self.node.devices().filter(does).collect()
    }
}

fn is_wanted(want: &Want, device: Device<'_>) -> bool {
    let enough = |mib: u64, memory: Option<Memory>| {
        let bytes = u128::from(mib) << 20;
        bytes >= memory.map_or(0, Memory::bytes).into()
    };
    match want {
        Want::Profile(profile) => is_of(Kind::Mig(*profile), device),
        Want::AtLeast { memory, compute } => match device {
            Device::Mig { device, .. } => {
                let has = device.attributes;
                enough(has.memory_mib, *memory) && has.ci_slices >= compute.map_or(0, |n| n.get().into())
            }
            Device::Whole { .. } => false,
        },
        Want::Gpu { memory } => match device {
            Device::Mig { .. } => false,
            Device::Whole { whole, .. } => {
                memory.is_none() || whole.memory_mib.is_some_and(|mib| enough(mib, *memory))
            }
        },
        Want::Device(name) => device.name() == *name,
    }
}

fn is_of(kind: Kind, device: Device<'_>) -> bool {
    match (kind, device) {
        (Kind::Mig(profile), Device::Mig { gpu, device }) => is_called(profile, gpu, device),
        (kind, Device::Whole { .. }) => kind == Kind::Gpu,
        (Kind::Gpu, Device::Mig { .. }) => false,
    }
}

/// On these models a device's name is always the one that its GPU offers.
fn is_called(wanted: Profile, gpu: &Gpu, device: &MigDevice) -> bool {
    let without_gb = |profile: Profile| (profile.ci_slices, profile.gi_slices, profile.suffix);
    let offers = gpu.profiles().iter().any(|offered| {
        let offered = offered.profile;
        (offered.gi_slices, offered.memory_gb, offered.suffix)
            == (wanted.gi_slices, wanted.memory_gb, wanted.suffix)
    });
    let apart = device.profile.memory_gb.abs_diff(wanted.memory_gb);
    without_gb(device.profile) == without_gb(wanted) && apart <= u16::from(!offers)
}

/// What makes one device smaller than another.
fn size(device: Device<'_>) -> (u64, u32, bool) {
    match device {
        Device::Mig { device, .. } => (
            device.attributes.memory_mib,
            device.attributes.ci_slices,
            device.profile.suffix != Suffix::Plain,
        ),
        Device::Whole { whole, .. } => (whole.memory_mib.unwrap_or(u64::MAX), 0, false),
    }
}

/// Memory slices of the instances that none of `taken` lies in.
fn free_slices(gpu: &Gpu, taken: &BTreeSet<DeviceName>) -> u32 {
    let instances: BTreeMap<u32, u32> = gpu
        .devices()
        .iter()
        .map(|device| (device.gi.0, device.placement.size))
        .collect();
    let is_taken = |gi: u32| {
        gpu.devices()
            .iter()
            .any(|d| d.gi.0 == gi && taken.contains(&d.uuid.clone().into()))
    };
    instances
        .into_iter()
        .filter(|(gi, _)| !is_taken(*gi))
        .map(|(_, size)| size)
        .sum()
}

/// Which compute instances a GPU instance is cut into, where it isn't left whole.
fn cut(name: &'static str, cut: bool) -> &'static [&'static str] {
    match (name, cut) {
        ("3g.20gb", true) => &["1c.3g.20gb", "2c.3g.20gb"],
        ("3g.40gb", true) => &["1c.3g.40gb", "1c.3g.40gb", "1c.3g.40gb"],
        ("3g.39gb", true) => &["2c.3g.39gb"],
        ("2g.10gb", true) => &["1c.2g.10gb", "1c.2g.10gb"],
        _ => &[],
    }
}

/// Instances laid out from the left, each as its size allows, until the GPU is full.
fn layout() -> impl Strategy<Value = (usize, IdMap, Vec<Instance>)> {
    let model = 0usize..3;
    let map = select(vec![IdMap::Identity, IdMap::Swapped]);
    let picks = prop::collection::vec((any::<Index>(), any::<bool>(), any::<bool>()), 0..8);
    (model, map, picks).prop_map(|(which, map, picks)| {
        let mut instances: Vec<Instance> = Vec::new();
        let mut start = 0;
        for (index, is_cut, gap) in picks {
            let (name, _, _, size) = *index.get(MODELS[which].profiles);
            let at = (start + u32::from(gap)).next_multiple_of(size);
            let again_me = name.ends_with("+me") && instances.iter().any(|(other, ..)| *other == name);
            if at + size <= 8 && !again_me {
                instances.push((name, at, cut(name, is_cut)));
                start = at + size;
            }
        }
        (which, map, instances)
    })
}

/// Two alike, and one whose memory nobody knows.
const WHOLE: [WholeGpu; 5] = [
    WholeGpu {
        memory_mib: Some(15_360),
    },
    WholeGpu { memory_mib: None },
    WholeGpu {
        memory_mib: Some(81_559),
    },
    WholeGpu {
        memory_mib: Some(40_960),
    },
    WholeGpu {
        memory_mib: Some(40_960),
    },
];

static MODELS: [Model; 3] = [A100_40, H100_80, A100_80_39];

fn nodes() -> impl Strategy<Value = Inventory> {
    let gpus = prop::collection::vec((layout(), 0u32..20, any::<bool>()), 0..5);
    gpus.prop_map(|gpus| {
        let made = gpus
            .iter()
            .enumerate()
            .map(|(n, ((which, map, instances), off, odd))| {
                let (index, bus) = (n as u32, 0x40 - n as u8);
                match off {
                    0 => return bare("Tesla T4", index, bus, MigMode::Unsupported(WHOLE[n % 2])),
                    1..4 => return bare(MODELS[*which].name, index, bus, MigMode::Disabled(WHOLE[n])),
                    _ => {}
                }
                let mut gpu = gpu(&MODELS[*which], index, bus, *map, instances);
                if let (true, Some(first)) = (*odd, devices(&mut gpu).first_mut()) {
                    first.attributes.memory_mib += 128;
                }
                gpu
            });
        node(made.collect())
    })
}

fn wanted() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let names = [
        "1g.5gb",
        "1g.5gb+me",
        "1g.10gb",
        "2g.10gb",
        "3g.20gb",
        "1c.3g.20gb",
        "1c.2g.10gb",
        "4g.20gb",
        "1g.20gb",
    ];
    let more = [
        "3g.40gb",
        "3g.39gb",
        "3g.41gb",
        "1c.3g.40gb",
        "2c.3g.40gb",
        "7g.80gb",
        "7g.40gb",
        "9g.90gb",
        "1g.6gb",
    ];
    let profile = select([names, more].concat()).prop_map(|name| vec![("mig.profile", name.to_owned())]);
    let memory = (1u32..45).prop_map(|gb| vec![("mig.memory", format!("{gb}GB"))]);
    let exact = select(vec![4864u64, 9984, 19968, 20096, 20224, 40448]);
    let exact = exact.prop_map(|mib| vec![("mig.memory", format!("{mib}MiB"))]);
    let compute = (1u8..8).prop_map(|slices| vec![("mig.compute", slices.to_string())]);
    let both = (1u32..25, 1u8..4).prop_map(|(gb, slices)| {
        vec![
            ("mig.memory", format!("{gb}GiB")),
            ("mig.compute", slices.to_string()),
        ]
    });
    let whole = (any::<bool>(), 1u32..90).prop_map(|(sized, gb)| {
        let memory = sized.then(|| ("mig.memory", format!("{gb}GB")));
        [("mig.profile", "gpu".to_owned())]
            .into_iter()
            .chain(memory)
            .collect()
    });
    prop_oneof![2 => whole, 3 => profile, 1 => memory, 1 => exact, 1 => compute, 1 => both, 1 => Just(vec![])]
}

fn cases() -> impl Strategy<Value = Case> {
    let on = select(vec![
        None,
        None,
        None,
        Some("*A100*"),
        Some("0000:40:00.0"),
        Some("nvidia h100*"),
    ]);
    let limits = select(vec![
        None,
        None,
        None,
        Some(["1g.10gb", "3g.40gb"]),
        Some(["2g.10gb", "1c.3g.20gb"]),
        Some(["gpu", "1g.10gb"]),
    ]);
    let asked = (wanted(), 1u8..5, on, any::<Option<Index>>());
    (nodes(), prop::collection::vec(any::<bool>(), 64), asked, limits).prop_map(
        |(node, held, asked, profiles)| {
            let (mut annotations, count, on, by_name) = asked;
            let all: Vec<DeviceName> = node.devices().map(Device::name).collect();
            annotations.push(("mig.count", count.to_string()));
            annotations.extend(on.map(|gpu| ("mig.gpu", gpu.to_owned())));
            if let (Some(index), true, 1) = (by_name, !all.is_empty(), count) {
                annotations = vec![("mig.device", index.get(&all).to_string())];
            }
            let held = all.into_iter().zip(held).filter(|(_, held)| *held);
            Case {
                held: held
                    .map(|(name, _)| (name.clone(), name.to_string()[7..19].to_owned()))
                    .collect(),
                node,
                request: Request::from_annotations(annotations, None).unwrap().unwrap(),
                limits: Limits {
                    profiles: profiles.map(|names| names.map(|name| name.parse().unwrap()).to_vec()),
                    ..Limits::default()
                },
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// All or none: who can be served is served in full, each device once, none that is held, none that wouldn't do.
    #[test]
    fn served_in_full_exactly_when_enough_is_free(case in cases()) {
        let would_do: BTreeSet<DeviceName> = case.would_do().into_iter().map(Device::name).collect();
        let free = would_do.iter().filter(|name| !case.held.contains_key(name)).count();
        let asked = usize::from(case.request.count().get());
        match case.choose() {
            Ok(chosen) => {
                let distinct: BTreeSet<DeviceName> = chosen.iter().map(|chosen| chosen.name()).collect();
                prop_assert_eq!((chosen.len(), distinct.len()), (asked, asked));
                for name in distinct {
                    prop_assert!(would_do.contains(&name) && !case.held.contains_key(&name), "{}", name);
                }
            }
            Err(refusal) => {
                prop_assert!(free < asked, "{:?}", refusal);
                let is_held = matches!(refusal, Refusal::Held { .. });
                prop_assert_eq!(is_held, would_do.len() >= asked, "{:?}", refusal);
            }
        }
    }

    /// Each device chosen is the first of those free at its turn: the smallest, then on the fullest GPU, then by bus,
    /// then by (GI, CI).
    #[test]
    fn each_is_the_first_of_those_left(case in cases()) {
        let mut taken: BTreeSet<DeviceName> = case.held.keys().cloned().collect();
        for chosen in case.choose().unwrap_or_default() {
            let by_size = matches!(case.request.want(), Want::AtLeast { .. } | Want::Gpu { .. });
            let rank = |device: Device<'_>| {
                let size = if by_size { size(device) } else { Default::default() };
                let instance = match device {
                    Device::Mig { device, .. } => Some((device.gi, device.ci)),
                    Device::Whole { .. } => None,
                };
                (size, free_slices(device.gpu(), &taken), device.gpu().pci, instance)
            };
            for device in case.would_do() {
                if !taken.contains(&device.name()) {
                    prop_assert!(rank(chosen) <= rank(device));
                }
            }
            taken.insert(chosen.name());
        }
    }

    /// Nothing depends on the order in which a node was listed, the words of a refusal included.
    #[test]
    fn the_order_of_the_listing_is_nothing(case in cases(), by in any::<Index>()) {
        let mut turned = case.clone();
        for gpu in &mut turned.node.gpus {
            if !gpu.devices().is_empty() {
                let by = by.index(gpu.devices().len());
                devices(gpu).rotate_left(by);
                devices(gpu).reverse();
            }
        }
        turned.node.gpus.reverse();
        let uuids = |case: &Case| -> Result<Vec<String>, String> {
            match case.choose() {
                Ok(chosen) => Ok(chosen.iter().map(|chosen| chosen.name().to_string()).collect()),
                Err(refusal) => Err(oci_mig_hook::failure::Failure::from(refusal).to_string()),
            }
        };
        prop_assert_eq!(uuids(&case), uuids(&turned));
    }

    /// Who doesn't ask for a whole GPU never gets one, and who does never gets a part of one.
    #[test]
    fn whole_and_in_parts_are_never_mixed_up(case in cases()) {
        let wants_whole = match case.request.want() {
            Want::Gpu { .. } | Want::Device(DeviceName::Gpu(_)) => true,
            Want::Profile(_) | Want::AtLeast { .. } | Want::Device(DeviceName::Mig(_)) => false,
        };
        for chosen in case.choose().unwrap_or_default() {
            prop_assert_eq!(matches!(chosen, Device::Whole { .. }), wants_whole);
            prop_assert_eq!(chosen.gpu().whole().is_some(), wants_whole);
        }
    }

    /// Every refusal is a line that can be read and that names a remedy.
    #[test]
    fn a_refusal_is_one_readable_line(case in cases()) {
        if let Err(refusal) = case.choose() {
            let line = oci_mig_hook::failure::Failure::from(refusal).to_string();
            prop_assert!(line.len() < 500 && line.lines().count() == 1 && line.contains("; "), "{}", line);
        }
    }
}
