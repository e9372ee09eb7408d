//! The parts of which a refusal's line is made. Every list is bounded: the line must stay readable on a node with
//! 8 GPUs and 56 devices.

use std::fmt::Display;

use super::fit::Shortfall;
use super::refusal::{GpuName, HeldBy};
use crate::mig::{LeftOut, Profile, Suffix};
use crate::request::{GpuConstraint, Request, Want};

/// Most things that one list names; the rest are counted.
const LISTED: usize = 12;

/// What was asked for, as the noun of a sentence.
pub(super) fn noun(request: &Request) -> String {
    let thing = thing(request);
    match (request.gpu(), request.want()) {
        (Some(constraint), Want::Gpu { .. }) => format!("{thing} that is {constraint}"),
        (Some(constraint), _) => format!("{thing} on {constraint}"),
        (None, _) => thing,
    }
}

fn thing(request: &Request) -> String {
    let (memory, compute) = match request.want() {
        Want::Profile(profile) => return profile.to_string(),
        Want::Device(device) => return device.to_string(),
        Want::Gpu { memory } => (memory, &None),
        Want::AtLeast { memory, compute } => (memory, compute),
    };
    let memory = memory.map(|memory| memory.to_string());
    let slices = compute.map(|slices| plural(slices.get().into(), "compute slice"));
    let sizes: Vec<String> = memory.into_iter().chain(slices).collect();
    let devices = match (request.want(), request.count().get()) {
        (Want::Gpu { .. }, 1) => "whole GPU",
        (Want::Gpu { .. }, _) => "whole GPUs",
        (_, 1) => "MIG device",
        _ => "MIG devices",
    };
    match sizes.is_empty() {
        true => devices.to_owned(),
        false => format!("{devices} of at least {}", sizes.join(" and ")),
    }
}

/// Where it was looked for.
pub(super) fn place(gpu: Option<&GpuConstraint>) -> String {
    gpu.map_or("on this node".to_owned(), |constraint| format!("on {constraint}"))
}

/// `gpu 0: 3f2a90c1d7e4, 91bc03a4f5d6; gpu 1: 0c7d5e2b8a11; and 3 more`. The holders come by GPU.
pub(super) fn by_gpu(holders: &[HeldBy]) -> String {
    let mut text = String::new();
    let mut last = None;
    for holder in holders.iter().take(LISTED) {
        if last != Some(holder.gpu) {
            let separator = if last.is_some() { "; " } else { "" };
            text += &format!("{separator}gpu {}: {}", holder.gpu, holder.name);
        } else {
            text += &format!(", {}", holder.name);
        }
        last = Some(holder.gpu);
    }
    if holders.len() > LISTED {
        text += &format!("; and {} more", holders.len() - LISTED);
    }
    text
}

/// How `other` differs from `wanted`: `+1 slice, +20 gb, with +me`.
pub(super) fn difference(wanted: Profile, other: Profile) -> String {
    let by = |wanted: u8, other: u8, what: &str| {
        let apart = i16::from(other) - i16::from(wanted);
        (apart != 0).then(|| format!("{apart:+} {what}{}", if apart.abs() == 1 { "" } else { "s" }))
    };
    let is_whole = |profile: Profile| profile.ci_slices == profile.gi_slices;
    let slices = match is_whole(wanted) && is_whole(other) {
        true => [by(wanted.gi_slices, other.gi_slices, "slice"), None],
        false => [
            by(wanted.gi_slices, other.gi_slices, "GPU slice"),
            by(wanted.ci_slices, other.ci_slices, "compute slice"),
        ],
    };
    let gb = i32::from(other.memory_gb) - i32::from(wanted.memory_gb);
    let memory = (gb != 0).then(|| format!("{gb:+} gb"));
    let suffix = match (wanted.suffix, other.suffix) {
        (one, same) if one == same => None,
        (lost, Suffix::Plain) => Some(format!("without {lost}")),
        (_, has) => Some(format!("with {has}")),
    };
    slices
        .into_iter()
        .flatten()
        .chain(memory)
        .chain(suffix)
        .collect::<Vec<_>>()
        .join(", ")
}

/// `384 MiB and 1 compute slice`.
pub(super) fn lack(it: Shortfall) -> String {
    let memory = (it.lacks_mib > 0).then(|| format!("{} MiB", it.lacks_mib));
    let slices = (it.lacks_slices > 0).then(|| plural(it.lacks_slices.into(), "compute slice"));
    memory.into_iter().chain(slices).collect::<Vec<_>>().join(" and ")
}

/// `gpu 0: NVIDIA A30 at 0000:01:00.0; gpu 1: ...`
pub(super) fn names(gpus: &[GpuName]) -> String {
    let name = |gpu: &GpuName| format!("gpu {}: {} at {}", gpu.index, gpu.model, gpu.bus);
    let names: Vec<String> = gpus.iter().map(name).collect();
    list_of(&names, "; ", LISTED / 2)
}

/// The reasons, then what was left out and why.
pub(super) fn reasons(reasons: impl IntoIterator<Item = String>, left_out: &[LeftOut]) -> String {
    let mut all: Vec<String> = reasons.into_iter().collect();
    let left_out: Vec<String> = left_out
        .iter()
        .map(|one| format!("{} ({})", one.what, one.reason))
        .collect();
    if !left_out.is_empty() {
        all.push(format!("left out: {}", list_of(&left_out, "; ", LISTED / 3)));
    }
    all.join("; ")
}

/// `1g.5gb, 2g.10gb and 3 more`.
pub(super) fn list<T: Display>(things: &[T]) -> String {
    list_of(things, ", ", LISTED)
}

fn list_of<T: Display>(things: &[T], separator: &str, most: usize) -> String {
    let named: Vec<String> = things.iter().take(most).map(T::to_string).collect();
    match things.len().saturating_sub(most) {
        0 => named.join(separator),
        more => format!("{} and {more} more", named.join(separator)),
    }
}

fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
