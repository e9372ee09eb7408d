//! GPUs that are not in MIG mode: what the inventory says of them, and each difference that the check must see.

use fake_node::{GpuSpec, MigMode as Mode, NodeSpec, Scratch};
use oci_mig_hook::mig::{Checked, Inventory, MigMode, User, WholeGpu};

use crate::check::{check_users, inventory, used};
use crate::{instance, node, up};

/// Two A100 40GB in those modes.
fn two(first: Mode, second: Mode) -> NodeSpec {
    let gpu = |digit: char, mig| GpuSpec {
        uuid: Some("GPU-00000000-0000-4000-8000-000000000000".replace('0', &digit.to_string())),
        model: Some("a100-40gb".to_owned()),
        mig: Some(mig),
        ..Default::default()
    };
    NodeSpec {
        gpus: vec![gpu('2', first), gpu('3', second)],
        ..Default::default()
    }
}

/// `known` with its second GPU alone.
fn second(mut known: Inventory) -> Inventory {
    known.gpus.retain(|gpu| gpu.index == 1);
    known
}

#[track_caller]
fn says(node: &Scratch, known: &Inventory, users: bool) -> Checked {
    let answers = check_users(node, known, users);
    let [answer] = answers.as_slice() else {
        panic!("one device was asked about: {answers:?}");
    };
    answer.clone()
}

#[test]
fn each_is_there_with_its_memory_and_one_whose_mode_is_about_to_change_is_not() {
    let node = node("mixed");
    let known = inventory(&node);
    let whole: Vec<_> = known
        .gpus
        .iter()
        .filter_map(|gpu| Some((gpu.index, gpu.whole()?.memory_mib)))
        .collect();
    assert_eq!(whole, [(5, Some(81_559)), (6, Some(15_360))]);
    assert!(matches!(known.gpus[5].mig, MigMode::Unsupported(_)), "the T4");
    let expected = "MIG mode is being switched on, pending a GPU reset";
    assert!(
        known.left_out[0].reason.starts_with(expected),
        "{:?}",
        known.left_out
    );
    assert_eq!(known.left_out[0].what, "GPU 4");
}

#[test]
fn memory_that_nvml_does_not_tell_is_unknown() {
    let spec = NodeSpec {
        gpus: vec![GpuSpec {
            name: Some("NVIDIA GB10".to_owned()),
            mig: Some(Mode::Unsupported),
            ..Default::default()
        }],
        ..Default::default()
    };
    let node = up(&spec);
    let known = inventory(&node);
    assert_eq!(
        known.gpus[0].mig,
        MigMode::Unsupported(WholeGpu { memory_mib: None })
    );
    assert_eq!(says(&node, &known, true), Checked::AsKnown);
}

/// And no other GPU is touched.
#[test]
fn what_is_as_it_was_is_as_known() {
    let node = up(&two(Mode::Disabled, Mode::Disabled));
    let known = second(inventory(&node));
    node.start_trace().expect("a trace");
    assert_eq!(says(&node, &known, true), Checked::AsKnown);
    let trace = node.trace().expect("a trace");
    assert!(
        trace.iter().all(|line| line.gpu.is_none_or(|gpu| gpu == 1)),
        "{trace:?}"
    );
    let calls: Vec<&str> = trace.iter().map(|line| line.function.as_str()).collect();
    assert!(
        calls.contains(&"nvmlDeviceGetMemoryInfo") && calls.len() < 15,
        "{calls:?}"
    );
}

#[test]
fn each_difference_is_seen() {
    let before = || {
        let node = up(&two(Mode::Disabled, Mode::Disabled));
        let known = second(inventory(&node));
        (node, known)
    };
    let with = |change: fn(&mut GpuSpec)| {
        let mut spec = two(Mode::Disabled, Mode::Disabled);
        change(&mut spec.gpus[1]);
        spec
    };
    for (after, expected) in [
        (
            with(|gpu| {
                gpu.mig = Some(Mode::Enabled);
                gpu.instances = vec![instance("1g.5gb")];
            }),
            "GPU 1: MIG mode is on now",
        ),
        (
            with(|gpu| gpu.mig = Some(Mode::Pending)),
            "GPU 1: MIG mode is being switched on, pending a GPU reset ('nvidia-smi --gpu-reset' while nothing uses it)",
        ),
        (
            with(|gpu| gpu.memory_mib = Some(40_536)),
            "GPU 1: its memory is not what it was",
        ),
        (
            with(|gpu| gpu.uuid = Some("GPU-11111111-1111-4111-8111-111111111111".to_owned())),
            "GPU 1: its UUID is GPU-11111111-1111-4111-8111-111111111111 now, and was ",
        ),
        (
            with(|gpu| gpu.minor = Some(9)),
            "GPU 1: its minor is 9 now, and was 1",
        ),
        (
            with(|gpu| gpu.lost = true),
            "GPU 1: it has fallen off the bus (reset the machine; 'dmesg' tells why)",
        ),
    ] {
        let (node, known) = before();
        node.repartition(&after).expect("another node");
        if after.gpus[1].lost {
            node.set(&["lost=1"]).expect("a fault");
        }
        match says(&node, &known, false) {
            Checked::Differs(said) => assert!(said.starts_with(expected), "{said}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

/// A device of a GPU whose MIG mode was switched off is none any more, though the GPU is there.
#[test]
fn a_mig_device_of_a_gpu_that_is_whole_by_now_differs() {
    let mut cut = two(Mode::Disabled, Mode::Enabled);
    cut.gpus[1].instances = vec![instance("1g.5gb")];
    let node = up(&cut);
    let known = second(inventory(&node));
    node.repartition(&two(Mode::Disabled, Mode::Disabled))
        .expect("MIG off");
    let expected = Checked::Differs("GPU 1: MIG mode is off now".to_owned());
    assert_eq!(says(&node, &known, false), expected);
}

/// Whoever computes or draws on a whole GPU uses it; on another, not.
#[test]
fn its_users_are_told() {
    let node = up(&two(Mode::Disabled, Mode::Disabled));
    let known = inventory(&node);
    let uuids: Vec<String> = known.gpus.iter().map(|gpu| gpu.uuid.to_string()).collect();
    let pid = std::process::id();
    for key in ["process", "graphics", "mps"] {
        node.set(&["process=", &format!("{key}={}:{pid}", uuids[1])])
            .expect("a process");
        let answers = check_users(&node, &known, true);
        assert_eq!(answers[0], Checked::AsKnown, "{key}");
        match &answers[1] {
            Checked::InUse(users) => assert!(matches!(&users[..], [User { pid: it, .. }] if *it == pid)),
            other => panic!("{key}: {other:?}"),
        }
        assert_eq!(check_users(&node, &known, false)[1], Checked::AsKnown, "{key}");
        assert_eq!(used(&node), [uuids[1].parse().expect("a UUID")], "{key}");
    }
}
