//! Whole GPUs: which one a request gets, and what it is told that gets none.

use oci_mig_hook::failure::{Exit, Failure};
use oci_mig_hook::mig::Inventory;
use oci_mig_hook::policy::{Earlier, Limits, choose, keep};

use crate::node::{A100_40, H100_80, IdMap, UNSUPPORTED, bare, disabled, gpu, left_out, node};
use crate::{SEVEN, chosen, gets, held, name, request};

/// One cut into instances, two alike that are not, a smaller one, and one whose memory NVML doesn't tell.
fn mixed() -> Inventory {
    node(vec![
        gpu(&A100_40, 0, 1, IdMap::Identity, SEVEN),
        bare(H100_80.name, 1, 2, disabled(81_559)),
        bare(H100_80.name, 2, 3, disabled(81_559)),
        bare("NVIDIA A100-SXM4-40GB", 3, 4, disabled(40_960)),
        bare("NVIDIA GB10", 4, 5, UNSUPPORTED),
    ])
}

#[track_caller]
fn refusal(words: &str, node: &Inventory, names: &[&str]) -> String {
    let failure = Failure::from(chosen(words, node, names).unwrap_err());
    assert_eq!(failure.exit(), Exit::Refused);
    failure.to_string()
}

#[test]
fn the_smallest_that_suffices_goes_first_and_one_of_unknown_memory_last() {
    let node = mixed();
    let of = |words| gets(words, &node, &[]);
    assert_eq!(of("profile=gpu"), ["gpu 3"]);
    assert_eq!(of("profile=gpu memory=40GB"), ["gpu 3"]);
    assert_eq!(of("profile=gpu memory=41GiB"), ["gpu 1"]);
    assert_eq!(of("profile=gpu gpu=*H100*"), ["gpu 1"]);
    assert_eq!(of("profile=gpu count=4"), ["gpu 3", "gpu 1", "gpu 2", "gpu 4"]);
    assert_eq!(gets("profile=gpu", &node, &["gpu 3", "gpu 1"]), ["gpu 2"]);
    let by_name = "device=GPU-00000005-0000-4000-8000-000000000000";
    assert_eq!(of(by_name), ["gpu 4"]);
}

/// A part of a GPU that is cut, and a whole one, never stand for each other.
#[test]
fn who_asks_by_size_or_for_anything_gets_no_whole_gpu() {
    let node = mixed();
    assert_eq!(gets("memory=4GB", &node, &[]), ["gpu 0: 7/0 1g.5gb"]);
    assert_eq!(gets("count=1", &node, &[]), ["gpu 0: 7/0 1g.5gb"]);
    assert!(refusal("memory=30GB", &node, &[]).starts_with("no MIG device of at least 30GB: "));
}

#[test]
fn all_held_says_by_whom() {
    assert_eq!(
        refusal("profile=gpu gpu=*H100*", &mixed(), &["gpu 1", "gpu 2"]),
        "no free whole GPU that is *H100*: 2 of 2 held (gpu 1: 000000000000; gpu 2: 000000000001); \
         wait with mig.wait=30s, or see 'oci-mig-hook status'"
    );
    assert_eq!(
        refusal("profile=gpu count=4", &mixed(), &["gpu 2"]),
        "not enough free whole GPUs: 4 asked for, 3 of 4 free, 1 held (gpu 2: 000000000000); \
         wait with mig.wait=30s, or see 'oci-mig-hook status'"
    );
}

#[test]
fn too_little_memory_is_answered_with_what_just_misses() {
    assert_eq!(
        refusal("profile=gpu memory=100GB", &mixed(), &[]),
        "no whole GPU of at least 100GB: nearest is gpu 1 (NVIDIA H100 80GB HBM3, 81559 MiB), too small by 13809 MiB; \
         ask for less"
    );
    let unknown = node(vec![bare("NVIDIA GB10", 0, 1, UNSUPPORTED)]);
    assert_eq!(
        refusal("profile=gpu memory=1GB", &unknown, &[]),
        "no whole GPU of at least 1GB: NVML tells no GPU's memory; leave mig.memory out"
    );
    assert_eq!(
        refusal("profile=gpu count=2", &unknown, &[]),
        "not enough whole GPUs: 2 asked for, 1 exist; ask for at most 1"
    );
}

