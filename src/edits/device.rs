//! The edits for leased devices: their variable, their nodes, and the hooks that confirm and release the lease.
//!
//! The createRuntime hook repeats what was edited in, as arguments, so that a later stage can check it and take
//! exactly that out again, whether or not the lease still stands.

use std::path::{Path, PathBuf};

use super::mark::{self, Mark};
use super::{ContainerEdits, Hook, HookStage, OtherDevice, mount, spec};
use crate::mig::{Access, DeviceName, DeviceNode, DeviceNumber};

/// What CUDA, NVIDIA's own tools and its container stack read.
pub const VISIBLE_DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";

/// The hook argument that names the leased devices.
pub const DEVICES_ARGUMENT: &str = "--devices";

/// The hook argument that names the nodes that were edited in.
pub const NODES_ARGUMENT: &str = "--nodes";

/// The hook argument that knows the mounts that were edited in, by their marks.
pub const MOUNTS_ARGUMENT: &str = "--mounts";

/// The hook argument that says by which marks others' hooks are known that were edited in.
pub const HOOKS_ARGUMENT: &str = "--hooks";

/// The hook argument that says which further variable was set: `NAME=VALUE`.
pub const VARIABLE_ARGUMENT: &str = "--env";

/// The hook argument that says that all other devices were denied, and which were not: `c10:229,b7:0,...`, or [`NONE`].
pub const OTHERS_ARGUMENT: &str = "--others";

/// No device, or no node, at all.
const NONE: &str = "none";

/// The hook argument that names the configuration file.
pub const CONFIG_ARGUMENT: &str = "--config";

/// The variable and the nodes for these devices. What several devices share appears once.
pub fn for_devices<'a>(devices: impl Iterator<Item = (DeviceName, &'a [DeviceNode])>) -> ContainerEdits {
    let mut edits = ContainerEdits::default();
    let mut names = Vec::new();
    for (name, nodes) in devices {
        names.push(name.to_string());
        for node in nodes {
            if !edits.nodes.contains(node) {
                edits.nodes.push(node.clone());
            }
        }
    }
    edits.env.push((VISIBLE_DEVICES.to_owned(), names.join(",")));
    edits
}

/// The same with the hooks that confirm the lease once the container exists, and release it once it is gone.
/// `program` is absolute; `config` is the file that `--config` named.
#[must_use]
pub fn with_hooks(mut edits: ContainerEdits, program: &Path, config: Option<&Path>) -> ContainerEdits {
    let command = |word: &str| {
        let mut args = vec!["oci-mig-hook".to_owned(), word.to_owned()];
        args.extend(
            config
                .iter()
                .flat_map(|path| [CONFIG_ARGUMENT.to_owned(), path.to_string_lossy().into_owned()]),
        );
        args
    };
    let mut confirm = command("createRuntime");
    for (name, value) in &edits.env {
        confirm.extend(match name.as_str() {
            VISIBLE_DEVICES => [DEVICES_ARGUMENT.to_owned(), value.clone()],
            _ => [VARIABLE_ARGUMENT.to_owned(), format!("{name}={value}")],
        });
    }
    confirm.extend([NODES_ARGUMENT.to_owned(), print_nodes(&edits.nodes)]);
    if !edits.mounts.is_empty() {
        let marks = edits
            .mounts
            .iter()
            .map(|mount| Mark::of_mount(&mount::entry(mount)));
        confirm.extend([MOUNTS_ARGUMENT.to_owned(), mark::print(marks)]);
    }
    if !edits.others_hooks.is_empty() {
        let entries = edits.others_hooks.iter().map(spec::others_hook_entry);
        confirm.extend([
            HOOKS_ARGUMENT.to_owned(),
            mark::print(entries.map(|entry| Mark::of_hook(&entry))),
        ]);
    }
    if let Some(allowed) = &edits.deny_others {
        confirm.extend([OTHERS_ARGUMENT.to_owned(), print_others(allowed)]);
    }
    for (stage, args) in [
        (HookStage::CreateRuntime, confirm),
        (HookStage::Poststop, command("poststop")),
    ] {
        edits.hooks.push(Hook {
            stage,
            path: program.to_owned(),
            args,
        });
    }
    edits
}

