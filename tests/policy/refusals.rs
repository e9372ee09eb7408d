//! What a refusal says, line by line.

use oci_mig_hook::failure::{Exit, Failure};
use oci_mig_hook::mig::{Inventory, MigMode};
use oci_mig_hook::policy::{Held, Limits, Refusal, choose};

use crate::node::{
    A100_40, A100_80_39, H100_80, IdMap, Instance, UNSUPPORTED, bare, disabled, gpu, left_out, node,
};
use crate::{SEVEN, chosen, held, name, request};

fn line(refusal: Refusal) -> String {
    let failure = Failure::from(refusal);
    assert_eq!(failure.exit(), Exit::Refused);
    failure.to_string()
}

/// The line of a request that no wait would help.
fn never(words: &str, node: &Inventory) -> String {
    let refusal = chosen(words, node, &[]).unwrap_err();
    assert!(!matches!(refusal, Refusal::Held { .. }), "{refusal:?}");
    line(refusal)
}

/// The line of a request that could be met once someone gives something back.
fn not_now(words: &str, node: &Inventory, names: &[&str]) -> String {
    let refusal = chosen(words, node, names).unwrap_err();
    assert!(matches!(refusal, Refusal::Held { .. }), "{refusal:?}");
    line(refusal)
}

fn two_a100() -> Inventory {
    let layout: &[Instance] = &[("3g.20gb", 4, &[]), ("2g.10gb", 0, &[]), ("2g.10gb", 2, &[])];
    node(vec![
        gpu(&A100_40, 0, 1, IdMap::Identity, layout),
        gpu(&A100_40, 1, 2, IdMap::Identity, layout),
    ])
}

#[test]
fn all_held_says_by_whom() {
    let held = [
        "gpu 0: 3/0 2g.10gb",
        "gpu 0: 4/0 2g.10gb",
        "gpu 1: 3/0 2g.10gb",
        "gpu 1: 4/0 2g.10gb",
    ];
    assert_eq!(
        not_now("profile=2g.10gb", &two_a100(), &held),
        "no free 2g.10gb: 4 of 4 held (gpu 0: 000000000000, 000000000001; gpu 1: 000000000002, 000000000003); \
         wait with mig.wait=30s, or see 'oci-mig-hook status'"
    );
    assert_eq!(
        not_now("profile=2g.10gb gpu=0000:02:00.0", &two_a100(), &held),
        "no free 2g.10gb on 0000:02:00.0: 2 of 2 held (gpu 1: 000000000002, 000000000003); wait with mig.wait=30s, or see 'oci-mig-hook status'"
    );
}

#[test]
fn some_held_says_how_many_are_free() {
    assert_eq!(
        not_now("memory=15GB count=2", &two_a100(), &["gpu 1: 2/0 3g.20gb"]),
        "not enough free MIG devices of at least 15GB: 2 asked for, 1 of 2 free, 1 held (gpu 1: 000000000000); \
         wait with mig.wait=30s, or see 'oci-mig-hook status'"
    );
}

#[test]
fn a_named_device_that_is_held_says_by_whom() {
    let node = two_a100();
    let mut devices = node.devices();
    let device = devices.find(|found| name(*found) == "gpu 1: 2/0 3g.20gb");
    let device = device.unwrap().name();
    assert_eq!(
        not_now(&format!("device={device}"), &node, &["gpu 1: 2/0 3g.20gb"]),
        format!(
            "no free {device}: 1 of 1 held (gpu 1: 000000000000); wait with mig.wait=30s, or see 'oci-mig-hook status'"
        )
    );
}

#[test]
fn a_named_device_that_is_not_there_is_said_so() {
    assert_eq!(
        never("device=MIG-1a2b3c4d-0000-5000-8000-0123456789ab", &two_a100()),
        "no MIG-1a2b3c4d-0000-5000-8000-0123456789ab: this node has 6, and it is none of them; \
         see 'oci-mig-hook status'"
    );
}

