//! What the file says, held against the node, and against the rules of CDI's SPEC.md.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use fake_node::{GpuSpec, InstanceSpec, MigMode, NodeSpec};
use serde_json::{Value, json};

use super::{KIND, Place};
use crate::support::machine::Machine;
use crate::support::process::run;

/// The devices that a file offers, by name.
fn names(file: &Value) -> BTreeSet<String> {
    let devices = file["devices"].as_array().expect("devices").iter();
    devices
        .map(|device| device["name"].as_str().expect("a name").to_owned())
        .collect()
}

fn device<'a>(file: &'a Value, name: &str) -> &'a Value {
    let mut devices = file["devices"].as_array().expect("devices").iter();
    devices
        .find(|device| device["name"] == name)
        .unwrap_or_else(|| panic!("no {name}: {file}"))
}

/// CDI's rules, as far as they are about what we write.
#[track_caller]
fn assert_valid(file: &Value, version: &str) {
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    let of = |words: &[&str]| -> BTreeSet<String> { words.iter().map(ToString::to_string).collect() };
    assert_eq!(
        keys(file),
        of(&["cdiVersion", "kind", "devices", "containerEdits"])
    );
    assert_eq!(
        (&file["cdiVersion"], &file["kind"]),
        (&json!(version), &json!(KIND))
    );
    let devices = file["devices"].as_array().expect("devices");
    assert!(!devices.is_empty(), "a file without a device is none");
    assert_eq!(names(file).len(), devices.len(), "names are given once");
    for device in devices {
        let name = device["name"].as_str().expect("a name");
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric();
        assert!(
            name.bytes().all(|byte| is_plain(byte) || b"_-.:".contains(&byte)),
            "{name}"
        );
        assert!(name.bytes().next().is_some_and(is_plain) && name.bytes().last().is_some_and(is_plain));
        match version {
            "0.5.0" => assert_eq!(keys(device), of(&["name", "containerEdits"])),
            _ => assert_annotations(&device["annotations"]),
        }
        let edits = &device["containerEdits"];
        assert_eq!(
            keys(edits),
            of(&["deviceNodes"]),
            "a device without edits is none"
        );
        edits["deviceNodes"]
            .as_array()
            .expect("nodes")
            .iter()
            .for_each(assert_node);
    }
    let all = &file["containerEdits"];
    assert!(keys(all).is_subset(&of(&["env", "mounts", "hooks"])), "{all}");
    assert_eq!(all["env"][0], "NVIDIA_VISIBLE_DEVICES=void");
    for mount in all["mounts"].as_array().into_iter().flatten() {
        assert_eq!(
            keys(mount),
            of(&["hostPath", "containerPath", "options"]),
            "{mount}"
        );
    }
}

fn assert_annotations(annotations: &Value) {
    for (key, value) in annotations.as_object().expect("annotations") {
        assert!(key.starts_with("oci-mig-hook.local/"), "{key}");
        assert!(value.is_string(), "{key}");
    }
}

fn assert_node(node: &Value) {
    assert!(
        node["path"]
            .as_str()
            .is_some_and(|path| path.starts_with("/dev/nvidia")),
        "{node}"
    );
    assert_eq!(node["type"], "c", "{node}");
    assert!(
        ["r", "rw"].contains(&node["permissions"].as_str().expect("permissions")),
        "{node}"
    );
    for number in ["major", "minor", "fileMode", "uid", "gid"] {
        assert!(node[number].is_u64(), "{node}");
    }
    assert!(
        std::path::Path::new(node["hostPath"].as_str().expect("a path")).exists(),
        "{node}"
    );
}

