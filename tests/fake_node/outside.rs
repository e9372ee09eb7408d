//! The node seen by clients that nobody here wrote (nvml-wrapper, nvidia-ml-py), and beside the real library.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::Path;
use std::process::Command;

use nvml_wrapper::Nvml;
use serde::Deserialize;

use crate::{all_names, ask, known, load};

/// A MIG device as a client sees it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Seen {
    gpu: String,
    minor: u32,
    index: u32,
    uuid: String,
    gi: u32,
    ci: u32,
    profile: String,
    memory_mib: u64,
}

fn laid_out(node: &fake_node::Node) -> Vec<Seen> {
    let state = node.state().unwrap();
    let devices = node.devices().unwrap().into_iter();
    devices
        .filter(|device| !state.faults.lost.contains(&device.gpu))
        .map(|device| Seen {
            gpu: device.gpu_uuid,
            minor: device.gpu_minor,
            index: device.index,
            uuid: device.uuid,
            gi: device.gi,
            ci: device.ci,
            profile: device.profile,
            memory_mib: device.memory_mib,
        })
        .collect()
}

/// Runs a program of this repository; what it needs to be there is in its own message.
fn output(command: &mut Command) -> String {
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {said}");
    String::from_utf8(done.stdout).expect("UTF-8")
}

fn script(path: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path))
}

/// A folder that outlives the test, for what is downloaded once.
fn downloads(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"))
}

#[test]
fn nvidia_ml_py_lists_the_same_devices_on_every_node() {
    let python = output(script("setup.d/nvidia-ml-py").arg(downloads("nvidia-ml-py")));
    for name in all_names() {
        let node = known(&name);
        let mut list = Command::new(python.trim());
        list.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nvidia-ml-py/list.py"));
        let listed = output(list.env("LD_LIBRARY_PATH", node.dir().join("lib")));
        let seen: Vec<Seen> = serde_json::from_str(&listed).unwrap();
        assert_eq!(seen, laid_out(&node), "{name}");
    }
}

#[test]
fn nvml_wrapper_lists_the_same_devices_on_every_node() {
    for name in all_names() {
        let node = known(&name);
        let nvml = Nvml::builder()
            .lib_path(node.library().as_os_str())
            .init()
            .unwrap();
        let mut seen = BTreeMap::new();
        for gpu in (0..nvml.device_count().unwrap()).filter_map(|index| nvml.device_by_index(index).ok()) {
            for index in 0..gpu.mig_device_count().unwrap() {
                let Ok(part) = gpu.mig_device_by_index(index) else {
                    continue;
                };
                let attributes = part.attributes().unwrap();
                let parent = part.mig_parent_device().unwrap();
                assert_eq!(parent.minor_number().unwrap(), gpu.minor_number().unwrap());
                seen.insert(
                    part.uuid().unwrap(),
                    (index, part.name().unwrap(), attributes.memory_size_mb),
                );
            }
        }
        let state = node.state().unwrap();
        let gpu_name = |uuid: &str| {
            state
                .gpus
                .iter()
                .find(|gpu| gpu.uuid == uuid)
                .unwrap()
                .name
                .clone()
        };
        let expected: BTreeMap<_, _> = laid_out(&node)
            .into_iter()
            .map(|device| {
                let name = format!("{} MIG {}", gpu_name(&device.gpu), device.profile);
                (device.uuid, (device.index, name, device.memory_mib))
            })
            .collect();
        assert_eq!(seen, expected, "{name}");
    }
}

#[test]
fn texts_and_names_are_the_real_librarys() {
    let path = output(script("setup.d/real-nvml").arg(downloads("real-nvml")));
    let real = load(Path::new(path.trim()));
    let node = known("one-gpu");
    let ours = load(&node.library());
    // 28 and above came with later drivers than Debian has.
    for code in (0..28).chain([999]) {
        let [text, expected] = [&ours, &real].map(|lib| {
            let text = ask!(lib, nvmlErrorString(code));
            // SAFETY: NVML's error strings are static.
            unsafe { CStr::from_ptr(text) }.to_owned()
        });
        assert_eq!(text, expected, "{code}");
    }
    let exported = |library: &Path| {
        let file = std::fs::read(library).unwrap();
        move |name: &str| {
            let wanted = [b"\0", name.as_bytes(), b"\0"].concat();
            file.windows(wanted.len()).any(|bytes| bytes == wanted)
        }
    };
    let real = exported(Path::new(path.trim()));
    for name in fake_node::exported_functions() {
        // R580 and later.
        if name != "nvmlDeviceGetGpuInstanceProfileInfoByIdV" {
            assert!(real(name), "{name}");
        }
    }
}
