//! Judges a config.json by what it lets a container reach of NVIDIA's without a lease: nodes, rules, mounts, NVIDIA's own
//! hook and what that goes by. Says what it finds as [`Door`]s, and what would close each as data.
//!
//! The container is the suspect, its engine is not: what stands in the document is what the container will get.

mod mounts;

use std::path::Path;

use serde_json::Value;

use super::device::VISIBLE_DEVICES;
use super::{OtherDevice, STAGES, cdi};
use crate::mig::DeviceNumber;
use crate::oci::{self, Breadth, Spec};

/// NVIDIA's programs that stand in hooks and hand out devices and files: the second is the first's older name.
const GIVING_HOOKS: [&str; 2] = ["nvidia-container-runtime-hook", "nvidia-container-toolkit"];

/// Those that prepare for devices.
const OTHER_HOOKS: [&str; 2] = ["nvidia-ctk", "nvidia-cdi-hook"];

/// What the host knows of NVIDIA's devices.
pub struct Surroundings<'a> {
    /// The driver's majors; none where it isn't loaded.
    pub majors: &'a [u32],
    /// The folder of its nodes, besides `/dev`.
    pub dev: &'a Path,
    /// The number of the character device that a path of the host leads to.
    pub device_at: &'a dyn Fn(&Path) -> Option<(u32, u32)>,
    /// Why no device rule would hold for it.
    pub no_rule_holds: Option<&'a str>,
    /// Whether this is the machine's own user namespace: in any other, no node can be made, and no device rule holds.
    pub is_initial_user_namespace: bool,
}

/// One way to a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Door {
    /// Of which kind it is.
    pub kind: Kind,
    /// What it is, in words that follow "this container has".
    pub what: String,
    /// What closes it; none where that would close others' as well.
    pub close: Option<Vec<Change>>,
}

/// The kinds of doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A device node or a device rule.
    Device,
    /// A bind mount of a node.
    Mount,
    /// A mount, an annotation or a variable that names devices to NVIDIA's container stack.
    Named,
    /// NVIDIA's hook.
    Hook,
}

/// A change of a config.json.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// This entry leaves the list at that JSON pointer.
    Remove { list: String, entry: Value },
    /// The annotation has this value, or is gone.
    Annotate { key: String, value: Option<String> },
    /// A last rule allows this device.
    Allow(OtherDevice),
    /// A last rule denies every device of this major.
    Deny { major: u32 },
    /// The environment has this value, and no other of that name.
    SetVariable { name: String, value: String },
}

/// Every door of `spec`. Of a container that has devices of its own by a lease, `own` are their numbers: no door.
pub fn doors(spec: Spec<'_>, around: &Surroundings<'_>, own: &[(u32, u32)]) -> Vec<Door> {
    let mut doors: Vec<Door> = without_rules(around).into_iter().collect();
    doors.extend(devices(spec, around));
    doors.extend(rules(spec, around));
    doors.extend(mounts::doors(spec, around, own));
    doors.extend(hooks(spec));
    doors.extend(annotations(spec));
    doors.extend(variables(spec));
    doors
}

/// What keeps NVIDIA's stack from giving this container anything: its variable, where it would be heeded.
///
/// `void` and an empty value are nothing to NVIDIA's hook, and `none` is the driver's libraries without any device: they
/// stay. Where the variable is absent, an image that has CUDA_VERSION and no NVIDIA_REQUIRE_CUDA counts as an old one,
/// and gets everything.
pub fn voided(spec: Spec<'_>) -> Option<Change> {
    let is_set = |name| values(spec, name).next().is_some();
    let heeded = match is_set(VISIBLE_DEVICES) {
        true => values(spec, VISIBLE_DEVICES).any(is_heeded),
        false => is_set("CUDA_VERSION") && !is_set("NVIDIA_REQUIRE_CUDA"),
    };
    heeded.then(|| void(VISIBLE_DEVICES))
}

