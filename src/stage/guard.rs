//! The back door: a container that did not ask, and what it would reach of NVIDIA's all the same.

use std::path::Path;

use serde_json::Value;

use super::{host, in_initial_user_namespace, refuse_unless_isolated};
use crate::config::{Config, Guard};
use crate::edits::guard::{self, Change, Door, Kind, Surroundings};
use crate::edits::spec;
use crate::failure::Failure;
use crate::host::number_at;
use crate::oci::Spec;

/// In words that follow "it has".
const NO_CGROUP: &str = "no cgroup (--cgroups=disabled?), and so no device rule that holds";

/// How many doors a line names.
const NAMED: usize = 3;

/// A container that did not ask, as it is to be judged.
pub struct Suspect<'a> {
    /// Its config.json.
    pub document: &'a Value,
    /// Where that lies, as far as it is known.
    pub bundle: Option<&'a Path>,
    /// Whether it has no cgroup, so that no device rule holds.
    pub without_cgroup: bool,
}

/// Judges a container. The document that it is to have instead; none where it stays as it is.
///
/// # Errors
/// A refusal, or a host failure where /proc can't be read.
pub fn judge(
    config: &Config,
    suspect: &Suspect<'_>,
    warn: &dyn Fn(&Failure),
) -> Result<Option<Value>, Failure> {
    if config.guard == Guard::Off {
        return Ok(None);
    }
    let (spec, majors) = (Spec(suspect.document), host(config).majors()?);
    let device_at = device_at(suspect.bundle);
    let around = Surroundings {
        no_rule_holds: suspect.without_cgroup.then_some(NO_CGROUP),
        ..surroundings(config, &majors, &device_at)?
    };
    let doors = guard::doors(spec, &around, &[]);
    let mut changes: Vec<Change> = match config.guard {
        Guard::Warn if doors.is_empty() => return Ok(None),
        Guard::Warn => {
            warn(
                &reaches(&doors)
                    .remedy("ask for one with the annotation mig.profile; guard = \"refuse\" would stop it"),
            );
            return Ok(None);
        }
        Guard::Refuse if !doors.is_empty() => {
            return Err(reaches(&doors)
                .remedy("ask for one with the annotation mig.profile, or start it without that"));
        }
        Guard::Off | Guard::Refuse => Vec::new(),
        Guard::Strip => closed(doors)?,
    };
    let more = guard::limited(spec, &around)
        .into_iter()
        .chain(guard::voided(spec));
    for change in more {
        if !changes.contains(&change) {
            changes.push(change);
        }
    }
    if changes.is_empty() {
        return Ok(None);
    }
    let mut changed = suspect.document.clone();
    spec::change(&mut changed, &changes)?;
    Ok(Some(changed))
}

/// Refuses what a container that asked would reach besides its own devices, whose numbers are `own`: other nodes by their
/// mounts, and, where there is a guard or NVIDIA's stack is to serve it, what names devices to that. NVIDIA's hook itself
/// goes by the variable, which says the lease's devices.
///
/// # Errors
/// That refusal.
pub fn refuse_beside_a_lease(
    config: &Config,
    spec: Spec<'_>,
    own: &[(u32, u32)],
    majors: &[u32],
    left_to_nvidia: bool,
) -> Result<(), Failure> {
    let doors = guard::doors(spec, &surroundings(config, majors, &device_at(None))?, own);
    let reaches_others = |door: &&Door| match door.kind {
        Kind::Mount => true,
        Kind::Named => left_to_nvidia || config.guard != Guard::Off,
        Kind::Device | Kind::Hook => false,
    };
    let found = doors.iter().find(reaches_others);
    refuse_unless_isolated(
        config,
        found.map(|door| format!("it has {}, and with it other NVIDIA devices", door.what)),
    )
}

/// Refuses NVIDIA's hook in a live container that asked: the variable that it goes by can't be set any more, and says what
/// the image wants.
///
/// # Errors
/// That refusal.
pub fn refuse_nvidias_hook(config: &Config, spec: Spec<'_>) -> Result<(), Failure> {
    if guard::voided(spec).is_none() {
        return Ok(());
    }
    let doors = guard::doors(spec, &surroundings(config, &[], &device_at(None))?, &[]);
    let hook = doors.iter().find(|door| door.kind == Kind::Hook);
    let gives = |door: &Door| {
        format!(
            "it has {}, which goes by the image's NVIDIA_VISIBLE_DEVICES",
            door.what
        )
    };
    refuse_unless_isolated(config, hook.map(gives))
}

fn surroundings<'a>(
    config: &'a Config,
    majors: &'a [u32],
    device_at: &'a dyn Fn(&Path) -> Option<(u32, u32)>,
) -> Result<Surroundings<'a>, Failure> {
    Ok(Surroundings {
        majors,
        dev: &config.driver.dev,
        device_at,
        no_rule_holds: None,
        is_initial_user_namespace: in_initial_user_namespace()?,
    })
}

/// A mount's source may be written from the bundle.
fn device_at(bundle: Option<&Path>) -> impl Fn(&Path) -> Option<(u32, u32)> {
    move |path| match bundle {
        Some(bundle) => number_at(&bundle.join(path)),
        None => number_at(path),
    }
}

/// What closes all of them.
fn closed(doors: Vec<Door>) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    for door in doors {
        let close = door.close.as_ref().ok_or_else(|| {
            reaches(std::slice::from_ref(&door)).remedy(
                "it can't be stripped of that alone: start it without, or ask for a device with mig.profile",
            )
        })?;
        for change in close {
            if !changes.contains(change) {
                changes.push(change.clone());
            }
        }
    }
    Ok(changes)
}

fn reaches(doors: &[Door]) -> Failure {
    let named: Vec<&str> = doors.iter().take(NAMED).map(|door| door.what.as_str()).collect();
    let more = match doors.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let why = format!("it has {}{more}", named.join(", "));
    Failure::refused(
        "this container did not ask for a MIG device and reaches NVIDIA's",
        why,
    )
}
