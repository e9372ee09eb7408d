//! What `fake-node up` lays out: /proc's formats, device nodes, and what it refuses to.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use fake_node::{Node, NodeSpec, Scratch, down, up_spec};

use crate::{all_names, known, node, up};

/// Character majors that drivers of this very machine have.
fn majors_of_this_machine() -> BTreeSet<u32> {
    let devices = fs::read_to_string("/proc/devices").unwrap();
    let characters = devices.split("Block devices:").next().unwrap();
    characters
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect()
}

fn rdev(path: &Path) -> (u64, u64) {
    let device = fs::metadata(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .rdev();
    (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00)
}

#[test]
fn every_node_has_device_nodes_that_no_driver_answers() {
    let real = majors_of_this_machine();
    for name in all_names() {
        let node = known(&name);
        let gpus = fs::read_dir(node.dev())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_char_device());
        for entry in gpus {
            let path = entry.unwrap().path();
            let meta = fs::metadata(&path).unwrap();
            assert_eq!(
                (meta.mode() & 0o7777, meta.uid(), meta.gid()),
                (0o666, 0, 0),
                "{}",
                path.display()
            );
            assert!(!real.contains(&(rdev(&path).0 as u32)), "{}", path.display());
            let refused = fs::File::open(&path).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::ENXIO), "{}", path.display());
        }
        assert_eq!(rdev(&node.dev().join("nvidiactl")).1, 255, "{name}");
        assert_eq!(rdev(&node.dev().join("nvidia-uvm-tools")).1, 1, "{name}");
    }
}

#[test]
fn a_capability_has_its_access_file_and_its_node() {
    let node = known("dgx-a100");
    let major = u64::from(node.major("nvidia-caps").unwrap());
    let devices = node.devices().unwrap();
    assert_eq!(devices.len(), 26);
    for device in &devices {
        let gi = format!(
            "driver/nvidia/capabilities/gpu{}/mig/gi{}",
            device.gpu_minor, device.gi
        );
        for (file, minor) in [
            (format!("{gi}/access"), device.gi_minor),
            (format!("{gi}/ci{}/access", device.ci), device.ci_minor),
        ] {
            let text = fs::read_to_string(node.proc().join(&file)).unwrap();
            assert_eq!(
                text,
                format!("DeviceFileMinor: {minor}\nDeviceFileMode: 292\nDeviceFileModify: 1\n")
            );
            let path = node.dev().join(format!("nvidia-caps/nvidia-cap{minor}"));
            assert_eq!(rdev(&path), (major, u64::from(minor)));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o444);
        }
    }
    // GPU 0 of a DGX A100 is /dev/nvidia2: its first capability is gi7's, 3 + 135 * 2 + 9 * 7.
    assert_eq!(
        (devices[0].gpu, devices[0].gpu_minor, devices[0].gi_minor),
        (0, 2, 336)
    );
    let text = |file: &str| fs::read_to_string(node.proc().join(file)).unwrap();
    let minors = text("driver/nvidia-caps/mig-minors");
    assert_eq!(minors.lines().count(), 4322);
    assert!(minors.contains("\ngpu2/gi7/access 336\n"));
    assert!(text("driver/nvidia/capabilities/mig/config").starts_with("DeviceFileMinor: 1\n"));
    assert!(text("driver/nvidia/capabilities/mig/monitor").starts_with("DeviceFileMinor: 2\n"));
}

#[test]
fn the_drivers_files_name_the_driver_and_the_gpus() {
    let node = known("excluded-lost");
    let text = |file: &str| fs::read_to_string(node.proc().join("driver/nvidia").join(file)).unwrap();
    assert!(text("version").starts_with("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  "));
    assert!(text("params").contains("\nModifyDeviceFiles: 1\n"));
    let excluded = text("gpus/0000:07:00.0/information");
    assert!(
        excluded.contains("\nDevice Minor: \t 0\n") && excluded.ends_with("\nGPU Excluded:\t Yes\n"),
        "{excluded}"
    );
    let counted = text("gpus/0000:0f:00.0/information");
    assert!(
        counted.starts_with("Model: \t\t NVIDIA A100-SXM4-80GB\n"),
        "{counted}"
    );
    assert!(
        counted.contains("\nDevice Minor: \t 1\n") && counted.ends_with("\nGPU Excluded:\t No\n"),
        "{counted}"
    );
    let capabilities = node.proc().join("driver/nvidia/capabilities");
    assert!(!capabilities.join("gpu0").exists() && capabilities.join("gpu1/mig").is_dir());
}

