//! Which device a request gets, told on nodes in figures of real GPUs; what a refusal says; and what holds on any
//! node whatever.

mod kept;
mod laws;
mod meet;
mod node;
mod refusals;
mod whole;

use node::{A100_40, A100_80_39, H100_80, IdMap, devices, gpu, node};
use oci_mig_hook::mig::{Device, Inventory};
use oci_mig_hook::policy::{Held, Limits, Refusal, choose};
use oci_mig_hook::request::Request;

const SEVEN: &[node::Instance] = &[
    ("1g.5gb", 0, &[]),
    ("1g.5gb", 1, &[]),
    ("1g.5gb", 2, &[]),
    ("1g.5gb", 3, &[]),
    ("1g.5gb", 4, &[]),
    ("1g.5gb", 5, &[]),
    ("1g.5gb", 6, &[]),
];

/// A request in the words of an operator: `profile=1g.5gb count=2`.
fn request(words: &str) -> Request {
    let pairs = words
        .split(' ')
        .map(|word| word.split_once('=').expect("key=value"));
    let annotations: Vec<(String, &str)> = pairs.map(|(key, value)| (format!("mig.{key}"), value)).collect();
    Request::from_annotations(annotations, None).unwrap().unwrap()
}

/// A device in the words of the driver: `gpu 0: 9/0 1g.5gb`; a whole GPU is `gpu 0`.
fn name(device: Device<'_>) -> String {
    match device {
        Device::Mig { gpu, device } => format!(
            "gpu {}: {}/{} {}",
            gpu.index, device.gi.0, device.ci.0, device.profile
        ),
        Device::Whole { gpu, .. } => format!("gpu {}", gpu.index),
    }
}

/// Holds the devices of these names, each by a holder of its own.
fn held(node: &Inventory, names: &[&str]) -> Held {
    let found = |wanted: &str| {
        node.devices()
            .find(|found| name(*found) == wanted)
            .expect(wanted)
            .name()
    };
    names
        .iter()
        .enumerate()
        .map(|(n, wanted)| (found(wanted), format!("{n:012x}")))
        .collect()
}

fn chosen(words: &str, node: &Inventory, names: &[&str]) -> Result<Vec<String>, Refusal> {
    let chosen = choose(&request(words), node, &held(node, names), &Limits::default())?;
    Ok(chosen.into_iter().map(name).collect())
}

/// The devices that a request gets on this node while those of `names` are held.
fn gets(words: &str, node: &Inventory, names: &[&str]) -> Vec<String> {
    chosen(words, node, names).unwrap()
}

#[test]
fn equal_devices_go_by_gpu_and_compute_instance() {
    let node = node(vec![gpu(&A100_40, 0, 1, IdMap::Identity, SEVEN)]);
    assert_eq!(gets("profile=1g.5gb", &node, &[]), ["gpu 0: 7/0 1g.5gb"]);
    assert_eq!(
        gets("profile=1g.5gb", &node, &["gpu 0: 7/0 1g.5gb"]),
        ["gpu 0: 8/0 1g.5gb"]
    );
}

/// The order of a node's GPUs is that of the bus: an index can be another after the next reboot.
#[test]
fn equal_gpus_go_by_bus_id_not_by_index() {
    let gpus = |first, second| {
        let layout: &[node::Instance] = &[("7g.40gb", 0, &[])];
        vec![
            gpu(&A100_40, first, 0x47, IdMap::Identity, layout),
            gpu(&A100_40, second, 0x07, IdMap::Identity, layout),
        ]
    };
    assert_eq!(
        gets("profile=7g.40gb", &node(gpus(0, 1)), &[]),
        ["gpu 1: 0/0 7g.40gb"]
    );
    assert_eq!(
        gets("profile=7g.40gb", &node(gpus(1, 0)), &[]),
        ["gpu 0: 0/0 7g.40gb"]
    );
}

