//! What a refusal says: what, why and the remedy, on one line that stays readable on a node with 8 GPUs and 56
//! devices.

use std::fmt::Display;

use super::fit::{self, Shortfall};
use super::refusal::{GpuName, Holder, Limit, Refusal};
use crate::failure::Failure;
use crate::mig::{LeftOut, Profile, Suffix};
use crate::request::{Request, Want, keys};

/// Most things that one list names; the rest are counted.
const LISTED: usize = 12;

const STATUS: &str = "see 'oci-mig-hook status'";

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::OverLimit(limit) => over(&limit),
            Refusal::NoGpu { left_out } => {
                Failure::refused("no usable GPU", reasons(["none answers".to_owned()], &left_out))
                    .remedy("see 'oci-mig-hook doctor' and nvidia-smi")
            }
            Refusal::NoAcceptedGpu {
                constraint,
                gpus,
                left_out,
            } => Failure::refused(
                format!("no GPU is {constraint}"),
                reasons([there_are(&gpus)], &left_out),
            )
            .remedy(format!("change or remove {}", keys::GPU)),
            Refusal::MigOff {
                disabled,
                unsupported,
                left_out,
            } => mig_off(&disabled, &unsupported, &left_out),
            Refusal::NoSuchProfile {
                request,
                exist,
                offered,
                nearest,
            } => no_such_profile(&request, &exist, &offered, nearest),
            Refusal::NothingLargeEnough {
                request,
                nearest,
                offered,
            } => nothing_large_enough(&request, nearest, &offered),
            Refusal::NoSuchDevice {
                device,
                exist,
                left_out,
            } => {
                let others = match exist {
                    0 => "this node has no MIG device".to_owned(),
                    1 => "this node has 1, and it is another".to_owned(),
                    _ => format!("this node has {exist}, and it is none of them"),
                };
                Failure::refused(format!("no {device}"), reasons([others], &left_out)).remedy(STATUS)
            }
            Refusal::TooFew { request, exist } => {
                let why = format!("{} asked for, {exist} exist", request.count());
                Failure::refused(format!("not enough {}", noun(&request)), why)
                    .remedy(format!("ask for at most {exist}"))
            }
            Refusal::Held {
                request,
                exist,
                holders,
            } => held(&request, exist, &holders),
            Refusal::CannotIsolate { reason } => {
                Failure::refused("this container can't be kept to its own MIG device", reason)
                    .remedy("run it without that, or set allow_privileged = true in the configuration")
            }
        }
    }
}

/// What was asked for, as the noun of a sentence.
fn noun(request: &Request) -> String {
    let device = match request.want() {
        Want::Profile(profile) => profile.to_string(),
        Want::Device(device) => device.to_string(),
        Want::AtLeast { memory, compute } => {
            let slices = compute.map(|slices| plural(slices.get().into(), "compute slice"));
            let sizes: Vec<String> = memory
                .map(|memory| memory.to_string())
                .into_iter()
                .chain(slices)
                .collect();
            match sizes.is_empty() {
                true => "MIG device".to_owned(),
                false => format!("MIG device of at least {}", sizes.join(" and ")),
            }
        }
    };
    match request.gpu() {
        Some(constraint) => format!("{device} on {constraint}"),
        None => device,
    }
}

fn over(limit: &Limit) -> Failure {
    match limit {
        Limit::Devices { asked, allowed } => {
            let why = format!("one container may have {allowed} here (limits.devices)");
            Failure::refused(format!("{}={asked}", keys::COUNT), why).remedy(format!(
                "ask for at most {allowed}, or raise limits.devices in the configuration"
            ))
        }
        Limit::Profiles { request, allowed } => {
            let why = match allowed.is_empty() {
                true => "limits.profiles allows none".to_owned(),
                false => format!("limits.profiles allows only {}", list(allowed)),
            };
            Failure::refused(format!("no {} allowed here", noun(request)), why)
                .remedy("ask for one of these, or extend limits.profiles in the configuration")
        }
    }
}

fn mig_off(disabled: &[u32], unsupported: &[u32], left_out: &[LeftOut]) -> Failure {
    let gpus = |gpus: &[u32]| format!("gpu {}", list(gpus));
    let off = (!disabled.is_empty()).then(|| format!("off on {}", gpus(disabled)));
    let never = (!unsupported.is_empty()).then(|| format!("not supported by {}", gpus(unsupported)));
    let failure = Failure::refused(
        "no GPU is in MIG mode",
        reasons(off.into_iter().chain(never), left_out),
    );
    match disabled.first() {
        Some(gpu) => failure.remedy(format!(
            "turn it on with 'nvidia-smi -i {gpu} -mig 1' and create instances"
        )),
        None => failure.remedy("run this container on a node with a MIG-capable GPU"),
    }
}

