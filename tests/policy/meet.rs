//! What an image requires, on nodes whose GPUs differ: a GPU that doesn't meet it is passed over, and the image is refused
//! only where too few are left.

use oci_mig_hook::failure::{Exit, Failure};
use oci_mig_hook::mig::{Inventory, Version};
use oci_mig_hook::policy::{Earlier, Limits, choose, keep};
use oci_mig_hook::request::Request;
use oci_mig_hook::require::Requirements;

use crate::node::{A100_40, H100_80, IdMap, gpu, left_out, node};
use crate::{SEVEN, held, name, request};

/// An A100 with seven small devices at gpu 0, an H100 with one larger at gpu 1, and one of each brand.
fn mixed() -> Inventory {
    let mut h100 = gpu(
        &H100_80,
        1,
        2,
        IdMap::Identity,
        &[("1g.10gb", 0, &[]), ("1g.10gb", 1, &[])],
    );
    h100.arch = Some(Version::new(9, 0));
    h100.brand = Some("nvidiartx".to_owned());
    node(vec![gpu(&A100_40, 0, 1, IdMap::Identity, SEVEN), h100])
}

fn requiring(words: &str, requirement: &str) -> Request {
    let variable = format!("NVIDIA_REQUIRE_X={requirement}");
    let requirements = Requirements::of_environment([variable.as_str()].into_iter());
    request(words).requiring(requirements.unwrap())
}

fn gets(request: &Request, node: &Inventory, names: &[&str]) -> Result<Vec<String>, String> {
    let chosen = choose(request, node, &held(node, names), &Limits::default()).map_err(|refusal| {
        let failure = Failure::from(refusal);
        assert_eq!(failure.exit(), Exit::Refused);
        failure.to_string()
    })?;
    let chosen = chosen.into_iter().map(name);
    Ok(chosen.collect())
}

#[test]
fn only_gpus_that_meet_it_are_chosen_from() {
    let node = mixed();
    // By size alone the smaller devices of the A100 come first.
    assert_eq!(
        gets(&request("memory=1GB"), &node, &[]).unwrap(),
        ["gpu 0: 7/0 1g.5gb"]
    );
    for requirement in [
        "arch>=9.0",
        "brand=NvidiaRTX",
        "cuda>=13 arch>8.9,driver>=550",
        "arch=9 arch=10",
    ] {
        let request = requiring("memory=1GB", requirement);
        assert_eq!(
            gets(&request, &node, &[]).unwrap(),
            ["gpu 1: 7/0 1g.10gb"],
            "{requirement}"
        );
    }
    let request = requiring("memory=1GB", "arch>=8.0,cuda>=12.4,driver>=550.54.15");
    assert_eq!(gets(&request, &node, &[]).unwrap(), ["gpu 0: 7/0 1g.5gb"]);
}

#[test]
fn what_is_not_met_is_named_with_what_is_there() {
    let node = mixed();
    let remedy =
        "use an image for this machine, or set NVIDIA_DISABLE_REQUIRE=1 in the container's environment";
    for (words, requirement, line) in [
        (
            "profile=1g.5gb",
            "arch>=9.0",
            "no 1g.5gb for this image: NVIDIA_REQUIRE_X requires arch>=9.0, and gpu 0's arch is 8.0",
        ),
        (
            "profile=1g.10gb",
            "brand=tesla",
            "no 1g.10gb for this image: NVIDIA_REQUIRE_X requires brand=tesla, and gpu 1's brand is nvidiartx",
        ),
        (
            "memory=1GB",
            "cuda>=13.0 brand=tesla,driver>=535 arch>=10",
            "no MIG device of at least 1GB for this image: NVIDIA_REQUIRE_X requires cuda>=13.0, and this machine's cuda is \
             12.4; none of its 3 alternatives holds",
        ),
        (
            "memory=1GB",
            "driver<550",
            "no MIG device of at least 1GB for this image: NVIDIA_REQUIRE_X requires driver<550, and this machine's driver is \
             550.54.15",
        ),
        (
            "memory=1GB count=3",
            "arch>=9.0",
            "no MIG devices of at least 1GB for this image: NVIDIA_REQUIRE_X requires arch>=9.0, and gpu 0's arch is 8.0; 3 \
             asked for, 2 on GPUs that meet it",
        ),
    ] {
        let refusal = gets(&requiring(words, requirement), &node, &[]).unwrap_err();
        assert_eq!(refusal, format!("{line}; {remedy}"));
    }
}

#[test]
fn what_is_left_out_may_meet_it_and_is_named() {
    let mut node = mixed();
    node.left_out.push(left_out("GPU 2", "it fell off the bus"));
    let refusal = gets(&requiring("profile=1g.5gb", "arch>=9.0"), &node, &[]).unwrap_err();
    assert!(
        refusal.contains("left out: GPU 2 (it fell off the bus)"),
        "{refusal}"
    );
}

/// What is held elsewhere says nothing of why it waits.
#[test]
fn only_holders_of_what_meets_it_are_named() {
    let node = mixed();
    let names = ["gpu 1: 7/0 1g.10gb", "gpu 1: 8/0 1g.10gb"];
    let refusal = gets(&requiring("memory=1GB", "arch>=9.0"), &node, &names).unwrap_err();
    assert!(
        refusal.starts_with("no free MIG device of at least 1GB: 2 of 2 held (gpu 1: "),
        "{refusal}"
    );
}

/// One who waits for the H100 is in nobody's way on the A100.
#[test]
fn nothing_that_it_can_not_use_is_kept_for_a_waiter() {
    let node = mixed();
    let names = ["gpu 1: 7/0 1g.10gb", "gpu 1: 8/0 1g.10gb"];
    let kept = |waiter: Request| {
        let earlier = [Earlier {
            request: waiter,
            name: "first".to_owned(),
            avoids: Vec::new(),
        }];
        let held = keep(&earlier, &node, held(&node, &names), &Limits::default());
        let free = node.devices().filter(|device| held.by(*device).is_none());
        free.count()
    };
    assert_eq!(kept(requiring("memory=1GB", "arch>=9.0")), 7);
    assert_eq!(kept(request("memory=1GB")), 6, "without it one is kept");
}

#[test]
fn where_the_driver_tells_nothing_nothing_is_held_against_it() {
    let mut node = mixed();
    node.cuda = None;
    for gpu in &mut node.gpus {
        (gpu.arch, gpu.brand) = (None, None);
    }
    let request = requiring("profile=1g.5gb", "cuda>=99,arch>=99,brand=titan");
    assert_eq!(gets(&request, &node, &[]).unwrap(), ["gpu 0: 7/0 1g.5gb"]);
}
