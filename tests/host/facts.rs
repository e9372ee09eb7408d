//! What images may require of the machine and its GPUs: read with all the rest, and remembered.

use fake_node::Scratch;
use oci_mig_hook::mig::{Inventory, Version};

use crate::{node, ok, program, remembered};

type OfGpu = (Option<String>, Option<String>);

/// CUDA's version, and each GPU's compute capability and brand.
fn facts(inventory: &Inventory) -> (Option<String>, Vec<OfGpu>) {
    let text = |version: &Option<Version>| version.as_ref().map(Version::to_string);
    let gpus = inventory.gpus.iter();
    let gpus = gpus.map(|gpu| (text(&gpu.arch), gpu.brand.clone()));
    (text(&inventory.cuda), gpus.collect())
}

/// What is remembered after a full look.
fn read(node: &Scratch) -> Inventory {
    ok(&mut program(node, &["refresh"]));
    remembered(node).expect("what is remembered")
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn they_are_remembered() {
    let node = node("mixed");
    let found = facts(&read(&node));
    let (a100, h100) = ((some("8.0"), some("nvidia")), (some("9.0"), some("nvidia")));
    let t4 = (some("7.5"), some("nvidia"));
    assert_eq!(found.0, some("12.8"));
    // The one whose MIG mode is about to change is left out.
    assert_eq!(
        found.1,
        [&a100, &a100, &a100, &a100, &h100, &t4, &h100].map(Clone::clone)
    );
}

/// A driver that doesn't tell costs nobody a device.
#[test]
fn what_is_not_told_is_left_open() {
    let node = node("one-gpu");
    for function in [
        "nvmlSystemGetCudaDriverVersion",
        "nvmlDeviceGetCudaComputeCapability",
        "nvmlDeviceGetBrand",
    ] {
        node.set(&[&format!("fail={function}:999")]).expect("a setting");
    }
    let read = read(&node);
    assert_eq!(facts(&read), (None, vec![(None, None)]));
    assert_eq!((read.devices().count(), read.left_out.len()), (3, 0));
}
