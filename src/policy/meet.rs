//! Which devices meet what a container's image requires of the machine and the GPU.
//!
//! The GPUs of one node may differ in what they are, so this is part of the choice: a GPU that doesn't meet it is passed over
//! like one that has no such device, and the image is refused only where too few are left.

use super::refusal::{self, Refusal};
use crate::mig::{Device, Gpu, Inventory, Version};
use crate::request::Request;
use crate::require::{Facts, Unmet};

/// Those of `allowed` that are on a GPU, and a machine, that meet what the image requires. Where too few do, and enough
/// would serve otherwise, that is the reason.
pub(super) fn meeting<'a>(
    request: &Request,
    node: &'a Inventory,
    allowed: Vec<Device<'a>>,
) -> Result<Vec<Device<'a>>, Refusal> {
    let driver = node.driver.parse::<Version>().ok();
    let facts = |gpu: &'a Gpu| Facts {
        cuda: node.cuda.as_ref(),
        driver: driver.as_ref(),
        arch: gpu.arch.as_ref(),
        brand: gpu.brand.as_deref(),
    };
    // A node has dozens of devices on GPUs of one or two kinds.
    let mut judged: Vec<(Facts<'_>, Result<(), Unmet>)> = Vec::new();
    let mut judge = |gpu: &'a Gpu| {
        let facts = facts(gpu);
        if let Some((_, known)) = judged.iter().find(|(known, _)| *known == facts) {
            return known.clone();
        }
        let judgement = request.requirements().judge(&facts);
        judged.push((facts, judgement.clone()));
        judgement
    };
    let asked = usize::from(request.count().get());
    let enough = allowed.len() >= asked;
    let (mut meeting, mut first) = (Vec::new(), None);
    for candidate in allowed {
        match judge(candidate.gpu()) {
            Ok(()) => meeting.push(candidate),
            Err(unmet) => drop(first.get_or_insert((candidate.gpu().index, unmet))),
        }
    }
    match first {
        Some((gpu, unmet)) if enough && meeting.len() < asked => Err(Refusal::Unmet {
            request: Box::new(request.clone()),
            gpu,
            unmet: Box::new(unmet),
            meet: meeting.len(),
            left_out: refusal::left_out(node),
        }),
        _ => Ok(meeting),
    }
}