/// A small container goes where least is left, so that the GPU with more keeps it for a large one.
#[test]
fn the_fuller_gpu_is_filled_first() {
    let layout: &[node::Instance] = &[("3g.20gb", 4, &[]), ("2g.10gb", 0, &[]), ("1g.5gb", 2, &[])];
    let node = node(vec![
        gpu(&A100_40, 0, 1, IdMap::Identity, layout),
        gpu(&A100_40, 1, 2, IdMap::Identity, layout),
    ]);
    assert_eq!(gets("profile=1g.5gb", &node, &[]), ["gpu 0: 9/0 1g.5gb"]);
    assert_eq!(
        gets("profile=1g.5gb", &node, &["gpu 1: 3/0 2g.10gb"]),
        ["gpu 1: 9/0 1g.5gb"]
    );
    let both = ["gpu 1: 3/0 2g.10gb", "gpu 0: 2/0 3g.20gb"];
    assert_eq!(
        gets("profile=1g.5gb", &node, &both),
        ["gpu 0: 9/0 1g.5gb"],
        "3 slices left against 5"
    );
}

/// An instance of which one compute instance is held can't be given away whole: its slices aren't free.
#[test]
fn an_instance_that_is_held_in_part_counts_as_held() {
    let thirds: &[&str] = &["1c.3g.20gb", "1c.3g.20gb", "1c.3g.20gb"];
    let shared: &[node::Instance] = &[("3g.20gb", 0, thirds), ("1g.5gb", 4, &[])];
    let node = node(vec![
        gpu(&A100_40, 0, 1, IdMap::Identity, shared),
        gpu(&A100_40, 1, 2, IdMap::Identity, shared),
    ]);
    let one = ["gpu 1: 1/1 1c.3g.20gb"];
    assert_eq!(gets("profile=1g.5gb", &node, &one), ["gpu 1: 11/0 1g.5gb"]);
    assert_eq!(
        gets("profile=1c.3g.20gb", &node, &one),
        ["gpu 1: 1/0 1c.3g.20gb"],
        "its siblings are still to be had"
    );
    assert_eq!(gets("profile=1c.3g.20gb count=3", &node, &one).len(), 3);
}

#[test]
fn several_are_chosen_one_after_another() {
    let node = node(vec![
        gpu(&A100_40, 0, 1, IdMap::Identity, SEVEN),
        gpu(&A100_40, 1, 2, IdMap::Identity, SEVEN),
    ]);
    let busy = [
        "gpu 1: 7/0 1g.5gb",
        "gpu 1: 8/0 1g.5gb",
        "gpu 1: 9/0 1g.5gb",
        "gpu 1: 10/0 1g.5gb",
        "gpu 1: 11/0 1g.5gb",
    ];
    assert_eq!(
        gets("profile=1g.5gb count=3", &node, &busy),
        ["gpu 1: 12/0 1g.5gb", "gpu 1: 13/0 1g.5gb", "gpu 0: 7/0 1g.5gb"]
    );
}

#[test]
fn a_size_gets_the_smallest_that_suffices() {
    let layout: &[node::Instance] = &[
        ("3g.20gb", 4, &[]),
        ("2g.10gb", 0, &[]),
        ("1g.5gb", 2, &[]),
        ("1g.5gb+me", 3, &[]),
    ];
    let wide: &[node::Instance] = &[("1g.10gb", 0, &[]), ("1g.10gb", 2, &[]), ("4g.20gb", 4, &[])];
    let node = node(vec![
        gpu(&A100_40, 0, 1, IdMap::Identity, layout),
        gpu(&A100_40, 1, 2, IdMap::Identity, wide),
    ]);
    for (words, device) in [
        ("memory=1GB", "gpu 0: 9/0 1g.5gb"),
        ("memory=4864MiB", "gpu 0: 9/0 1g.5gb"),
        ("memory=4865MiB", "gpu 1: 3/0 1g.10gb"),
        ("memory=10GB", "gpu 1: 3/0 1g.10gb"),
        ("memory=10GB compute=2", "gpu 0: 3/0 2g.10gb"),
        ("compute=2", "gpu 0: 3/0 2g.10gb"),
        ("compute=3", "gpu 0: 2/0 3g.20gb"),
        ("memory=20GB", "gpu 0: 2/0 3g.20gb"),
        ("compute=4", "gpu 1: 2/0 4g.20gb"),
        ("count=1", "gpu 0: 9/0 1g.5gb"),
        ("gpu=0000:02:00.0", "gpu 1: 3/0 1g.10gb"),
    ] {
        assert_eq!(gets(words, &node, &[]), [device], "{words}");
    }
    assert_eq!(
        gets("memory=5GB", &node, &["gpu 0: 9/0 1g.5gb"]),
        ["gpu 0: 10/0 1g.5gb+me"],
        "a suffix comes last"
    );
    assert_eq!(
        gets("count=4", &node, &[]),
        [
            "gpu 0: 9/0 1g.5gb",
            "gpu 0: 10/0 1g.5gb+me",
            "gpu 1: 3/0 1g.10gb",
            "gpu 1: 4/0 1g.10gb"
        ]
    );
}

