//! A config.json edited for leased devices, and the edits taken out again.

use super::*;
use crate::edits::{Mount, MountKind, spec};
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

fn mounts() -> Vec<Mount> {
    let mount = |name: &str, kind| Mount {
        path: format!("/usr/lib64/{name}").into(),
        host_path: format!("/usr/lib/x86_64-linux-gnu/{name}.550.54.15").into(),
        kind,
    };
    vec![
        mount("libcuda.so.1", MountKind::File),
        mount("socket", MountKind::Socket),
    ]
}

fn edits() -> ContainerEdits {
    let name: DeviceName = "MIG-1a2b3c4d-0000-5000-8000-0123456789ab".parse().unwrap();
    let edits = for_devices([(name.clone(), nodes().as_slice()), (name, nodes().as_slice())].into_iter());
    let edits = ContainerEdits {
        annotations: vec![("mig.lease".into(), "0f".into())],
        mounts: mounts(),
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

/// A mount of its own where one of ours goes, which ours covers.
fn own_mount() -> Value {
    json!({"destination": "/usr/lib64/libcuda.so.1", "type": "bind", "source": "/srv/libcuda.so.1", "options": ["bind", "ro"]})
}

/// A config as Go writes it, with members that oci-spec's types don't know and numbers at the edge.
fn config() -> Value {
    json!({
        "ociVersion": "1.0.2", "x-unknown": {"z": 1, "a": [null, 1.5]},
        "process": {"env": ["PATH=/bin", "NVIDIA_VISIBLE_DEVICES=all", "HOME=/"], "rlimits": [{"hard": u64::MAX}]},
        "annotations": {"mig.profile": "1g.10gb"},
        "hooks": null,
        "mounts": [own_mount()],
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
            "mounts",
            "linux"
        ]
    );
}

#[test]
fn with_a_user_namespace_nodes_are_binds_from_where_they_are() {
    let mut spec = config();
    spec::write(&mut spec, &edits(), true).unwrap();
    assert_eq!(spec["linux"].get("devices"), None);
    let mount = &spec["mounts"][1];
    assert_eq!(
        (&mount["destination"], &mount["source"]),
        (&json!("/dev/nvidiactl"), &json!("/node/dev/nvidiactl"))
    );
}

#[test]
fn mounts_come_behind_all_others_with_their_exact_options() {
    let mut spec = config();
    spec::write(&mut spec, &edits(), false).unwrap();
    let options = |index: usize| spec["mounts"][index]["options"].clone();
    assert_eq!(spec["mounts"][0], own_mount());
    assert_eq!(options(1), json!(["bind", "ro", "nosuid", "nodev", "private"]));
    assert_eq!(
        options(2),
        json!(["bind", "nosuid", "nodev", "noexec", "private"])
    );
    assert_eq!(spec["mounts"].as_array().unwrap().len(), 3);
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
        if let Some(left) = spec["linux"].as_object_mut().unwrap().shift_remove("devices") {
            assert_eq!(left, json!([]));
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