#[test]
fn a_profile_that_is_not_there_is_answered_with_those_that_are() {
    assert_eq!(
        never("profile=3g.40gb", &two_a100()),
        "no 3g.40gb on this node: there are 4 x 2g.10gb, 2 x 3g.20gb; not created are 1g.5gb, 1g.5gb+me, 1g.10gb, \
         4g.20gb, 7g.40gb; nearest is 3g.20gb (-20 gb); ask for one of those that there are"
    );
    assert_eq!(
        never("profile=1c.2g.10gb+me", &two_a100()),
        "no 1c.2g.10gb+me on this node: there are 4 x 2g.10gb, 2 x 3g.20gb; not created are 1g.5gb, 1g.5gb+me, \
         1g.10gb, 4g.20gb, 7g.40gb; nearest is 2g.10gb (+1 compute slice, without +me); ask for one of those that \
         there are"
    );
}

#[test]
fn a_profile_that_could_be_created_is_said_so() {
    assert_eq!(
        never(
            "profile=4g.20gb gpu=GPU-00000001-0000-4000-8000-000000000000",
            &two_a100()
        ),
        "no 4g.20gb on GPU-00000001-0000-4000-8000-000000000000: there are 2 x 2g.10gb, 1 x 3g.20gb; \
         not created are 1g.5gb, 1g.5gb+me, 1g.10gb, 4g.20gb, 7g.40gb; create one with \
         'nvidia-smi mig -cgi 4g.20gb -C', or ask for another"
    );
    let empty = node(vec![gpu(&A100_80_39, 0, 1, IdMap::Identity, &[])]);
    assert_eq!(
        never("profile=3g.40gb", &empty),
        "no 3g.40gb on this node: no MIG device exists; not created are 1g.10gb, 1g.10gb+me, 1g.20gb, 2g.20gb, \
         3g.39gb, 4g.39gb, 7g.79gb; create one with 'nvidia-smi mig -cgi 3g.39gb -C', or ask for another"
    );
    assert_eq!(
        never("profile=9g.90gb", &empty),
        "no 9g.90gb on this node: no MIG device exists; not created are 1g.10gb, 1g.10gb+me, 1g.20gb, 2g.20gb, \
         3g.39gb, 4g.39gb, 7g.79gb; nearest is 7g.79gb (-2 slices, -11 gb); ask for a profile that is offered, and \
         create one with 'nvidia-smi mig -cgi 7g.79gb -C'"
    );
}

#[test]
fn a_size_that_nothing_has_is_answered_with_what_just_misses() {
    let node = node(vec![gpu(
        &H100_80,
        0,
        1,
        IdMap::Identity,
        &[("1g.20gb", 0, &[]), ("1g.10gb", 2, &[])],
    )]);
    for (words, asked, misses) in [
        (
            "memory=20GiB",
            "20GiB",
            "1g.20gb (20096 MiB), too small by 384 MiB; 3g.40gb, 4g.40gb, 7g.80gb would do and are not created; ask for \
             less, or create one with 'nvidia-smi mig -cgi 3g.40gb -C'",
        ),
        (
            "memory=20GB compute=2",
            "20GB and 2 compute slices",
            "1g.20gb (20096 MiB), too small by 1 compute slice; 2g.20gb, 3g.40gb, 4g.40gb, 7g.80gb would do and are not \
             created; ask for less, or create one with 'nvidia-smi mig -cgi 2g.20gb -C'",
        ),
        (
            "memory=90GB compute=3",
            "90GB and 3 compute slices",
            "1g.20gb (20096 MiB), too small by 65735 MiB and 2 compute slices; ask for less",
        ),
    ] {
        assert_eq!(
            never(words, &node),
            format!("no MIG device of at least {asked}: nearest is {misses}")
        );
    }
    let empty = crate::node::node(vec![gpu(&H100_80, 0, 1, IdMap::Identity, &[])]);
    assert_eq!(
        never("compute=4 count=2", &empty),
        "no MIG devices of at least 4 compute slices: no MIG device exists; 4g.40gb, 7g.80gb would do and are not \
         created; ask for less, or create one with 'nvidia-smi mig -cgi 4g.40gb -C'"
    );
}