/// A compute instance sees the memory of the whole GPU instance, so that is what it is measured by.
#[test]
fn a_compute_instance_is_as_large_as_its_gpu_instance() {
    let thirds: &[&str] = &["1c.3g.20gb", "2c.3g.20gb"];
    let node = node(vec![gpu(
        &A100_40,
        0,
        1,
        IdMap::Identity,
        &[("3g.20gb", 0, thirds), ("4g.20gb", 4, &[])],
    )]);
    assert_eq!(gets("memory=20GB", &node, &[]), ["gpu 0: 1/0 1c.3g.20gb"]);
    assert_eq!(
        gets("memory=20GB compute=2", &node, &[]),
        ["gpu 0: 1/1 2c.3g.20gb"]
    );
    assert_eq!(gets("memory=20GB compute=3", &node, &[]), ["gpu 0: 2/0 4g.20gb"]);
}

/// Seen on an A100: two instances of 3g.20gb, 20224 and 20096 MiB.
#[test]
fn one_profile_in_two_sizes_is_still_one_profile() {
    let mut a100 = gpu(
        &A100_40,
        0,
        1,
        IdMap::Identity,
        &[("3g.20gb", 0, &[]), ("3g.20gb", 4, &[])],
    );
    devices(&mut a100)[0].attributes.memory_mib = 20224;
    let node = node(vec![a100]);
    assert_eq!(
        gets("profile=3g.20gb count=2", &node, &[]),
        ["gpu 0: 1/0 3g.20gb", "gpu 0: 2/0 3g.20gb"]
    );
    assert_eq!(
        gets("memory=20096MiB", &node, &[]),
        ["gpu 0: 2/0 3g.20gb"],
        "the smaller of the two"
    );
    assert_eq!(gets("memory=20097MiB", &node, &[]), ["gpu 0: 1/0 3g.20gb"]);
}

/// Some drivers say 3g.39gb where everyone else says 3g.40gb.
#[test]
fn a_name_that_is_off_by_one_is_still_the_profile() {
    let halves: &[node::Instance] = &[("3g.39gb", 0, &[]), ("3g.39gb", 4, &[])];
    let node = node(vec![gpu(&A100_80_39, 0, 1, IdMap::Identity, halves)]);
    assert_eq!(gets("profile=3g.40gb", &node, &[]), ["gpu 0: 1/0 3g.39gb"]);
    assert_eq!(gets("profile=3g.39gb", &node, &[]), ["gpu 0: 1/0 3g.39gb"]);
    assert!(chosen("profile=3g.41gb", &node, &[]).is_err());
    assert!(
        chosen("profile=4g.40gb", &node, &[]).is_err(),
        "slices are never off"
    );
    assert!(
        chosen("profile=3g.40gb+me", &node, &[]).is_err(),
        "nor is a suffix"
    );
}

/// A driver may round an instance's own figure otherwise than its profile's: it is still an instance of that.
#[test]
fn an_instance_may_be_called_otherwise_than_its_profile() {
    let mut h100 = gpu(
        &H100_80,
        0,
        1,
        IdMap::Identity,
        &[("3g.40gb", 0, &[]), ("3g.40gb", 4, &[])],
    );
    devices(&mut h100)[0].profile = "3g.39gb".parse().unwrap();
    let node = node(vec![h100]);
    let both = ["gpu 0: 1/0 3g.39gb", "gpu 0: 2/0 3g.40gb"];
    assert_eq!(gets("profile=3g.40gb count=2", &node, &[]), both);
}

