//! What a refusal says: what, why and the remedy.

use super::fit::{self, Shortfall};
use super::phrases::{by_gpu, difference, lack, list, names, noun, place, reasons};
use super::refusal::{HeldBy, Limit, Refusal};
use super::whole::{in_mig_mode, no_gpu_large_enough, no_whole_gpu};
use crate::failure::Failure;
use crate::mig::{DeviceName, LeftOut, Profile};
use crate::request::{GpuConstraint, Request, keys};
use crate::require::{DISABLE, Unmet};

pub(super) const STATUS: &str = "see 'oci-mig-hook status'";

const WAIT: &str = "wait with mig.wait=30s, or see 'oci-mig-hook status'";

/// Why it was left out says what would bring it back.
const SEE_TO_LEFT_OUT: &str = "see to what was left out";

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::OverLimit(limit) => over(&limit),
            Refusal::NoGpu { left_out } => no_gpu(&left_out),
            Refusal::NoAcceptedGpu {
                constraint,
                gpus,
                left_out,
            } => {
                let there = format!("there are {}", names(&gpus));
                Failure::refused(format!("no GPU is {constraint}"), reasons([there], &left_out))
                    .remedy(format!("change or remove {}", keys::GPU))
            }
            Refusal::MigOff {
                disabled,
                unsupported,
                left_out,
            } => mig_off(&disabled, &unsupported, &left_out),
            Refusal::NoWholeGpu {
                constraint,
                enabled,
                left_out,
            } => no_whole_gpu(constraint.as_ref(), &enabled, &left_out),
            Refusal::InMigMode { gpu, index } => in_mig_mode(&gpu, index),
            Refusal::NoGpuLargeEnough {
                request,
                nearest,
                left_out,
            } => no_gpu_large_enough(&request, nearest.as_ref(), &left_out),
            Refusal::NoSuchProfile {
                wanted,
                gpu,
                exist,
                offered,
                nearest,
                left_out,
            } => no_such_profile((wanted, gpu.as_ref()), (&exist, &offered), nearest, &left_out),
            Refusal::NothingLargeEnough {
                request,
                nearest,
                creatable,
                left_out,
            } => nothing_large_enough(&request, nearest, &creatable, &left_out),
            Refusal::NoSuchDevice {
                device,
                exist,
                left_out,
            } => no_such_device(&device, exist, &left_out),
            Refusal::Unmet {
                request,
                gpu,
                unmet,
                meet,
                left_out,
            } => self::unmet(&request, gpu, &unmet, meet, &left_out),
            Refusal::TooFew {
                request,
                exist,
                left_out,
            } => too_few(&request, exist, &left_out),
            Refusal::Held {
                request,
                exist,
                holders,
                left_out,
            } => held(&request, exist, &holders, &left_out),
        }
    }
}

fn over(limit: &Limit) -> Failure {
    match limit {
        Limit::Devices { asked, allowed } => {
            let why = format!("one container may have {allowed} here (limits.devices)");
            let remedy = format!("ask for at most {allowed}, or raise limits.devices in the configuration");
            Failure::refused(format!("{}={asked}", keys::COUNT), why).remedy(remedy)
        }
        Limit::Wait { asked, allowed } => {
            let seconds = allowed.as_secs();
            let why = format!("one container may wait {seconds}s here (limits.wait)");
            let remedy = format!("wait at most {seconds}s, or raise limits.wait in the configuration");
            Failure::refused(format!("{}={asked}", keys::WAIT), why).remedy(remedy)
        }
        Limit::Profiles { request, allowed } => {
            let why = match allowed.is_empty() {
                true => "limits.profiles allows none".to_owned(),
                false => format!("limits.profiles allows only {}", list(allowed)),
            };
            Failure::refused(format!("no {} allowed here", noun(request)), why)
                .remedy("ask for one that is, or extend limits.profiles in the configuration")
        }
    }
}

fn no_gpu(left_out: &[LeftOut]) -> Failure {
    let none = left_out.is_empty().then(|| "the driver knows none".to_owned());
    let failure = Failure::refused("no usable GPU", reasons(none, left_out));
    failure.remedy(match left_out.is_empty() {
        true => "'nvidia-smi -L' must list one first",
        false => SEE_TO_LEFT_OUT,
    })
}

fn mig_off(disabled: &[u32], unsupported: &[u32], left_out: &[LeftOut]) -> Failure {
    let off = (!disabled.is_empty()).then(|| format!("off on gpu {}", list(disabled)));
    let never = (!unsupported.is_empty()).then(|| format!("not supported by gpu {}", list(unsupported)));
    let failure = Failure::refused(
        "no GPU is in MIG mode",
        reasons(off.into_iter().chain(never), left_out),
    );
    match disabled.first() {
        Some(gpu) => failure.remedy(format!(
            "turn it on with 'nvidia-smi -i {gpu} -mig 1' and create instances"
        )),
        None if !left_out.is_empty() => failure.remedy(SEE_TO_LEFT_OUT),
        None => failure.remedy("run this container on a node with a MIG-capable GPU"),
    }
}

