//! The edits for leased devices: their variable, their nodes, and the hooks that confirm and release the lease.
//!
//! The createRuntime hook repeats what was edited in, as arguments, so that a later stage can check it and take
//! exactly that out again, whether or not the lease still stands.

use std::path::{Path, PathBuf};

use super::{ContainerEdits, Hook, HookStage, OtherDevice};
use crate::mig::{Access, DeviceName, DeviceNode, DeviceNumber};

/// What CUDA, NVIDIA's own tools and its container stack read.
pub const VISIBLE_DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";

/// The hook argument that names the leased devices.
pub const DEVICES_ARGUMENT: &str = "--devices";

/// The hook argument that names the nodes that were edited in.
pub const NODES_ARGUMENT: &str = "--nodes";

/// The hook argument that says that all other devices were denied, and which were not: `c10:229,b7:0,...`, or [`NONE`].
pub const OTHERS_ARGUMENT: &str = "--others";

/// No device at all.
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
        if name == VISIBLE_DEVICES {
            confirm.extend([DEVICES_ARGUMENT.to_owned(), value.clone()]);
        }
    }
    confirm.extend([NODES_ARGUMENT.to_owned(), print_nodes(&edits.nodes)]);
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

/// What was edited in besides annotations, from the hooks that were written then; none where none of them says it.
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
    Some(ContainerEdits {
        annotations: Vec::new(),
        env: vec![(VISIBLE_DEVICES.to_owned(), devices.to_owned())],
        nodes,
        deny_others,
        hooks,
    })
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

/// `/dev/nvidiactl=195:255:rw,...`
fn print_nodes(nodes: &[DeviceNode]) -> String {
    let print = |node: &DeviceNode| {
        let DeviceNumber { major, minor } = node.number;
        format!("{}={major}:{minor}:{}", node.path.display(), node.access.as_oci())
    };
    nodes.iter().map(print).collect::<Vec<_>>().join(",")
}