#[test]
fn the_devices_file_names_the_majors_as_that_driver_does() {
    for (name, gpus) in [("old-driver", "nvidia-frontend"), ("one-gpu", "nvidia")] {
        let node = known(name);
        let devices = fs::read_to_string(node.proc().join("devices")).unwrap();
        for major in [gpus, "nvidia-caps", "nvidia-uvm"] {
            let line = format!("{:3} {major}\n", node.major(major).unwrap());
            assert!(devices.contains(&line), "{devices}");
        }
        assert_eq!(devices.contains("nvidia-frontend"), name == "old-driver");
    }
    let asked = node(r#"{"majors": {"nvidia-caps": 508}, "gpus": [{}]}"#);
    assert_eq!(asked.major("nvidia-caps").unwrap(), 508);
}

#[test]
fn capability_nodes_can_be_missing_or_stale() {
    let missing = known("missing-caps");
    assert_eq!(
        fs::read_dir(missing.dev().join("nvidia-caps")).unwrap().count(),
        0
    );
    let stale = known("stale-caps");
    let minor = stale.devices().unwrap()[0].gi_minor;
    let (major, kept) = rdev(&stale.dev().join(format!("nvidia-caps/nvidia-cap{minor}")));
    assert_eq!(kept, u64::from(minor));
    assert_ne!(major, u64::from(stale.major("nvidia-caps").unwrap()));
}

#[test]
fn what_contradicts_itself_is_refused_and_leaves_nothing() {
    let full = r#"{"gpus": [{"instances": [{"profile": "3g.40gb"}, {"profile": "7g.80gb"}]}]}"#;
    let cases = [
        (full, "no room left"),
        (
            r#"{"gpus": [{"instances": [{"profile": "9g.80gb"}]}]}"#,
            "it has 1g.10gb",
        ),
        (
            r#"{"gpus": [{"instances": [{"profile": "2g.20gb", "start": 1}]}]}"#,
            "0 (gi 3), 2 (gi 4), 4 (gi 5)",
        ),
        (
            r#"{"gpus": [{"mig": "disabled", "instances": [{"profile": "1g.10gb"}]}]}"#,
            "MIG enabled",
        ),
        (
            r#"{"gpus": [{"model": "b200-180gb", "instances": [{"profile": "7g.180gb"}]}]}"#,
            "known figures",
        ),
        (r#"{"gpus": [{"model": "b300"}]}"#, "give name"),
        (
            r#"{"gpus": [{"minor": 1}, {"minor": 1}]}"#,
            "minor 1 is given twice",
        ),
        (r#"{"gpus": [{"minor": 32}]}"#, "minors are below 32"),
        (
            r#"{"majors": {"nvidia": 1}, "gpus": [{}]}"#,
            "taken by another driver",
        ),
        (r#"{"driver": "latest", "gpus": []}"#, "no version"),
    ];
    for (json, why) in cases {
        let spec: NodeSpec = serde_json::from_str(json).unwrap();
        let error = Scratch::up_spec(&spec).expect_err(json);
        assert!(format!("{error:#}").contains(why), "{json}: {error:#}");
    }
    assert!(serde_json::from_str::<NodeSpec>(r#"{"gpu": []}"#).is_err());
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let node = known("one-gpu");
    let error = up_spec(&NodeSpec::default(), node.dir()).unwrap_err();
    assert!(format!("{error:#}").contains("not empty"), "{error:#}");
    assert_eq!(node.devices().unwrap().len(), 3);

    let other = std::env::temp_dir().join(format!("fake-node-none-{}", std::process::id()));
    fs::create_dir(&other).unwrap();
    fs::write(other.join("precious"), "").unwrap();
    assert!(down(&other).is_err() && other.join("precious").exists());
    fs::remove_dir_all(&other).unwrap();

    down(node.dir()).unwrap();
    assert_eq!(fs::metadata(node.dir()).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(Node::open(node.dir()).is_err());
}

#[test]
fn the_config_file_points_to_the_node() {
    let node = up(&NodeSpec::default());
    let config = oci_mig_hook::config::Config::load(Some(&node.config())).expect("a config of the product");
    assert_eq!(config.driver.proc, node.proc());
    assert_eq!(config.driver.dev, node.dev());
    assert_eq!(config.nvml.library.as_deref(), Some(node.library().as_path()));
    assert_eq!(config.ledger_dir, node.dir().join("run"));
}
