//! Edits rendered as a file of the Container Device Interface (CDI), for engines that take `--device KIND=NAME`.
//!
//! Such an engine writes what the file says into a container and asks nobody: no lease is taken. What a device is there
//! stands in the file as it was when that was written.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::device::VISIBLE_DEVICES;
use super::{ContainerEdits, Mount, OthersHook};
use crate::mig::{Device, DeviceName, DeviceNode};

/// Whose devices they are. CDI wants a name as of a domain; `.local` is nobody's.
pub const VENDOR: &str = "oci-mig-hook.local";

/// The kind of all of them. As NVIDIA's own `nvidia.com/gpu` does, it has MIG devices and whole GPUs.
pub const KIND: &str = "oci-mig-hook.local/gpu";

/// The version of CDI that a file is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CdiVersion {
    /// Without annotations: what engines of 2022 read.
    V0_5,
    /// The first that says what a device is.
    #[default]
    V0_6,
}

impl FromStr for CdiVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0.5.0" => Ok(CdiVersion::V0_5),
            "0.6.0" => Ok(CdiVersion::V0_6),
            _ => Err(format!("'{text}' is neither 0.5.0 nor 0.6.0")),
        }
    }
}

impl fmt::Display for CdiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CdiVersion::V0_5 => "0.5.0",
            CdiVersion::V0_6 => "0.6.0",
        })
    }
}

/// A device that a file offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdiDevice {
    /// Each name that it can be asked for by.
    pub names: Vec<String>,
    /// What it is, for people and programs that read the file.
    about: Vec<(&'static str, String)>,
    /// The nodes that are the right to use it.
    nodes: Vec<DeviceNode>,
}

impl CdiDevice {
    /// A device of this node, with its nodes.
    pub fn new(device: Device<'_>, nodes: Vec<DeviceNode>) -> CdiDevice {
        let memory = device.memory_mib();
        let about = [
            ("profile", Some(device.kind().to_string())),
            ("memory-mib", memory.map(|mib| mib.to_string())),
            ("model", Some(device.gpu().model.clone())),
        ];
        let known = |(what, value): (&'static str, Option<String>)| Some((what, value?));
        CdiDevice {
            names: names(device),
            about: about.into_iter().filter_map(known).collect(),
            nodes,
        }
    }
}

/// `0:7:0` (GPU, GPU instance, compute instance) and `MIG-<uuid>`; `0` and `GPU-<uuid>`.
fn names(device: Device<'_>) -> Vec<String> {
    let index = device.gpu().index;
    let by_place = match device {
        Device::Mig { device, .. } => format!("{index}:{}:{}", device.gi.0, device.ci.0),
        Device::Whole { .. } => index.to_string(),
    };
    let by_uuid = device.name();
    // CDI allows no slash, which the names of MIG devices had before R470.
    let is_allowed = match &by_uuid {
        DeviceName::Mig(uuid) => !uuid.to_string().contains('/'),
        DeviceName::Gpu(_) => true,
    };
    std::iter::once(by_place)
        .chain(is_allowed.then(|| by_uuid.to_string()))
        .collect()
}

/// A file that offers these devices, each under each of its names, with `more` for whoever takes any.
///
/// The variable that NVIDIA's hook goes by is `void`: CDI can't say the devices of a container that takes several, and that
/// hook must not give it others.
pub fn file(version: CdiVersion, devices: &[CdiDevice], more: &ContainerEdits) -> Value {
    let offered = devices.iter().flat_map(|device| {
        let named = |name: &String| entry(version, device, name);
        device.names.iter().map(named)
    });
    let void = ContainerEdits {
        env: vec![(VISIBLE_DEVICES.to_owned(), "void".to_owned())],
        ..ContainerEdits::default()
    };
    let all = void.and(more.clone());
    json!({
        "cdiVersion": version.to_string(),
        "kind": KIND,
        "devices": offered.collect::<Vec<_>>(),
        "containerEdits": edits(&all),
    })
}

fn entry(version: CdiVersion, device: &CdiDevice, name: &str) -> Value {
    let mut entry = Map::from_iter([("name".to_owned(), name.into())]);
    if version == CdiVersion::V0_6 {
        let about = device.about.iter();
        let about: Map<_, _> = about
            .map(|(what, value)| (format!("{VENDOR}/{what}"), value.as_str().into()))
            .collect();
        entry.insert("annotations".to_owned(), about.into());
    }
    let own = ContainerEdits {
        nodes: device.nodes.clone(),
        ..ContainerEdits::default()
    };
    entry.insert("containerEdits".to_owned(), edits(&own));
    entry.into()
}

/// What CDI has a word for; absent where there is nothing of its kind.
fn edits(edits: &ContainerEdits) -> Value {
    let env = edits
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}").into());
    let lists: [(&str, Vec<Value>); 4] = [
        ("env", env.collect()),
        ("deviceNodes", edits.nodes.iter().map(node).collect()),
        ("mounts", edits.mounts.iter().map(mount).collect()),
        ("hooks", edits.others_hooks.iter().map(hook).collect()),
    ];
    let there = lists.into_iter().filter(|(_, list)| !list.is_empty());
    there
        .map(|(word, list)| (word.to_owned(), list.into()))
        .collect::<Map<_, _>>()
        .into()
}

fn node(node: &DeviceNode) -> Value {
    let mut said = json!({
        "path": node.path.to_string_lossy(),
        "type": "c",
        "major": node.number.major,
        "minor": node.number.minor,
        "fileMode": node.mode,
        "permissions": node.access.as_oci(),
        "uid": node.uid,
        "gid": node.gid,
    });
    if node.host_path != node.path {
        said["hostPath"] = node.host_path.to_string_lossy().into();
    }
    said
}

fn mount(mount: &Mount) -> Value {
    json!({
        "hostPath": mount.host_path.to_string_lossy(),
        "containerPath": mount.path.to_string_lossy(),
        "options": mount.kind.options(),
    })
}

fn hook(hook: &OthersHook) -> Value {
    let mut said = json!({
        "hookName": hook.stage,
        "path": hook.path.to_string_lossy(),
        "args": hook.args,
        "env": hook.env,
    });
    if let Some(timeout) = hook.timeout {
        said["timeout"] = timeout.into();
    }
    said
}