/// Where the GPU has a profile of exactly that name, its neighbour is another profile.
#[test]
fn off_by_one_is_another_profile_where_that_has_the_name() {
    let close = node::Model {
        name: "NVIDIA Invented",
        profiles: &[("1g.23gb", 1, 22528, 1), ("1g.24gb", 2, 23552, 1)],
    };
    let there = node(vec![gpu(
        &close,
        0,
        1,
        IdMap::Identity,
        &[("1g.23gb", 0, &[]), ("1g.24gb", 1, &[])],
    )]);
    assert_eq!(gets("profile=1g.24gb", &there, &[]), ["gpu 0: 8/0 1g.24gb"]);
    assert_eq!(gets("profile=1g.23gb", &there, &[]), ["gpu 0: 7/0 1g.23gb"]);
    let absent = node(vec![gpu(&close, 0, 1, IdMap::Identity, &[("1g.23gb", 0, &[])])]);
    assert!(chosen("profile=1g.24gb", &absent, &[]).is_err());
}

/// Each GPU is judged by its own names: 40 on the one is 39 on the other.
#[test]
fn a_mixed_node_serves_one_name_from_both() {
    let node = node(vec![
        gpu(&A100_80_39, 0, 1, IdMap::Identity, &[("3g.39gb", 0, &[])]),
        gpu(&H100_80, 1, 2, IdMap::Identity, &[("3g.40gb", 0, &[])]),
    ]);
    assert_eq!(
        gets("profile=3g.40gb count=2", &node, &[]),
        ["gpu 0: 1/0 3g.39gb", "gpu 1: 1/0 3g.40gb"]
    );
    assert_eq!(
        gets("profile=3g.40gb gpu=*h100*", &node, &[]),
        ["gpu 1: 1/0 3g.40gb"]
    );
}

/// On some dies the low instance ids lie in the upper half. Nothing here may take an id for a place.
#[test]
fn swapped_ids_change_nothing_but_the_order() {
    let layout: &[node::Instance] = &[("4g.20gb", 0, &[]), ("2g.10gb", 4, &[]), ("1g.5gb", 6, &[])];
    let node = node(vec![
        gpu(&A100_40, 0, 1, IdMap::Identity, layout),
        gpu(&A100_40, 1, 2, IdMap::Swapped, layout),
    ]);
    assert_eq!(gets("profile=4g.20gb", &node, &[]), ["gpu 0: 1/0 4g.20gb"]);
    assert_eq!(
        gets("profile=4g.20gb", &node, &["gpu 1: 3/0 2g.10gb"]),
        ["gpu 1: 2/0 4g.20gb"]
    );
    assert_eq!(
        gets("profile=1g.5gb", &node, &["gpu 0: 13/0 1g.5gb"]),
        ["gpu 1: 9/0 1g.5gb"]
    );
}

#[test]
fn a_named_device_is_that_device() {
    let node = node(vec![gpu(&A100_40, 0, 1, IdMap::Identity, SEVEN)]);
    let device = node.devices().nth(4).unwrap().name();
    assert_eq!(
        gets(&format!("device={device}"), &node, &[]),
        ["gpu 0: 11/0 1g.5gb"]
    );
}

#[test]
fn a_limit_on_profiles_leaves_only_those() {
    let node = node(vec![gpu(
        &A100_40,
        0,
        1,
        IdMap::Identity,
        &[("3g.20gb", 4, &[]), ("2g.10gb", 0, &[])],
    )]);
    let limits = Limits {
        profiles: Some(vec!["3g.20gb".parse().unwrap()]),
        ..Limits::default()
    };
    let chosen = choose(&request("memory=5GB"), &node, &Held::default(), &limits).unwrap();
    assert_eq!(
        chosen[0].kind().to_string(),
        "3g.20gb",
        "though the 2g.10gb is smaller"
    );
}