fn parse_nodes(text: &str) -> Option<Vec<DeviceNode>> {
    text.split(',').map(parse_node).collect()
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
mod tests {
    use super::*;
    use crate::edits::spec;
    use serde_json::{Value, json};

    fn nodes() -> Vec<DeviceNode> {
        [
            ("/dev/nvidiactl", 255, Access::ReadWrite),
            ("/dev/nvidia-caps/nvidia-cap12", 12, Access::Read),
        ]
        .map(|(path, minor, access)| DeviceNode {
            path: path.into(),
            host_path: format!("/node{path}").into(),
            number: DeviceNumber { major: 195, minor },
            access,
            mode: 0o666,
            uid: 0,
            gid: 44,
        })
        .into()
    }

    fn edits() -> ContainerEdits {
        let name: DeviceName = "MIG-1a2b3c4d-0000-5000-8000-0123456789ab".parse().unwrap();
        let edits = for_devices([(name.clone(), nodes().as_slice()), (name, nodes().as_slice())].into_iter());
        let edits = ContainerEdits {
            annotations: vec![("mig.lease".into(), "0f".into())],
            ..edits
        };
        let edits = ContainerEdits {
            deny_others: Some(vec![OtherDevice {
                is_block: true,
                number: DeviceNumber {
                    major: 10,
                    minor: 229,
                },
            }]),
            ..edits
        };
        with_hooks(
            edits,
            Path::new("/usr/bin/oci-mig-hook"),
            Some(Path::new("/etc/x.toml")),
        )
    }

    /// A config as Go writes it, with members that oci-spec's types don't know and numbers at the edge.
    fn config() -> Value {
        json!({
            "ociVersion": "1.0.2", "x-unknown": {"z": 1, "a": [null, 1.5]},
            "process": {"env": ["PATH=/bin", "NVIDIA_VISIBLE_DEVICES=all", "HOME=/"], "rlimits": [{"hard": u64::MAX}]},
            "annotations": {"mig.profile": "1g.10gb"},
            "hooks": null,
            "linux": {"resources": {"devices": [{"allow": false, "access": "rwm"}], "memory": {"limit": -1}}, "seccomp": {"comment": "kept"}},
        })
    }

    #[test]
    fn what_several_devices_share_is_given_once() {
        assert_eq!(edits().nodes.len(), 2);
        assert!(
            edits().env[0]
                .1
                .contains("MIG-1a2b3c4d-0000-5000-8000-0123456789ab,MIG-")
        );
    }

    #[test]
    fn edits_leave_everything_else_as_it_was() {
        let mut spec = config();
        spec::write(&mut spec, &edits(), false).unwrap();
        assert_eq!(
            spec["process"]["env"][2].as_str().unwrap().split('=').next(),
            Some("NVIDIA_VISIBLE_DEVICES")
        );
        assert_eq!(spec["annotations"]["mig.lease"], "0f");
        let devices = spec["linux"]["devices"].as_array().unwrap();
        assert_eq!(
            (&devices[0]["path"], &devices[0]["fileMode"], &devices[0]["gid"]),
            (&json!("/dev/nvidiactl"), &json!(0o666), &json!(44))
        );
        let expected = json!({"allow": true, "type": "c", "major": 195, "minor": 12, "access": "r"});
        let rules = &spec["linux"]["resources"]["devices"];
        assert_eq!(rules[0], json!({"allow": false, "access": "rwm"}));
        assert_eq!(
            (&rules[1]["major"], &rules[1]["minor"]),
            (&json!(10), &json!(229))
        );
        assert_eq!(rules[4], expected);
        assert_eq!(
            spec["hooks"]["poststop"][0]["args"],
            json!(["oci-mig-hook", "poststop", "--config", "/etc/x.toml"])
        );
        assert_eq!(spec["x-unknown"], config()["x-unknown"]);
        assert_eq!(spec["process"]["rlimits"][0]["hard"], json!(u64::MAX));
        let keys: Vec<_> = spec.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            keys,
            [
                "ociVersion",
                "x-unknown",
                "process",
                "annotations",
                "hooks",
                "linux"
            ]
        );
    }

    #[test]
    fn with_a_user_namespace_nodes_are_binds_from_where_they_are() {
        let mut spec = config();
        spec::write(&mut spec, &edits(), true).unwrap();
        assert_eq!(spec["linux"].get("devices"), None);
        let mount = &spec["mounts"][0];
        assert_eq!(
            (&mount["destination"], &mount["source"]),
            (&json!("/dev/nvidiactl"), &json!("/node/dev/nvidiactl"))
        );
    }

    #[test]
    fn our_edits_can_be_recovered_and_taken_out_exactly() {
        for user_namespace in [false, true] {
            let mut spec = config();
            spec::write(&mut spec, &edits(), user_namespace).unwrap();
            let mut ours = recover(spec::our_hooks(&spec, Path::new("/usr/bin/oci-mig-hook"))).unwrap();
            ours.annotations = edits().annotations;
            spec::take_out(&mut spec, &ours);
            let mut expected = config();
            expected["process"]["env"] = json!(["PATH=/bin", "HOME=/"]);
            expected["hooks"] = json!({"createRuntime": [], "poststop": []});
            for empty in ["devices", "mounts"] {
                let parent = if empty == "devices" {
                    &mut spec["linux"]
                } else {
                    &mut spec
                };
                if let Some(left) = parent.as_object_mut().unwrap().shift_remove(empty) {
                    assert_eq!(left, json!([]));
                }
            }
            assert_eq!(spec, expected);
        }
    }

    #[test]
    fn a_config_of_the_wrong_shape_is_an_error() {
        for (pointer, broken) in [
            ("process", json!([])),
            ("hooks", json!("x")),
            ("annotations", json!(1)),
        ] {
            let mut spec = config();
            spec[pointer] = broken;
            assert!(spec::write(&mut spec, &edits(), false).is_err(), "{pointer}");
        }
    }
}