#[test]
fn each_nodes_file_is_one_by_cdis_rules_and_offers_all_that_there_is() {
    for name in [
        "one-gpu",
        "mixed",
        "mig-off",
        "hgx-h100",
        "rtx-pro-6000",
        "missing-caps",
        "old-driver",
    ] {
        let place = Place::named(name);
        for version in ["0.6.0", "0.5.0"] {
            run(&mut place.cdi(&["--cdi-version", version])).ok();
            let file = place.json();
            assert_valid(&file, version);
            let devices = place.machine.devices().expect("devices");
            let by_place = devices
                .iter()
                .map(|device| format!("{}:{}:{}", device.gpu, device.gi, device.ci));
            // CDI allows no slash in a name.
            let by_uuid = devices.iter().map(|device| device.uuid.clone());
            let by_uuid = by_uuid.filter(|uuid| !uuid.contains('/'));
            let whole = place.machine.whole_gpus().expect("GPUs");
            let whole = whole
                .iter()
                .flat_map(|gpu| [gpu.index.to_string(), gpu.uuid.clone()]);
            let expected: BTreeSet<String> = by_place.chain(by_uuid).chain(whole).collect();
            assert_eq!(names(&file), expected, "{name}");
        }
    }
}

#[test]
fn a_device_has_the_nodes_that_a_leased_one_has() {
    let place = Place::named("mixed");
    run(&mut place.cdi(&[])).ok();
    let file = place.json();
    let nodes = |name: &str| -> Vec<(String, u32, u32, bool)> {
        let nodes = device(&file, name)["containerEdits"]["deviceNodes"]
            .as_array()
            .expect("nodes")
            .clone();
        let number = |node: &Value, word: &str| node[word].as_u64().expect("a number") as u32;
        let node = |node: &Value| {
            let path = node["path"].as_str().expect("a path").to_owned();
            (
                path,
                number(node, "major"),
                number(node, "minor"),
                node["permissions"] == "rw",
            )
        };
        nodes.iter().map(node).collect()
    };
    for own in place.machine.devices().expect("devices") {
        let expected = place.machine.nodes_of(&own);
        assert_eq!(nodes(&own.uuid), expected);
        assert_eq!(nodes(&format!("{}:{}:{}", own.gpu, own.gi, own.ci)), expected);
        let about = &device(&file, &own.uuid)["annotations"];
        assert_eq!(about["oci-mig-hook.local/profile"], own.profile);
        assert_eq!(about["oci-mig-hook.local/memory-mib"], own.memory_mib.to_string());
    }
    for own in place.machine.whole_gpus().expect("GPUs") {
        assert_eq!(nodes(&own.uuid), place.machine.nodes_of_whole(&own));
        assert_eq!(
            device(&file, &own.uuid)["annotations"]["oci-mig-hook.local/profile"],
            "gpu"
        );
    }
}

/// As for a container that nobody could look into: in each folder that its loader may search.
#[test]
fn the_drivers_files_go_along() {
    let spec = NodeSpec {
        driver_files: true,
        gpus: vec![GpuSpec {
            mig: Some(MigMode::Disabled),
            ..Default::default()
        }],
        ..Default::default()
    };
    let place = Place::of(Machine::of(&spec));
    let mounts = |args: &[&str]| -> BTreeSet<String> {
        run(&mut place.cdi(args)).ok();
        let file = place.json();
        assert_valid(&file, "0.6.0");
        let mounts = file["containerEdits"]["mounts"]
            .as_array()
            .expect("mounts")
            .iter();
        mounts
            .map(|mount| mount["containerPath"].as_str().expect("a path").to_owned())
            .collect()
    };
    let usual = mounts(&[]);
    for path in [
        "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        "/usr/lib64/libcuda.so.1",
        "/usr/bin/nvidia-smi",
    ] {
        assert!(usual.contains(path), "{usual:?}");
    }
    let compute = mounts(&["--driver-capabilities", "compute"]);
    assert!(
        compute.is_subset(&usual) && !compute.contains("/usr/bin/nvidia-smi"),
        "{compute:?}"
    );
    assert!(mounts(&["--driver-capabilities", "all"]).len() > usual.len());
    place.machine.configure_files("none");
    run(&mut place.cdi(&[])).ok();
    assert!(place.json()["containerEdits"].get("mounts").is_none());
}