#[test]
fn gpus_in_mig_mode_are_named_and_so_is_one_whose_mode_is_about_to_change() {
    let mut node = node(vec![
        gpu(&A100_40, 0, 1, IdMap::Identity, SEVEN),
        gpu(&A100_40, 1, 2, IdMap::Identity, &[]),
    ]);
    assert_eq!(
        refusal("profile=gpu", &node, &[]),
        "no whole GPU: MIG mode is on on gpu 0, 1; ask for a MIG device, or turn MIG mode off with \
         'nvidia-smi -i 0 -mig 0'"
    );
    node.left_out = vec![left_out(
        "GPU 2",
        "MIG mode is being switched on, pending a GPU reset",
    )];
    assert_eq!(
        refusal("profile=gpu gpu=*A100*", &node, &[]),
        "no whole GPU that is *A100*: MIG mode is on on gpu 0, 1; left out: GPU 2 (MIG mode is being switched on, \
         pending a GPU reset); ask for a MIG device, or turn MIG mode off with 'nvidia-smi -i 0 -mig 0'"
    );
    assert_eq!(
        refusal("device=GPU-00000002-0000-4000-8000-000000000000", &node, &[]),
        "GPU-00000002-0000-4000-8000-000000000000 can't be had whole: MIG mode is on on gpu 1; ask for one of its MIG \
         devices with mig.gpu=GPU-00000002-0000-4000-8000-000000000000, or turn MIG mode off with \
         'nvidia-smi -i 1 -mig 0'"
    );
}

#[test]
fn a_gpu_that_is_not_there_is_said_so() {
    let named = "device=GPU-1a2b3c4d-0000-4000-8000-0123456789ab";
    assert_eq!(
        refusal(named, &mixed(), &[]),
        "no GPU-1a2b3c4d-0000-4000-8000-0123456789ab: this node has 4, and it is none of them; \
         see 'oci-mig-hook status'"
    );
}

/// Who waits for whole GPUs gathers them, and is in nobody's way who wants a part of another.
#[test]
fn a_waiter_keeps_whole_gpus_and_nothing_else() {
    let node = mixed();
    let earlier = [Earlier {
        request: request("profile=gpu gpu=*H100* count=2"),
        name: "first".to_owned(),
        avoids: Vec::new(),
    }];
    let kept = |words: &str, names: &[&str]| {
        let held = keep(&earlier, &node, held(&node, names), &Limits::default());
        let chosen = choose(&request(words), &node, &held, &Limits::default());
        chosen
            .map(|chosen| name(chosen[0]))
            .map_err(|refusal| Failure::from(refusal).to_string())
    };
    assert_eq!(kept("profile=gpu", &["gpu 3", "gpu 1"]).unwrap(), "gpu 4");
    let refused = kept("profile=gpu gpu=*H100*", &["gpu 1"]).unwrap_err();
    assert!(refused.contains("gpu 2: kept for first"), "{refused}");
    assert_eq!(kept("profile=1g.5gb", &["gpu 1"]).unwrap(), "gpu 0: 7/0 1g.5gb");
}

#[test]
fn limits_may_leave_whole_gpus_out_or_allow_nothing_else() {
    let node = mixed();
    let limited = |words: &str, kinds: &[&str]| {
        let limits = Limits {
            profiles: Some(kinds.iter().map(|kind| kind.parse().unwrap()).collect()),
            ..Limits::default()
        };
        let chosen = choose(&request(words), &node, &held(&node, &[]), &limits);
        chosen
            .map(|chosen| chosen.len())
            .map_err(|refusal| Failure::from(refusal).to_string())
    };
    assert_eq!(
        limited("profile=gpu", &["1g.5gb"]).unwrap_err(),
        "no whole GPU allowed here: limits.profiles allows only 1g.5gb; ask for one that is, or extend \
         limits.profiles in the configuration"
    );
    assert_eq!(limited("profile=gpu", &["1g.5gb", "gpu"]), Ok(1));
    assert!(
        limited("profile=1g.5gb", &["gpu"])
            .unwrap_err()
            .contains("allows only gpu;")
    );
}