/// What keeps a container from NVIDIA's devices that has no rule at all on them: crun opens everything to it, whatever it
/// makes, is given or brings in its image. What else it was given stays open: with a first rule crun denies the rest.
pub fn limited(spec: Spec<'_>, around: &Surroundings<'_>) -> Vec<Change> {
    if !around.is_initial_user_namespace || !is_unlimited(spec, around) {
        return Vec::new();
    }
    let given = given(spec, around.device_at).into_iter();
    let others = given.filter(|device| device.is_block || !around.majors.contains(&device.number.major));
    others.map(Change::Allow).chain(denied(around)).collect()
}

/// The devices that a container was given, by its list of them and by its mounts; `device_at` tells the number of the
/// character device that a path of the host leads to.
pub fn given(spec: Spec<'_>, device_at: &dyn Fn(&Path) -> Option<(u32, u32)>) -> Vec<OtherDevice> {
    let listed = oci::listed_devices(spec).map(|(is_block, number)| (is_block, Some(number)));
    let sources = spec.array("/mounts").filter_map(oci::bind_source);
    let mounted = sources.map(|source| (false, device_at(Path::new(source))));
    let mut given = Vec::new();
    for (is_block, number) in listed.chain(mounted) {
        let Some((major, minor)) = number else { continue };
        let number = DeviceNumber { major, minor };
        let device = OtherDevice { is_block, number };
        if !given.contains(&device) {
            given.push(device);
        }
    }
    given
}

fn values<'json>(spec: Spec<'json>, name: &str) -> impl Iterator<Item = &'json str> {
    let pairs = spec.environment().filter_map(|entry| entry.split_once('='));
    pairs.filter_map(move |(found, value)| (found == name).then_some(value))
}

fn is_heeded(value: &str) -> bool {
    !matches!(value, "" | "void" | "none")
}

fn void(name: &str) -> Change {
    Change::SetVariable {
        name: name.to_owned(),
        value: "void".to_owned(),
    }
}

fn without_rules(around: &Surroundings<'_>) -> Option<Door> {
    around.no_rule_holds.map(|why| Door {
        kind: Kind::Device,
        what: why.to_owned(),
        close: None,
    })
}

fn devices(spec: Spec<'_>, around: &Surroundings<'_>) -> Vec<Door> {
    let by_number: Vec<&Value> = oci::devices_of(spec, around.majors).collect();
    let is_door = |device: &&Value| {
        by_number.contains(device)
            || text(device, "path").is_some_and(|path| mounts::is_nvidias(Path::new(path), around))
    };
    let door = |device: &Value| Door {
        kind: Kind::Device,
        what: format!("the device {device}"),
        close: Some(vec![remove("/linux/devices", device)]),
    };
    spec.array("/linux/devices").filter(is_door).map(door).collect()
}

/// Whether no rule keeps it from devices that it makes or is given.
fn is_unlimited(spec: Spec<'_>, around: &Surroundings<'_>) -> bool {
    around.majors.iter().any(|major| oci::is_unlimited(spec, *major))
}

/// Rules that deny all of NVIDIA's devices.
fn denied(around: &Surroundings<'_>) -> Vec<Change> {
    let majors = around.majors.iter();
    majors.map(|major| Change::Deny { major: *major }).collect()
}

fn rules(spec: Spec<'_>, around: &Surroundings<'_>) -> Vec<Door> {
    if around.is_initial_user_namespace && oci::makes_nodes(spec) && is_unlimited(spec, around) {
        return vec![Door {
            kind: Kind::Device,
            what: "no device rule, and CAP_MKNOD".to_owned(),
            close: Some(denied(around)),
        }];
    }
    let mut doors: Vec<Door> = Vec::new();
    for (rule, breadth) in around
        .majors
        .iter()
        .flat_map(|major| oci::rules_reaching(spec, *major))
    {
        let door = Door {
            kind: Kind::Device,
            what: format!("the device rule {rule}"),
            close: match breadth {
                Breadth::Driver => Some(vec![remove("/linux/resources/devices", rule)]),
                Breadth::Everything => Some(denied(around)),
                // cgroup v1 knows no hole in such a rule.
                Breadth::Characters => None,
            },
        };
        if !doors.contains(&door) {
            doors.push(door);
        }
    }
    doors
}