/// What was edited in besides annotations, from the hooks that were written then; none where none of them says it. Of
/// mounts and others' hooks they have no more than their marks.
pub fn recover(mut hooks: Vec<Hook>) -> Option<ContainerEdits> {
    let names_devices = |hook: &Hook| hook.args.iter().any(|arg| arg == DEVICES_ARGUMENT);
    // An administrator's own entry for this program may stand beside ours.
    hooks.retain(|hook| hook.stage == HookStage::Poststop || names_devices(hook));
    let said = |name| hooks.iter().find_map(|hook| argument(hook, name));
    let devices = said(DEVICES_ARGUMENT)?;
    let nodes = parse_nodes(said(NODES_ARGUMENT)?)?;
    let deny_others = match said(OTHERS_ARGUMENT) {
        Some(text) => Some(parse_others(text)?),
        None => None,
    };
    let mut env = vec![(VISIBLE_DEVICES.to_owned(), devices.to_owned())];
    env.extend(hooks.iter().flat_map(variables));
    Some(ContainerEdits {
        env,
        nodes,
        deny_others,
        hooks,
        ..ContainerEdits::default()
    })
}

/// The marks of the mounts that were edited in with these hooks.
pub(super) fn mounts(hooks: &[Hook]) -> Vec<Mark> {
    marks(hooks, MOUNTS_ARGUMENT)
}

/// The marks of others' hooks that were edited in with these.
pub(super) fn others_hooks(hooks: &[Hook]) -> Vec<Mark> {
    marks(hooks, HOOKS_ARGUMENT)
}

fn marks(hooks: &[Hook], name: &str) -> Vec<Mark> {
    let said = hooks.iter().find_map(|hook| argument(hook, name));
    said.and_then(mark::parse).unwrap_or_default()
}

/// The further variables that a hook says were set.
fn variables(hook: &Hook) -> Vec<(String, String)> {
    let after = hook.args.iter().zip(hook.args.iter().skip(1));
    let said = after.filter(|(name, _)| *name == VARIABLE_ARGUMENT);
    let pair = |text: &String| {
        text.split_once('=')
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    said.filter_map(|(_, text)| pair(text)).collect()
}

/// The configuration that our own hooks were told to go by; none where the default one holds.
pub fn configuration(hooks: &[Hook]) -> Option<&str> {
    hooks.iter().find_map(|hook| argument(hook, CONFIG_ARGUMENT))
}

fn argument<'hook>(hook: &'hook Hook, name: &str) -> Option<&'hook str> {
    let at = hook.args.iter().position(|arg| arg == name)?;
    hook.args.get(at + 1).map(String::as_str)
}

fn print_others(allowed: &[OtherDevice]) -> String {
    let print = |device: &OtherDevice| {
        let DeviceNumber { major, minor } = device.number;
        format!("{}{major}:{minor}", if device.is_block { 'b' } else { 'c' })
    };
    match allowed.is_empty() {
        true => NONE.to_owned(),
        false => allowed.iter().map(print).collect::<Vec<_>>().join(","),
    }
}

fn parse_others(text: &str) -> Option<Vec<OtherDevice>> {
    let device = |text: &str| {
        let is_block = text.starts_with('b');
        let (major, minor) = text.strip_prefix(['b', 'c'])?.split_once(':')?;
        let number = DeviceNumber {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        };
        Some(OtherDevice { is_block, number })
    };
    match text {
        NONE => Some(Vec::new()),
        text => text.split(',').map(device).collect(),
    }
}

/// `/dev/nvidiactl=195:255:rw,...`, or [`NONE`].
fn print_nodes(nodes: &[DeviceNode]) -> String {
    if nodes.is_empty() {
        return NONE.to_owned();
    }
    let print = |node: &DeviceNode| {
        let DeviceNumber { major, minor } = node.number;
        format!("{}={major}:{minor}:{}", node.path.display(), node.access.as_oci())
    };
    nodes.iter().map(print).collect::<Vec<_>>().join(",")
}

fn parse_nodes(text: &str) -> Option<Vec<DeviceNode>> {
    match text {
        NONE => Some(Vec::new()),
        text => text.split(',').map(parse_node).collect(),
    }
}

/// A node as far as taking it out needs it: mode and owner aren't said again.
fn parse_node(text: &str) -> Option<DeviceNode> {
    let (path, rest) = text.split_once('=')?;
    let mut parts = rest.split(':');
    let number = DeviceNumber {
        major: parts.next()?.parse().ok()?,
        minor: parts.next()?.parse().ok()?,
    };
    let access = match parts.next()? {
        "r" => Access::Read,
        "rw" => Access::ReadWrite,
        _ => return None,
    };
    Some(DeviceNode {
        path: PathBuf::from(path),
        host_path: PathBuf::from(path),
        number,
        access,
        mode: 0,
        uid: 0,
        gid: 0,
    })
}

#[cfg(test)]
mod tests;