/// What NVIDIA's own file gives to every container comes along, where that is where the driver's files come from.
#[test]
fn nvidias_common_edits_are_handed_on() {
    let place = Place::named("mig-off");
    let library = place.folder.file("libcuda.so", "");
    let theirs = json!({
        "cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [],
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void", "NVIDIA_X=1"],
            "mounts": [{"hostPath": library, "containerPath": "/usr/lib/libcuda.so", "options": ["ro"]}],
            "hooks": [{"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook", "args": ["nvidia-cdi-hook"]}],
        },
    });
    let folder = place.folder.join("theirs");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("nvidia.json"), theirs.to_string()).expect("a file");
    place.machine.configure_files("cdi");
    place.machine.configure("driver.cdi", &format!("[{folder:?}]"));
    run(&mut place.cdi(&[])).ok();
    let file = place.json();
    assert_valid(&file, "0.6.0");
    let all = &file["containerEdits"];
    assert_eq!(all["env"], json!(["NVIDIA_VISIBLE_DEVICES=void", "NVIDIA_X=1"]));
    assert_eq!(all["mounts"][0]["containerPath"], "/usr/lib/libcuda.so");
    let hook = json!({"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook", "args": ["nvidia-cdi-hook"], "env": []});
    assert_eq!(all["hooks"], json!([hook]));
    place.machine.configure_files("nvidia");
    run(&mut place.cdi(&[])).ok();
    assert_eq!(
        place.json()["containerEdits"],
        json!({"env": ["NVIDIA_VISIBLE_DEVICES=void"]})
    );
}

/// One A100 with these instances.
fn cut(profiles: &[&str]) -> NodeSpec {
    let instance = |profile: &&str| InstanceSpec {
        profile: profile.to_string(),
        ..Default::default()
    };
    NodeSpec {
        gpus: vec![GpuSpec {
            instances: profiles.iter().map(instance).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn it_is_written_whole_open_to_all_and_says_what_changed() {
    let place = Place::of(Machine::of(&cut(&["3g.40gb", "1g.10gb"])));
    let before = place.machine.devices().expect("devices");
    let path = place.path();
    const WARNING: &str =
        "whoever takes one with --device takes no lease: another container may have the same one";
    let first = run(&mut place.cdi(&[])).ok();
    assert_eq!(
        first.stdout,
        format!("{}: 2 MIG devices of kind {KIND}\n{WARNING}\n", path.display())
    );
    let mode = std::fs::metadata(&path).expect("the file").permissions();
    assert_eq!(mode.mode() & 0o7777, 0o644);
    assert_eq!(place.files(), ["mig.json"], "nothing is left beside it");
    let text = place.text();
    let printed = run(&mut place.cdi_to("-".as_ref(), &[])).ok();
    assert_eq!(
        printed.stdout, text,
        "standard output has the file and nothing else"
    );
    // An administrator's mode stays.
    std::fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("chmod");
    place
        .machine
        .repartition(&cut(&["3g.40gb", "3g.40gb"]))
        .expect("a repartition");
    let after = place.machine.devices().expect("devices");
    let said = run(&mut place.cdi(&[])).ok().stdout;
    let lines: BTreeSet<&str> = said.lines().collect();
    assert!(lines.contains(format!("- {}", before[1].uuid).as_str()), "{said}");
    assert!(lines.contains(format!("+ {}", after[1].uuid).as_str()), "{said}");
    assert!(!said.contains(&before[0].uuid), "{said}");
    let mode = std::fs::metadata(&path).expect("the file").permissions();
    assert_eq!(mode.mode() & 0o7777, 0o640);
    assert_eq!(place.files(), ["mig.json"]);
}

/// A device whose node can't be had isn't offered, and that is said.
#[test]
fn what_can_not_be_given_is_left_out() {
    let place = Place::named("mig-off");
    std::fs::remove_file(place.machine.dev().join("nvidia0")).expect("a node");
    let said = run(&mut place.cdi(&[])).ok().stdout;
    let [gone, there] = [0, 1].map(|index| place.machine.whole_gpu(index).uuid);
    assert!(
        said.contains(&format!("left out: {gone}: ")) && said.contains("nvidia0 is not the device"),
        "{said}"
    );
    assert_eq!(names(&place.json()), BTreeSet::from(["1".to_owned(), there]));
}