fn no_such_profile(
    request: &Request,
    exist: &[(Profile, usize)],
    offered: &[Profile],
    nearest: Option<Profile>,
) -> Failure {
    let Want::Profile(wanted) = request.want() else {
        return Failure::refused(format!("no {}", noun(request)), "no device has that profile")
            .remedy(STATUS);
    };
    let counts: Vec<String> = exist
        .iter()
        .map(|(profile, count)| format!("{count} x {profile}"))
        .collect();
    let there = match counts.is_empty() {
        true => "no MIG device exists".to_owned(),
        false => format!("there are {}", list(&counts)),
    };
    let creatable = fit::same_by_name(*wanted, offered);
    let nearest = nearest.filter(|_| creatable.is_none());
    let nearest = nearest.map(|it| format!("nearest is {it} ({})", difference(*wanted, it)));
    let why: Vec<String> = [Some(there), not_created(offered), nearest]
        .into_iter()
        .flatten()
        .collect();
    let failure = Failure::refused(format!("no {} on this node", noun(request)), why.join("; "));
    match creatable {
        Some(it) => failure.remedy(format!(
            "create one with 'nvidia-smi mig -cgi {it} -C', or ask for another"
        )),
        None if exist.is_empty() => failure.remedy("create one with nvidia-smi mig"),
        None => failure.remedy("ask for one of those that there are"),
    }
}

fn nothing_large_enough(request: &Request, nearest: Option<Shortfall>, offered: &[Profile]) -> Failure {
    let there = match nearest {
        Some(nearest) => {
            let memory = (nearest.lacks_mib > 0).then(|| format!("{} MiB", nearest.lacks_mib));
            let slices =
                (nearest.lacks_slices > 0).then(|| plural(nearest.lacks_slices.into(), "compute slice"));
            let lacks: Vec<String> = memory.into_iter().chain(slices).collect();
            format!(
                "nearest is {} ({} MiB), too small by {}",
                nearest.profile,
                nearest.memory_mib,
                lacks.join(" and ")
            )
        }
        None => "no MIG device exists".to_owned(),
    };
    let why: Vec<String> = [Some(there), not_created(offered)]
        .into_iter()
        .flatten()
        .collect();
    let failure = Failure::refused(format!("no {} on this node", noun(request)), why.join("; "));
    failure.remedy(match nearest {
        Some(_) => "ask for less, or create a larger one with nvidia-smi mig",
        None => "create one with nvidia-smi mig",
    })
}

fn held(request: &Request, exist: usize, holders: &[Holder]) -> Failure {
    let (taken, by) = (holders.len(), by_gpu(holders));
    if taken == exist {
        let why = format!("{taken} of {exist} held ({by})");
        return Failure::refused(format!("no free {}", noun(request)), why).remedy(STATUS);
    }
    let why = format!(
        "{} asked for, {} of {exist} free, {taken} held ({by})",
        request.count(),
        exist - taken
    );
    Failure::refused(format!("not enough free {}", noun(request)), why).remedy(STATUS)
}

/// `gpu 0: 3f2a90c1d7e4, 91bc03a4f5d6; gpu 1: 0c7d5e2b8a11; and 3 more`. The holders come by GPU.
fn by_gpu(holders: &[Holder]) -> String {
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

fn not_created(offered: &[Profile]) -> Option<String> {
    (!offered.is_empty()).then(|| format!("not created are {}", list(offered)))
}

/// How `other` differs from `wanted`: `+1 slice, +20 gb, with +me`.
fn difference(wanted: Profile, other: Profile) -> String {
    let by = |wanted: u8, other: u8, what: &str| {
        let apart = i16::from(other) - i16::from(wanted);
        (apart != 0).then(|| format!("{apart:+} {what}{}", if apart.abs() == 1 { "" } else { "s" }))
    };
    let whole = |profile: Profile| profile.ci_slices == profile.gi_slices;
    let slices = match whole(wanted) && whole(other) {
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

fn there_are(gpus: &[GpuName]) -> String {
    let names: Vec<String> = gpus
        .iter()
        .map(|gpu| format!("gpu {}: {} at {}", gpu.index, gpu.model, gpu.bus))
        .collect();
    format!("there are {}", list_of(&names, "; ", LISTED / 2))
}

/// The reasons, then what was left out and why.
fn reasons(reasons: impl IntoIterator<Item = String>, left_out: &[LeftOut]) -> String {
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

fn list<T: Display>(things: &[T]) -> String {
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