fn no_such_profile(
    (wanted, gpu): (Profile, Option<&GpuConstraint>),
    (exist, offered): (&[(Profile, usize)], &[Profile]),
    nearest: Option<Profile>,
    left_out: &[LeftOut],
) -> Failure {
    let counts: Vec<String> = exist
        .iter()
        .map(|(profile, count)| format!("{count} x {profile}"))
        .collect();
    let there = match counts.is_empty() {
        true => no_device(left_out).to_owned(),
        false => format!("there are {}", list(&counts)),
    };
    let creatable = fit::same_by_name(wanted, offered);
    let offered = (!offered.is_empty()).then(|| format!("not created are {}", list(offered)));
    let differs = nearest.filter(|_| creatable.is_none());
    let differs = differs.map(|it| format!("nearest is {it} ({})", difference(wanted, it)));
    let why = [Some(there), offered, differs].into_iter().flatten();
    let failure = Failure::refused(format!("no {wanted} {}", place(gpu)), reasons(why, left_out));
    match creatable.or(nearest.filter(|_| exist.is_empty())) {
        // What was left out may well be one already.
        _ if exist.is_empty() && !left_out.is_empty() => failure.remedy(SEE_TO_LEFT_OUT),
        Some(it) if creatable.is_none() => failure.remedy(format!(
            "ask for a profile that is offered, and create one with 'nvidia-smi mig -cgi {it} -C'"
        )),
        Some(it) => failure.remedy(format!(
            "create one with 'nvidia-smi mig -cgi {it} -C', or ask for another"
        )),
        None if exist.is_empty() => failure.remedy("see what can be created with 'nvidia-smi mig -lgip'"),
        None => failure.remedy("ask for one of those that there are"),
    }
}

/// That there is none to choose from.
fn no_device(left_out: &[LeftOut]) -> &'static str {
    match left_out.is_empty() {
        true => "no MIG device exists",
        false => "no MIG device can be used",
    }
}

fn nothing_large_enough(
    request: &Request,
    nearest: Option<Shortfall>,
    creatable: &[Profile],
    left_out: &[LeftOut],
) -> Failure {
    let there = match nearest {
        Some(it) => format!(
            "nearest is {} ({} MiB), too small by {}",
            it.profile,
            it.memory_mib,
            lack(it)
        ),
        None => no_device(left_out).to_owned(),
    };
    let would_do =
        (!creatable.is_empty()).then(|| format!("{} would do and are not created", list(creatable)));
    let why = reasons([there].into_iter().chain(would_do), left_out);
    let failure = Failure::refused(format!("no {}", noun(request)), why);
    match creatable.first() {
        _ if nearest.is_none() && !left_out.is_empty() => failure.remedy(SEE_TO_LEFT_OUT),
        Some(first) => failure.remedy(format!(
            "ask for less, or create one with 'nvidia-smi mig -cgi {first} -C'"
        )),
        None => failure.remedy("ask for less"),
    }
}

fn no_such_device(device: &DeviceName, exist: usize, left_out: &[LeftOut]) -> Failure {
    let others = match (exist, device) {
        (0, DeviceName::Mig(_)) => "this node has no MIG device".to_owned(),
        (0, DeviceName::Gpu(_)) => "this node has no whole GPU".to_owned(),
        (1, _) => "this node has 1, and it is another".to_owned(),
        _ => format!("this node has {exist}, and it is none of them"),
    };
    Failure::refused(format!("no {device}"), reasons([others], left_out)).remedy(STATUS)
}

fn unmet(request: &Request, gpu: u32, unmet: &Unmet, meet: usize, left_out: &[LeftOut]) -> Failure {
    let Unmet {
        variable,
        condition,
        property,
        found,
        ..
    } = unmet;
    let whose = match unmet.of_gpu {
        true => format!("gpu {gpu}'s"),
        false => "this machine's".to_owned(),
    };
    let is = format!("{variable} requires {condition}, and {whose} {property} is {found}");
    let all = unmet.others + 1;
    let others = (unmet.others > 0).then(|| format!("none of its {all} alternatives holds"));
    let count = (meet > 0).then(|| format!("{} asked for, {meet} on GPUs that meet it", request.count()));
    let why = reasons([is].into_iter().chain(others).chain(count), left_out);
    let remedy = format!("use an image for this machine, or set {DISABLE}=1 in the container's environment");
    Failure::refused(format!("no {} for this image", noun(request)), why).remedy(remedy)
}

fn too_few(request: &Request, exist: usize, left_out: &[LeftOut]) -> Failure {
    let why = reasons(
        [format!("{} asked for, {exist} exist", request.count())],
        left_out,
    );
    Failure::refused(format!("not enough {}", noun(request)), why).remedy(format!("ask for at most {exist}"))
}

fn held(request: &Request, exist: usize, holders: &[HeldBy], left_out: &[LeftOut]) -> Failure {
    let (taken, by) = (holders.len(), by_gpu(holders));
    if taken == exist {
        let why = format!("{taken} of {exist} held ({by})");
        return Failure::refused(format!("no free {}", noun(request)), reasons([why], left_out)).remedy(WAIT);
    }
    let why = format!(
        "{} asked for, {} of {exist} free, {taken} held ({by})",
        request.count(),
        exist - taken
    );
    Failure::refused(
        format!("not enough free {}", noun(request)),
        reasons([why], left_out),
    )
    .remedy(WAIT)
}