#[test]
fn more_than_there_are_would_never_be_free() {
    assert_eq!(
        never("profile=3g.20gb count=3", &two_a100()),
        "not enough 3g.20gb: 3 asked for, 2 exist; ask for at most 2"
    );
}

/// The only GPU that had it fell off the bus: nobody is told to create another without hearing of that.
#[test]
fn what_is_left_out_is_said_whatever_is_missing() {
    let mut node = two_a100();
    node.left_out = vec![left_out("0000:03:00.0", "fell off the bus")];
    let lost = "left out: 0000:03:00.0 (fell off the bus)";
    assert_eq!(
        never("profile=7g.40gb", &node),
        format!(
            "no 7g.40gb on this node: there are 4 x 2g.10gb, 2 x 3g.20gb; not created are 1g.5gb, 1g.5gb+me, 1g.10gb, \
             4g.20gb, 7g.40gb; {lost}; create one with 'nvidia-smi mig -cgi 7g.40gb -C', or ask for another"
        )
    );
    assert_eq!(
        never("memory=100GB", &node),
        format!(
            "no MIG device of at least 100GB: nearest is 3g.20gb (20096 MiB), too small by 75272 MiB; {lost}; ask for \
             less"
        )
    );
    assert_eq!(
        never("profile=3g.20gb count=3", &node),
        format!("not enough 3g.20gb: 3 asked for, 2 exist; {lost}; ask for at most 2")
    );
    assert_eq!(
        not_now("profile=3g.20gb count=2", &node, &["gpu 1: 2/0 3g.20gb"]),
        format!(
            "not enough free 3g.20gb: 2 asked for, 1 of 2 free, 1 held (gpu 1: 000000000000); {lost}; \
             wait with mig.wait=30s, or see 'oci-mig-hook status'"
        )
    );
    node.left_out = (0..50)
        .map(|n| left_out(&format!("0000:{n:02x}:00.0"), "fell off the bus"))
        .collect();
    let line = never("profile=3g.20gb count=3", &node);
    assert!(
        line.contains("0000:03:00.0 (fell off the bus) and 46 more; "),
        "{line}"
    );
}

#[test]
fn a_constraint_that_accepts_no_gpu_is_answered_with_those_there_are() {
    let mut node = two_a100();
    node.left_out = vec![left_out("0000:03:00.0", "fell off the bus")];
    assert_eq!(
        never("profile=2g.10gb gpu=*H100*", &node),
        "no GPU is *H100*: there are gpu 0: NVIDIA A100-SXM4-40GB at 0000:01:00.0; gpu 1: NVIDIA A100-SXM4-40GB at \
         0000:02:00.0; left out: 0000:03:00.0 (fell off the bus); change or remove mig.gpu"
    );
}

#[test]
fn mig_off_says_where() {
    let mut node = node(vec![
        bare("NVIDIA A100-SXM4-40GB", 1, 2, disabled(40_960)),
        bare("NVIDIA A100-SXM4-40GB", 0, 1, disabled(40_960)),
        bare("Tesla T4", 2, 3, UNSUPPORTED),
    ]);
    assert_eq!(
        never("profile=1g.5gb", &node),
        "no GPU is in MIG mode: off on gpu 0, 1; not supported by gpu 2; turn it on with 'nvidia-smi -i 0 -mig 1' \
         and create instances"
    );
    node.gpus.retain(|gpu| gpu.mig == UNSUPPORTED);
    node.left_out = vec![left_out(
        "0000:01:00.0",
        "MIG is to be enabled by the next GPU reset",
    )];
    assert_eq!(
        never("profile=1g.5gb", &node),
        "no GPU is in MIG mode: not supported by gpu 2; left out: 0000:01:00.0 (MIG is to be enabled by the next GPU \
         reset); see to what was left out"
    );
    node.left_out.clear();
    assert_eq!(
        never("profile=1g.5gb", &node),
        "no GPU is in MIG mode: not supported by gpu 2; run this container on a node with a MIG-capable GPU"
    );
}

