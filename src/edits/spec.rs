//! Edits written into a config.json, and taken out again.
//!
//! The document is edited as it stands: what is not ours keeps its place and its exact value, unknown members too.
//! Go writes `null` for an empty member: it counts as absent.

use serde_json::{Map, Value, json};

use super::guard::Change;
use super::mark::Mark;
use super::{ContainerEdits, Hook, HookStage, OtherDevice, OthersHook, STAGES, device, mount};
use crate::failure::Failure;
use crate::mig::{DeviceNode, DeviceNumber};

/// Our hooks get an environment of their own. An empty one would make a runtime hand down its own instead.
const HOOK_ENVIRONMENT: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Writes `edits` into `spec`.
///
/// With a user namespace the nodes become bind mounts from where they really are: a node made inside can't be
/// opened there, and runtimes would look for it at the container's path on the host.
///
/// # Errors
/// A host failure where a member of `spec` is not of its type: half an edit is never left behind, since the caller
/// drops the document.
pub fn write(spec: &mut Value, edits: &ContainerEdits, user_namespace: bool) -> Result<(), Failure> {
    let root = root(spec)?;
    for (key, value) in &edits.annotations {
        object(root, "annotations")?.insert(key.clone(), value.as_str().into());
    }
    set_environment(array(object(root, "process")?, "env")?, &edits.env);
    for node in &edits.nodes {
        match user_namespace {
            true => add_mount(array(root, "mounts")?, node),
            false => add_device(array(object(root, "linux")?, "devices")?, node),
        }
        array(object(object(root, "linux")?, "resources")?, "devices")?.push(rule(node));
    }
    if !edits.mounts.is_empty() {
        array(root, "mounts")?.extend(edits.mounts.iter().map(mount::entry));
    }
    if let Some(allowed) = &edits.deny_others {
        let rules = array(object(object(root, "linux")?, "resources")?, "devices")?;
        rules.splice(0..0, denial(allowed));
    }
    for hook in &edits.hooks {
        array(object(root, "hooks")?, stage_key(hook.stage))?.push(hook_entry(hook));
    }
    for hook in &edits.others_hooks {
        array(object(root, "hooks")?, hook.stage)?.push(others_hook_entry(hook));
    }
    Ok(())
}

/// A rule that denies all devices, and behind it one for each of these.
fn denial(allowed: &[OtherDevice]) -> Vec<Value> {
    let deny = json!({"allow": false, "access": "rwm"});
    std::iter::once(deny).chain(allowed.iter().map(allow)).collect()
}

/// A rule that allows it.
fn allow(device: &OtherDevice) -> Value {
    let DeviceNumber { major, minor } = device.number;
    let kind = if device.is_block { "b" } else { "c" };
    json!({"allow": true, "type": kind, "major": major, "minor": minor, "access": "rwm"})
}

/// Takes exactly those edits out again, wherever they stand; mounts and others' hooks by what ours say of them. What they replaced
/// (a variable of that name, a device or node's mount at the same path) is lost.
pub fn take_out(spec: &mut Value, edits: &ContainerEdits) {
    if let Some(annotations) = spec.get_mut("annotations").and_then(Value::as_object_mut) {
        for (key, _) in &edits.annotations {
            annotations.shift_remove(key);
        }
    }
    for (name, value) in &edits.env {
        remove(spec, "/process/env", |entry| {
            entry.as_str() == Some(format!("{name}={value}").as_str())
        });
    }
    for node in &edits.nodes {
        let path = node.path.to_string_lossy();
        remove(spec, "/linux/devices", |entry| {
            is_at(entry, "path", &path) && entry.get("major") == Some(&json!(node.number.major))
        });
        remove(spec, "/mounts", |entry| {
            is_at(entry, "destination", &path) && is_at(entry, "type", "bind")
        });
        remove(spec, "/linux/resources/devices", |entry| *entry == rule(node));
    }
    let mounts = device::mounts(&edits.hooks);
    if !mounts.is_empty() {
        remove(spec, "/mounts", |entry| mounts.contains(&Mark::of_mount(entry)));
    }
    let hooks = device::others_hooks(&edits.hooks);
    for stage in STAGES.into_iter().filter(|_| !hooks.is_empty()) {
        remove(spec, &format!("/hooks/{stage}"), |entry| {
            hooks.contains(&Mark::of_hook(entry))
        });
    }
    if let Some(allowed) = &edits.deny_others {
        for rule in denial(allowed) {
            remove_first(spec, "/linux/resources/devices", &rule);
        }
    }
    for hook in &edits.hooks {
        remove(spec, &format!("/hooks/{}", stage_key(hook.stage)), |entry| {
            *entry == hook_entry(hook)
        });
    }
}

/// Makes these changes.
///
/// # Errors
/// As [`write`].
pub fn change(spec: &mut Value, changes: &[Change]) -> Result<(), Failure> {
    for change in changes {
        match change {
            Change::Remove { list, entry } => remove(spec, list, |found| found == entry),
            Change::Annotate { key, value } => {
                let annotations = object(root(spec)?, "annotations")?;
                match value {
                    Some(value) => drop(annotations.insert(key.clone(), value.as_str().into())),
                    None => drop(annotations.shift_remove(key)),
                }
            }
            Change::Allow(device) => {
                array(object(object(root(spec)?, "linux")?, "resources")?, "devices")?.push(allow(device));
            }
            Change::Deny { major } => {
                let rule = json!({"allow": false, "type": "c", "major": major, "access": "rw"});
                array(object(object(root(spec)?, "linux")?, "resources")?, "devices")?.push(rule);
            }
            Change::SetVariable { name, value } => {
                let env = array(object(root(spec)?, "process")?, "env")?;
                set_environment(env, &[(name.clone(), value.clone())]);
            }
        }
    }
    Ok(())
}

