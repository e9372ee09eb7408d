//! The check of certain devices: what it asks of NVML, and each difference that it must see.

use std::process::Command;

use fake_node::{ComputeSpec, GpuSpec, IdMap, InstanceSpec, MigMode as Mode, NodeSpec, Scratch, Shown};
use oci_mig_hook::host::Survey;
use oci_mig_hook::host::nvml::Certain;
use oci_mig_hook::mig::{Checked, DeviceName, Gpu, Inventory, MigDevice, MigMode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{PROGRAM, cut, instance, node, ok, up};

/// The child's answer.
fn answer<Answer: DeserializeOwned>(command: &mut Command) -> Answer {
    let text = ok(command);
    let last = text.lines().last().expect("a message");
    let mut message: Value = serde_json::from_str(last).expect("JSON");
    serde_json::from_value(message["answer"].take()).unwrap_or_else(|error| panic!("{error}: {last}"))
}

/// Everything, as a child that is asked for it says.
pub fn inventory(node: &Scratch) -> Inventory {
    let mut command = Command::new(PROGRAM);
    let survey: Survey = answer(command.arg("nvml-inventory").arg(node.library()));
    survey.inventory
}

/// The names of the devices that somebody uses, as the same child says.
pub fn used(node: &Scratch) -> Vec<DeviceName> {
    let mut command = Command::new(PROGRAM);
    command.arg("nvml-inventory").arg(node.library());
    let survey: Survey = answer(command.arg(r#"{"users":true}"#));
    survey.users.into_keys().collect()
}

/// Asks about every device of `known`.
fn check(node: &Scratch, known: &Inventory) -> Vec<Checked> {
    check_users(node, known, false)
}

/// The same, and with `users` who uses them.
pub fn check_users(node: &Scratch, known: &Inventory, users: bool) -> Vec<Checked> {
    let question = Certain {
        known: known.clone(),
        users,
        on_demand_alone: false,
    };
    let question = serde_json::to_string(&question).expect("JSON");
    let mut command = Command::new(PROGRAM);
    answer(command.arg("nvml-check").arg(node.library()).arg(question))
}

/// What differs for each of them.
#[track_caller]
fn differs(node: &Scratch, known: &Inventory) -> Vec<String> {
    let sentence = |checked| match checked {
        Checked::Differs(sentence) => sentence,
        other => panic!("{other:?}"),
    };
    check(node, known).into_iter().map(sentence).collect()
}

/// `known` with these devices alone, and their GPUs.
fn only(known: &Inventory, wanted: impl Fn(&Gpu, &MigDevice) -> bool) -> Inventory {
    let mut known = known.clone();
    for gpu in &mut known.gpus {
        let of = gpu.clone();
        if let MigMode::Enabled { devices, .. } = &mut gpu.mig {
            devices.retain(|device| wanted(&of, device));
        }
    }
    known.gpus.retain(|gpu| !gpu.devices().is_empty());
    known
}

#[test]
fn what_is_as_it_was_is_as_known() {
    for name in [
        "one-gpu",
        "dgx-a100",
        "hgx-h100",
        "a30",
        "h200",
        "rtx-pro-6000",
        "mixed",
        "holes",
        "id-maps",
        "excluded-lost",
        "old-driver",
    ] {
        let node = node(name);
        let known = inventory(&node);
        let known = only(&known, |_, _| true);
        let checked = check(&node, &known);
        // One of the lost GPU's can't be asked about.
        let devices = if name == "excluded-lost" {
            4
        } else {
            node.devices().expect("devices").len()
        };
        assert_eq!(checked.len(), devices, "{name}");
        assert!(
            checked.iter().all(|one| *one == Checked::AsKnown),
            "{name}: {checked:?}"
        );
    }
}

/// The functions that are called for the last device of a node, in order, and the GPUs that they touch.
fn calls(node: &Scratch) -> (Vec<String>, Vec<u32>) {
    let known = inventory(node);
    let last = known.devices().last().expect("a device").name();
    let known = only(&known, |_, device| last == device.uuid.clone().into());
    node.start_trace().expect("a trace");
    assert_eq!(check(node, &known), [Checked::AsKnown]);
    let trace = node.trace().expect("a trace");
    let mut gpus: Vec<u32> = trace.iter().filter_map(|line| line.gpu).collect();
    gpus.dedup();
    (trace.into_iter().map(|line| line.function).collect(), gpus)
}

/// Neither the node's size nor the GPU's is in the number of calls, and one GPU is touched.
#[test]
fn a_device_costs_the_same_on_every_node() {
    let seven = up(&cut(vec![instance("1g.10gb"); 7]));
    let one = up(&cut(vec![instance("1g.10gb")]));
    let (calls_of_one, _) = calls(&one);
    let (calls_of_seven, gpus_of_seven) = calls(&seven);
    let (calls_of_all, gpus_of_all) = calls(&node("hgx-h100"));
    assert_eq!(calls_of_one, calls_of_seven);
    assert_eq!(calls_of_one, calls_of_all);
    assert_eq!((gpus_of_seven, gpus_of_all), (vec![0], vec![7]));
    assert!(calls_of_all.len() < 20, "{calls_of_all:?}");
    assert_eq!(calls_of_all[0], "nvmlInitWithFlags");
}

/// A GPU of that way with ids, cut so.
fn mapped(id_map: IdMap, profiles: &[(&str, u32)]) -> NodeSpec {
    let instance = |(profile, start): &(&str, u32)| InstanceSpec {
        profile: profile.to_string(),
        start: Some(*start),
        ..Default::default()
    };
    let gpu = GpuSpec {
        id_map,
        instances: profiles.iter().map(instance).collect(),
        ..Default::default()
    };
    NodeSpec {
        gpus: vec![gpu],
        ..Default::default()
    }
}

/// The same GPU instance ids and UUIDs before and after.
fn names(node: &Scratch) -> Vec<(u32, u32, String)> {
    let devices = node.devices().expect("devices").into_iter();
    devices
        .map(|device| (device.gi, device.ci, device.uuid))
        .collect()
}

#[test]
fn profiles_that_swap_under_the_same_ids_and_uuids() {
    for map in [IdMap::Identity, IdMap::Swapped] {
        for (before, after) in [
            (("2g.20gb", "1g.20gb"), ("1g.20gb", "2g.20gb")),
            (("1g.20gb", "2g.20gb"), ("2g.20gb", "1g.20gb")),
        ] {
            let at = |(first, second)| mapped(map, &[(first, 0), (second, 2)]);
            let node = up(&at(before));
            let (known, named) = (inventory(&node), names(&node));
            node.repartition(&at(after)).expect("a repartition");
            assert_eq!(names(&node), named, "{map:?}");
            let differs = differs(&node, &known);
            assert_eq!(differs.len(), 2);
            for (device, differs) in known.devices().zip(differs) {
                let was = device.kind().to_string();
                let is = if was == "2g.20gb" { "1g.20gb" } else { "2g.20gb" };
                assert_eq!(
                    differs,
                    format!(
                        "GPU 0: the profile of {} is {is} now, and was {was}",
                        device.name()
                    )
                );
            }
        }
    }
}

/// One device alone, where the other half of its GPU may be anything.
#[test]
fn every_profile_that_shares_its_ids() {
    for map in [IdMap::Identity, IdMap::Swapped] {
        for (before, after) in [
            ("3g.40gb", "4g.40gb"),
            ("1g.10gb", "1g.10gb+me"),
            ("2g.20gb", "1g.20gb"),
        ] {
            for (before, after) in [(before, after), (after, before)] {
                let node = up(&mapped(map, &[(before, 0)]));
                let (known, named) = (inventory(&node), names(&node));
                node.repartition(&mapped(map, &[(after, 0)]))
                    .expect("a repartition");
                assert_eq!(names(&node), named, "{map:?} {before} {after}");
                let differs = differs(&node, &known);
                assert!(
                    differs[0].ends_with(&format!("is {after} now, and was {before}")),
                    "{differs:?}"
                );
            }
        }
    }
}

/// A place that another die's way with ids gives to the same id.
#[test]
fn another_place_under_the_same_id() {
    let uuid = |node: &mut NodeSpec| {
        node.gpus[0].uuid = Some("GPU-00000000-0000-4000-8000-00000000000a".to_owned());
        node.clone()
    };
    let node = up(&uuid(&mut mapped(IdMap::Identity, &[("1g.10gb", 0)])));
    let (known, named) = (inventory(&node), names(&node));
    node.repartition(&uuid(&mut mapped(IdMap::Swapped, &[("1g.10gb", 4)])))
        .expect("a repartition");
    assert_eq!(names(&node), named);
    let device = &named[0].2;
    assert_eq!(
        differs(&node, &known),
        [format!("GPU 0: the place of {device} is 4:1 now, and was 0:1")]
    );
}

/// Compute instances of one GPU instance that swap.
#[test]
fn compute_instances_that_swap() {
    let cut_so = |slices: [&str; 2]| {
        let compute = slices.map(|profile| ComputeSpec {
            profile: Some(profile.to_owned()),
            ..Default::default()
        });
        cut(vec![InstanceSpec {
            compute: Some(compute.to_vec()),
            ..instance("3g.40gb")
        }])
    };
    let node = up(&cut_so(["1c", "2c"]));
    let (known, named) = (inventory(&node), names(&node));
    node.repartition(&cut_so(["2c", "1c"])).expect("a repartition");
    assert_eq!(names(&node), named);
    let found = differs(&node, &known);
    assert!(
        found[0].ends_with("is 2c.3g.40gb now, and was 1c.3g.40gb"),
        "{found:?}"
    );
    assert!(
        found[1].ends_with("is 1c.3g.40gb now, and was 2c.3g.40gb"),
        "{found:?}"
    );
}

#[test]
fn another_share_under_the_same_profile() {
    let node = up(&cut(vec![instance("1g.10gb")]));
    let known = inventory(&node);
    let mut spec = cut(vec![instance("1g.10gb")]);
    let shown = Shown {
        name: None,
        memory_mib: Some(9728),
    };
    spec.gpus[0].shown.insert("1g.10gb".to_owned(), shown);
    node.repartition(&spec).expect("a repartition");
    let device = &names(&node)[0].2;
    assert_eq!(
        differs(&node, &known),
        [format!("GPU 0: the share of {device} differs")]
    );
}

#[test]
fn another_device_or_none_at_its_place() {
    let with = |uuid: &str| {
        let compute = ComputeSpec {
            uuid: Some(format!("MIG-00000000-0000-5000-8000-00000000000{uuid}")),
            ..Default::default()
        };
        cut(vec![InstanceSpec {
            compute: Some(vec![compute]),
            ..instance("1g.10gb")
        }])
    };
    let node = up(&with("a"));
    let known = inventory(&node);
    node.repartition(&with("b")).expect("a repartition");
    let expected = "GPU 0: the UUID of GPU instance 7, compute instance 0 is \
                    MIG-00000000-0000-5000-8000-00000000000b now, and was MIG-00000000-0000-5000-8000-00000000000a";
    assert_eq!(differs(&node, &known), [expected]);
    let gone = "GPU 0: MIG-00000000-0000-5000-8000-00000000000a is gone";
    let mut without_compute = with("a");
    without_compute.gpus[0].instances[0].compute = Some(vec![]);
    for other in [without_compute, cut(vec![]), cut(vec![instance("7g.80gb")])] {
        node.repartition(&other).expect("a repartition");
        assert_eq!(differs(&node, &known), [gone]);
    }
}

#[test]
fn another_gpu_at_its_index() {
    let gpu = |last: char, pci: &str, minor| GpuSpec {
        uuid: Some(format!("GPU-00000000-0000-4000-8000-00000000000{last}")),
        pci_bus_id: Some(pci.to_owned()),
        minor: Some(minor),
        instances: vec![instance("1g.10gb")],
        ..Default::default()
    };
    let of = |gpus: Vec<GpuSpec>| NodeSpec {
        gpus,
        ..Default::default()
    };
    let (a, b) = (gpu('a', "0000:07:00.0", 0), gpu('b', "0000:0f:00.0", 1));
    let node = up(&of(vec![a.clone(), b.clone()]));
    let known = only(&inventory(&node), |gpu, _| gpu.index == 1);
    // The first has gone, and a third has come.
    let c = gpu('c', "0000:47:00.0", 2);
    node.repartition(&of(vec![b.clone(), c])).expect("a repartition");
    let line = "GPU 1: its UUID is GPU-00000000-0000-4000-8000-00000000000c now, \
                and was GPU-00000000-0000-4000-8000-00000000000b";
    assert_eq!(differs(&node, &known), [line]);
    node.repartition(&of(vec![b.clone()])).expect("a repartition");
    assert!(
        differs(&node, &known)[0].starts_with("GPU 1: NVML: "),
        "an index that isn't there"
    );
    node.repartition(&of(vec![a.clone(), gpu('b', "0000:0f:00.0", 3)]))
        .expect("a repartition");
    assert_eq!(differs(&node, &known), ["GPU 1: its minor is 3 now, and was 1"]);
    node.repartition(&of(vec![a, gpu('b', "0000:47:00.0", 1)]))
        .expect("a repartition");
    assert_eq!(
        differs(&node, &known),
        ["GPU 1: its bus id is 0000:47:00.0 now, and was 0000:0f:00.0"]
    );
}

#[test]
fn mig_mode_off_or_on_its_way() {
    let node = up(&cut(vec![instance("1g.10gb")]));
    let known = inventory(&node);
    for (mode, sentence) in [
        (Mode::Disabled, "GPU 0: MIG mode is off now"),
        (
            Mode::Pending,
            "GPU 0: MIG mode is being switched on, pending a GPU reset ('nvidia-smi --gpu-reset' while nothing \
             uses it)",
        ),
    ] {
        let mut spec = cut(vec![]);
        spec.gpus[0].mig = Some(mode);
        node.repartition(&spec).expect("a repartition");
        assert_eq!(differs(&node, &known), [sentence]);
    }
}

#[test]
fn another_driver() {
    let node = node("hgx-h100");
    let mut known = inventory(&node);
    known.driver = "535.1".to_owned();
    let found = differs(&node, &known);
    assert_eq!(found.len(), 56);
    assert!(
        found
            .iter()
            .all(|one| one == "the driver is 550.54.15 now, and was 535.1"),
        "{found:?}"
    );
}

/// One GPU's trouble is its devices' alone, whatever call it comes up at.
#[test]
fn a_gpu_that_fails() {
    let node = node("hgx-h100");
    let known = only(&inventory(&node), |gpu, _| [2, 5].contains(&gpu.index));
    let lost = "GPU 2: it has fallen off the bus (reset the machine; 'dmesg' tells why)";
    for fault in [
        "lost=2",
        "fail=nvmlDeviceGetHandleByIndex@2:15",
        "fail=nvmlDeviceGetUUID@2:15",
        "fail=nvmlDeviceGetMinorNumber@2:15",
        "fail=nvmlDeviceGetPciInfo@2:15",
        "fail=nvmlDeviceGetMigMode@2:15",
        "fail=nvmlDeviceGetGpuInstanceById@2:15",
        "fail=nvmlGpuInstanceGetInfo@2:15",
        "fail=nvmlGpuInstanceGetComputeInstanceById@2:15",
        "fail=nvmlComputeInstanceGetInfo@2:15",
        "fail=nvmlDeviceGetAttributes@2:15",
    ] {
        node.set(&[fault]).expect("a fault");
        let checked = check(&node, &known);
        assert_eq!(
            checked[..7],
            vec![Checked::Differs(lost.to_owned()); 7],
            "{fault}"
        );
        assert_eq!(checked[7..], vec![Checked::AsKnown; 7], "{fault}");
        node.set(&["lost=", "fail="]).expect("no fault");
    }
}

/// No document promises that every driver goes on from an init that attached no GPU.
#[test]
fn a_driver_that_needs_an_init_with_all_gpus() {
    let node = node("id-maps");
    node.set(&["needs_attach=1"]).expect("a setting");
    let known = inventory(&node);
    assert_eq!(known.devices().count(), 6, "the walk");
    assert_eq!(check(&node, &known), vec![Checked::AsKnown; 6]);
}

#[test]
fn a_question_that_is_none_is_refused() {
    for words in [
        &["nvml-check", "/x", "{"][..],
        &["nvml-check", "/x"],
        &["nvml-check"],
    ] {
        for program in [PROGRAM, env!("CARGO_BIN_EXE_oci-mig-runtime")] {
            let output = Command::new(program)
                .args(words)
                .output()
                .expect("the program under test");
            assert!(!output.status.success(), "{program} {words:?}");
            assert_eq!(output.stdout, b"", "{program} {words:?}");
        }
    }
}