#[test]
fn a_node_without_a_gpu_that_answers_says_what_there_is() {
    let mut node = node(Vec::new());
    node.left_out = vec![left_out("0000:01:00.0", "excluded by the driver's configuration")];
    assert_eq!(
        never("profile=1g.5gb", &node),
        "no usable GPU: left out: 0000:01:00.0 (excluded by the driver's configuration); see to what was left out"
    );
    node.left_out.clear();
    assert_eq!(
        never("profile=1g.5gb", &node),
        "no usable GPU: the driver knows none; 'nvidia-smi -L' must list one first"
    );
}

/// It may be just what was asked for, so the line doesn't say that there is none and leave it at that.
#[test]
fn what_was_left_out_is_said_wherever_it_might_have_served() {
    let mut node = two_a100();
    node.left_out = vec![left_out("GPU 2", "it has fallen off the bus")];
    assert_eq!(
        never("profile=9g.90gb", &node),
        "no 9g.90gb on this node: there are 4 x 2g.10gb, 2 x 3g.20gb; not created are 1g.5gb, 1g.5gb+me, 1g.10gb, \
         4g.20gb, 7g.40gb; nearest is 3g.20gb (-6 slices, -70 gb); left out: GPU 2 (it has fallen off the bus); \
         ask for one of those that there are"
    );
    assert_eq!(
        never("memory=90GB", &node),
        "no MIG device of at least 90GB: nearest is 3g.20gb (20096 MiB), too small by 65735 MiB; \
         left out: GPU 2 (it has fallen off the bus); ask for less"
    );
    assert_eq!(
        never("profile=3g.20gb count=3", &node),
        "not enough 3g.20gb: 3 asked for, 2 exist; left out: GPU 2 (it has fallen off the bus); ask for at most 2"
    );
    for gpu in &mut node.gpus {
        if let MigMode::Enabled { devices, .. } = &mut gpu.mig {
            devices.clear();
        }
    }
    assert_eq!(
        never("memory=90GB", &node),
        "no MIG device of at least 90GB: no MIG device can be used; left out: GPU 2 (it has fallen off the bus); \
         see to what was left out"
    );
}

#[test]
fn over_the_limits_names_the_key() {
    let node = two_a100();
    let limited = |words: &str, limits: &Limits| {
        let refusal = choose(&request(words), &node, &Held::default(), limits).unwrap_err();
        assert!(matches!(refusal, Refusal::OverLimit(_)), "{refusal:?}");
        line(refusal)
    };
    assert_eq!(
        limited("profile=2g.10gb count=9", &Limits::default()),
        "mig.count=9: one container may have 8 here (limits.devices); ask for at most 8, or raise limits.devices in \
         the configuration"
    );
    let small = Limits {
        profiles: Some(vec!["2g.10gb".parse().unwrap()]),
        ..Limits::default()
    };
    assert_eq!(
        limited("profile=3g.20gb", &small),
        "no 3g.20gb allowed here: limits.profiles allows only 2g.10gb; ask for one that is, or extend \
         limits.profiles in the configuration"
    );
    assert_eq!(
        limited("memory=15GB", &small),
        "no MIG device of at least 15GB allowed here: limits.profiles allows only 2g.10gb; ask for one that is, or \
         extend limits.profiles in the configuration"
    );
}

/// A full DGX: 56 devices, 56 holders, and a line that can still be read.
#[test]
fn a_full_node_names_some_and_counts_the_rest() {
    let gpus = (0..8)
        .map(|n| gpu(&A100_40, n, n as u8 + 1, IdMap::Identity, SEVEN))
        .collect();
    let node = node(gpus);
    let all: Vec<String> = node.devices().map(name).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let held = held(&node, &all);
    let line = line(choose(&request("profile=1g.5gb"), &node, &held, &Limits::default()).unwrap_err());
    assert!(
        line.starts_with("no free 1g.5gb: 56 of 56 held (gpu 0: 000000000000, 000000000001, "),
        "{line}"
    );
    assert!(
        line.ends_with("00000000000b; and 44 more); wait with mig.wait=30s, or see 'oci-mig-hook status'"),
        "{line}"
    );
    assert!(line.len() < 300, "{} bytes", line.len());
}
