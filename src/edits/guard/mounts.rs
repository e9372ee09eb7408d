//! Doors among a container's mounts: of NVIDIA's nodes, by name or by what a path leads to, and those that name devices to
//! NVIDIA's hook.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::{Change, Door, Kind, Surroundings, remove, text};
use crate::oci::{Spec, bind_source};

/// Mounts below these destinations name devices to NVIDIA's hook, which may prefer them to the environment.
const VOLUME_MOUNTS: [&str; 2] = [
    "/var/run/nvidia-container-devices",
    "/run/nvidia-container-devices",
];

/// The doors among the mounts of `spec`; nodes whose numbers are `own` are none.
pub(super) fn doors(spec: Spec<'_>, around: &Surroundings<'_>, own: &[(u32, u32)]) -> Vec<Door> {
    let bound = |mount| bind_mount(spec, mount, around, own);
    let doors = spec
        .array("/mounts")
        .filter_map(|mount| volume_mount(mount).or_else(|| bound(mount)));
    doors.collect()
}

fn bind_mount(spec: Spec<'_>, mount: &Value, around: &Surroundings<'_>, own: &[(u32, u32)]) -> Option<Door> {
    let source = PathBuf::from(bind_source(mount)?);
    let shown = || source.display().to_string();
    let at = (around.device_at)(&source);
    let is_node = at.is_some_and(|number| around.majors.contains(&number.0) && !own.contains(&number));
    let is_own = at.is_some_and(|number| own.contains(&number));
    let door = |what: String, close: Option<Vec<Change>>| Door {
        kind: Kind::Mount,
        what,
        close,
    };
    if is_node || (!is_own && is_nvidias(&source, around)) {
        return Some(door(
            format!("a mount of {}", shown()),
            Some(vec![remove("/mounts", mount)]),
        ));
    }
    // The nodes in a folder are of use where no rule keeps it from opening them. Root's rules hold.
    let holds_nodes = [Path::new("/dev"), around.dev]
        .iter()
        .any(|dev| dev.starts_with(lexical(&source)));
    (holds_nodes && super::is_unlimited(spec, around)).then(|| {
        let close = around.is_initial_user_namespace.then(|| super::denied(around));
        door(format!("a mount of {} without device rules", shown()), close)
    })
}

fn volume_mount(mount: &Value) -> Option<Door> {
    let destination = lexical(Path::new(text(mount, "destination")?));
    let is_below = VOLUME_MOUNTS.iter().any(|root| destination.starts_with(root));
    is_below.then(|| Door {
        kind: Kind::Named,
        what: format!("a mount at {}", destination.display()),
        close: Some(vec![remove("/mounts", mount)]),
    })
}

/// Whether a path is one of NVIDIA's by its name: `/dev/nvidia0`, `/dev/nvidia-caps/nvidia-cap1`.
pub(super) fn is_nvidias(path: &Path, around: &Surroundings<'_>) -> bool {
    let path = lexical(path);
    let below = |dev: &Path| {
        let first = path.strip_prefix(dev).ok()?.components().next()?;
        first.as_os_str().to_str().map(|name| name.starts_with("nvidia"))
    };
    [Path::new("/dev"), around.dev]
        .iter()
        .any(|dev| below(dev) == Some(true))
}

/// The path without `.` and `..`, as far as its letters say.
fn lexical(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut so_far, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(so_far.pop()),
            other => so_far.push(other),
        }
        so_far
    })
}