fn hooks(spec: Spec<'_>) -> Vec<Door> {
    let found = nvidias_hooks(spec).map(|(_, stage, hook)| Door {
        kind: Kind::Hook,
        what: named(stage, hook),
        close: Some(vec![remove(&format!("/hooks/{stage}"), hook)]),
    });
    found.collect()
}

/// Each hook that is one of NVIDIA's programs, with that program's name and its stage.
fn nvidias_hooks(spec: Spec<'_>) -> impl Iterator<Item = (&str, &'static str, &Value)> {
    let program = |hook| Path::new(text(hook, "path")?).file_name()?.to_str();
    let of_stage = move |stage: &'static str| {
        let hooks = spec.array(&format!("/hooks/{stage}"));
        hooks.filter_map(move |hook| Some((program(hook)?, stage, hook)))
    };
    let is_theirs = |program: &str| GIVING_HOOKS.contains(&program) || OTHER_HOOKS.contains(&program);
    STAGES
        .into_iter()
        .flat_map(of_stage)
        .filter(move |(program, ..)| is_theirs(program))
}

fn named(stage: &str, hook: &Value) -> String {
    format!("the {stage} hook {}", text(hook, "path").unwrap_or_default())
}

/// The hook of NVIDIA's that will give the container whatever its variable names: `the prestart hook /usr/bin/...`.
pub fn giving_hook(spec: Spec<'_>) -> Option<String> {
    let mut hooks = nvidias_hooks(spec).filter(|(program, ..)| GIVING_HOOKS.contains(program));
    hooks.next().map(|(_, stage, hook)| named(stage, hook))
}

/// CDI's annotations: `cdi.k8s.io/x: nvidia.com/gpu=0,other.com/net=eth0`. The file that `cdi` writes is a door like NVIDIA's
/// own: nobody holds a lease for what is taken through it.
fn annotations(spec: Spec<'_>) -> impl Iterator<Item = Door> {
    let cdi = spec
        .annotations()
        .filter(|(key, _)| key.starts_with("cdi.k8s.io/"));
    cdi.filter_map(|(key, value)| {
        let (theirs, others): (Vec<&str>, Vec<&str>) = value.split(',').partition(|device| {
            let vendor = device.trim().split('/').next().unwrap_or_default();
            vendor == "nvidia.com" || vendor.ends_with(".nvidia.com") || vendor == cdi::VENDOR
        });
        (!theirs.is_empty()).then(|| Door {
            kind: Kind::Named,
            what: format!("the annotation {key}={}", theirs.join(",")),
            close: Some(vec![Change::Annotate {
                key: key.to_owned(),
                value: (!others.is_empty()).then(|| others.join(",")),
            }]),
        })
    })
}

/// What else than devices NVIDIA's hook or runtime gives by a variable: it names some, or says `enabled`.
const NAMING: [&str; 3] = [
    "NVIDIA_IMEX_CHANNELS",
    "NVIDIA_MIG_CONFIG_DEVICES",
    "NVIDIA_MIG_MONITOR_DEVICES",
];
const ENABLING: [&str; 4] = ["NVIDIA_GDRCOPY", "NVIDIA_GDS", "NVIDIA_MOFED", "NVIDIA_NVSWITCH"];

fn variables(spec: Spec<'_>) -> impl Iterator<Item = Door> {
    let naming = NAMING.map(|name| (name, values(spec, name).find(|value| is_heeded(value))));
    let enabling = ENABLING.map(|name| (name, values(spec, name).find(|value| *value == "enabled")));
    let set = naming.into_iter().chain(enabling);
    set.filter_map(|(name, value)| {
        Some(Door {
            kind: Kind::Named,
            what: format!("the variable {name}={}", value?),
            close: Some(vec![void(name)]),
        })
    })
}

fn text<'json>(of: &'json Value, key: &str) -> Option<&'json str> {
    of.get(key).and_then(Value::as_str)
}

fn remove(list: &str, entry: &Value) -> Change {
    Change::Remove {
        list: list.to_owned(),
        entry: entry.clone(),
    }
}