/// The arguments of each of our own hooks that `spec` has: those at `program`'s path.
pub fn our_hooks(spec: &Value, program: &std::path::Path) -> Vec<Hook> {
    let of_stage = |stage: HookStage| {
        let entries = spec
            .pointer(&format!("/hooks/{}", stage_key(stage)))
            .and_then(Value::as_array);
        let ours = entries
            .into_iter()
            .flatten()
            .filter(|entry| is_at(entry, "path", &program.to_string_lossy()));
        ours.map(move |entry| Hook {
            stage,
            path: program.to_owned(),
            args: arguments(entry),
        })
    };
    of_stage(HookStage::CreateRuntime)
        .chain(of_stage(HookStage::Poststop))
        .collect()
}

fn arguments(entry: &Value) -> Vec<String> {
    let args = entry.get("args").and_then(Value::as_array);
    args.into_iter()
        .flatten()
        .filter_map(|arg| arg.as_str().map(str::to_owned))
        .collect()
}

fn set_environment(env: &mut Vec<Value>, wanted: &[(String, String)]) {
    for (name, value) in wanted {
        let is_name = |entry: &Value| {
            entry
                .as_str()
                .and_then(|text| text.split_once('='))
                .is_some_and(|(found, _)| found == name)
        };
        env.retain(|entry| !is_name(entry));
        env.push(format!("{name}={value}").into());
    }
}

/// The node, in place of any other that the config puts there.
fn add_device(devices: &mut Vec<Value>, node: &DeviceNode) {
    let path = node.path.to_string_lossy();
    devices.retain(|entry| !is_at(entry, "path", &path));
    devices.push(json!({
        "path": path,
        "type": "c",
        "major": node.number.major,
        "minor": node.number.minor,
        "fileMode": node.mode,
        "uid": node.uid,
        "gid": node.gid,
    }));
}

fn add_mount(mounts: &mut Vec<Value>, node: &DeviceNode) {
    let path = node.path.to_string_lossy();
    mounts.retain(|entry| !is_at(entry, "destination", &path));
    mounts.push(json!({
        "destination": path,
        "type": "bind",
        "source": node.host_path.to_string_lossy(),
        "options": ["bind", "nosuid", "noexec"],
    }));
}

fn rule(node: &DeviceNode) -> Value {
    json!({
        "allow": true,
        "type": "c",
        "major": node.number.major,
        "minor": node.number.minor,
        "access": node.access.as_oci(),
    })
}

fn hook_entry(hook: &Hook) -> Value {
    json!({
        "path": hook.path.to_string_lossy(),
        "args": hook.args,
        "env": [HOOK_ENVIRONMENT],
    })
}

/// As config.json has another program's hook.
pub(super) fn others_hook_entry(hook: &OthersHook) -> Value {
    let mut entry = json!({
        "path": hook.path.to_string_lossy(),
        "args": hook.args,
        "env": hook.env,
    });
    if let Some(timeout) = hook.timeout {
        entry["timeout"] = timeout.into();
    }
    entry
}

fn stage_key(stage: HookStage) -> &'static str {
    match stage {
        HookStage::CreateRuntime => "createRuntime",
        HookStage::Poststop => "poststop",
    }
}

fn is_at(entry: &Value, key: &str, expected: &str) -> bool {
    entry.get(key).and_then(Value::as_str) == Some(expected)
}

fn remove(spec: &mut Value, pointer: &str, is_ours: impl Fn(&Value) -> bool) {
    if let Some(entries) = spec.pointer_mut(pointer).and_then(Value::as_array_mut) {
        entries.retain(|entry| !is_ours(entry));
    }
}

fn root(spec: &mut Value) -> Result<&mut Map<String, Value>, Failure> {
    spec.as_object_mut()
        .ok_or_else(|| not_of_its_type("the document"))
}

fn remove_first(spec: &mut Value, pointer: &str, ours: &Value) {
    if let Some(entries) = spec.pointer_mut(pointer).and_then(Value::as_array_mut) {
        if let Some(at) = entries.iter().position(|entry| entry == ours) {
            entries.remove(at);
        }
    }
}

fn object<'spec>(
    parent: &'spec mut Map<String, Value>,
    key: &str,
) -> Result<&'spec mut Map<String, Value>, Failure> {
    let member = parent.entry(key).or_insert(Value::Null);
    if member.is_null() {
        *member = Value::Object(Map::new());
    }
    member.as_object_mut().ok_or_else(|| not_of_its_type(key))
}

fn array<'spec>(parent: &'spec mut Map<String, Value>, key: &str) -> Result<&'spec mut Vec<Value>, Failure> {
    let member = parent.entry(key).or_insert(Value::Null);
    if member.is_null() {
        *member = Value::Array(Vec::new());
    }
    member.as_array_mut().ok_or_else(|| not_of_its_type(key))
}

fn not_of_its_type(what: &str) -> Failure {
    Failure::host(
        "config.json can't be edited",
        format!("{what} is not of the type that the OCI spec gives it"),
    )
    .remedy("look at the engine that wrote it")
}
