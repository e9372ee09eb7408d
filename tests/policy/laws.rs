//! What holds on any node, for any request: checked on nodes, leases and requests made up at random.

use std::collections::{BTreeMap, BTreeSet};

use oci_mig_hook::mig::{Gpu, Inventory, MigDevice, MigUuid, Profile, Suffix};
use oci_mig_hook::policy::{Chosen, Held, Limits, Refusal, choose};
use oci_mig_hook::request::{Memory, Request, Want};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::node::{A100_40, A100_80_39, H100_80, IdMap, Instance, Model, bare, devices, gpu, node};

/// A case: a node, who holds what, a request and the limits.
#[derive(Clone, Debug)]
struct Case {
    node: Inventory,
    held: BTreeMap<MigUuid, String>,
    request: Request,
    limits: Limits,
}

impl Case {
    fn choose(&self) -> Result<Vec<Chosen<'_>>, Refusal> {
        choose(&self.request, &self.node, &self.held(), &self.limits)
    }

    fn held(&self) -> Held {
        self.held.clone().into_iter().collect()
    }

    /// Every device that the request accepts and the limits allow, by the rules written anew.
    fn would_do(&self) -> Vec<(&Gpu, &MigDevice)> {
        let does = |(gpu, device): &(&Gpu, &MigDevice)| {
            let wanted = match self.request.want() {
                Want::Profile(profile) => is_called(*profile, gpu, device),
                Want::AtLeast { memory, compute } => {
                    let bytes = u128::from(device.attributes.memory_mib) << 20;
                    bytes >= memory.map_or(0, Memory::bytes).into()
                        && device.attributes.ci_slices >= compute.map_or(0, |n| n.get().into())
                }
                Want::Device(uuid) => device.uuid == *uuid,
            };
            let profiles = self.limits.profiles.as_ref();
            let allowed = profiles.is_none_or(|all| all.iter().any(|one| is_called(*one, gpu, device)));
            wanted
                && allowed
                && self
                    .request
                    .gpu()
                    .is_none_or(|constraint| constraint.accepts(gpu))
        };
        self.node.devices().filter(does).collect()
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

fn size(device: &MigDevice) -> (u64, u32, bool) {
    (
        device.attributes.memory_mib,
        device.attributes.ci_slices,
        device.profile.suffix != Suffix::Plain,
    )
}

/// Memory slices of the instances that none of `taken` lies in.
fn free_slices(gpu: &Gpu, taken: &BTreeSet<&MigUuid>) -> u32 {
    let instances: BTreeMap<u32, u32> = gpu
        .devices()
        .iter()
        .map(|device| (device.gi.0, device.placement.size))
        .collect();
    let is_taken = |gi: u32| {
        gpu.devices()
            .iter()
            .any(|d| d.gi.0 == gi && taken.contains(&d.uuid))
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

static MODELS: [Model; 3] = [A100_40, H100_80, A100_80_39];

fn nodes() -> impl Strategy<Value = Inventory> {
    let gpus = prop::collection::vec((layout(), 0u32..20, any::<bool>()), 0..5);
    gpus.prop_map(|gpus| {
        let made = gpus
            .iter()
            .enumerate()
            .map(|(n, ((which, map, instances), off, odd))| {
                let (index, bus) = (n as u32, 0x40 - n as u8);
                if *off == 0 {
                    return bare("Tesla T4", index, bus, oci_mig_hook::mig::MigMode::Unsupported);
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
    prop_oneof![3 => profile, 1 => memory, 1 => exact, 1 => compute, 1 => both, 1 => Just(vec![])]
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
    ]);
    let asked = (wanted(), 1u8..5, on, any::<Option<Index>>());
    (nodes(), prop::collection::vec(any::<bool>(), 64), asked, limits).prop_map(
        |(node, held, asked, profiles)| {
            let (mut annotations, count, on, by_name) = asked;
            let all: Vec<MigUuid> = node.devices().map(|(_, device)| device.uuid.clone()).collect();
            annotations.push(("mig.count", count.to_string()));
            annotations.extend(on.map(|gpu| ("mig.gpu", gpu.to_owned())));
            if let (Some(index), true, 1) = (by_name, !all.is_empty(), count) {
                annotations = vec![("mig.device", index.get(&all).to_string())];
            }
            let held = all.into_iter().zip(held).filter(|(_, held)| *held);
            Case {
                held: held
                    .map(|(uuid, _)| (uuid.clone(), uuid.to_string()[7..19].to_owned()))
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
        let would_do: BTreeMap<&MigUuid, ()> = case.would_do().iter().map(|(_, device)| (&device.uuid, ())).collect();
        let free = would_do.keys().filter(|uuid| !case.held.contains_key(**uuid)).count();
        let asked = usize::from(case.request.count().get());
        match case.choose() {
            Ok(chosen) => {
                let distinct: BTreeSet<&MigUuid> = chosen.iter().map(|chosen| &chosen.device.uuid).collect();
                prop_assert_eq!((chosen.len(), distinct.len()), (asked, asked));
                for uuid in distinct {
                    prop_assert!(would_do.contains_key(uuid) && !case.held.contains_key(uuid), "{}", uuid);
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
        let mut taken: BTreeSet<&MigUuid> = case.held.keys().collect();
        for chosen in case.choose().unwrap_or_default() {
            let by_size = matches!(case.request.want(), Want::AtLeast { .. });
            let rank = |gpu: &Gpu, device: &MigDevice| {
                let size = if by_size { size(device) } else { Default::default() };
                (size, free_slices(gpu, &taken), gpu.pci, device.gi, device.ci)
            };
            for (gpu, device) in case.would_do() {
                if !taken.contains(&device.uuid) {
                    prop_assert!(rank(chosen.gpu, chosen.device) <= rank(gpu, device));
                }
            }
            taken.insert(&chosen.device.uuid);
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
                Ok(chosen) => Ok(chosen.iter().map(|chosen| chosen.device.uuid.to_string()).collect()),
                Err(refusal) => Err(oci_mig_hook::failure::Failure::from(refusal).to_string()),
            }
        };
        prop_assert_eq!(uuids(&case), uuids(&turned));
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
