//! A container that asks has the driver's files: NVIDIA's real ones, in each layout of libraries, with each engine; and
//! nothing that its image or its environment brings changes what is done on the host.

mod asked;
mod engines;
mod hostile;
mod toolkit;
mod traced;
mod twice;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::driver::{self, Layout};
use crate::support::machine::Machine;
use crate::support::process::Outcome;
use crate::support::runtime::{Engine, Runtime, everywhere};

const ASKS: (&str, &str) = ("mig.profile", "1g.10gb");

/// What the container says of itself: its mounts, whether it has a cache for its loader, and what libcuda answers.
const SCRIPT: &str =
    "cat /proc/self/mountinfo; ls /etc/ld.so.cache 2>/dev/null; [ ! -e /cuda_init ] || /cuda_init || true";

/// The libraries of compute and utility in R535, each with its SONAME's number, none where that is its whole name.
const LIBRARIES: [(&str, Option<u32>); 9] = [
    ("libcuda", Some(1)),
    ("libcudadebugger", Some(1)),
    ("libnvidia-allocator", Some(1)),
    ("libnvidia-cfg", Some(1)),
    ("libnvidia-ml", Some(1)),
    ("libnvidia-nvvm", Some(4)),
    ("libnvidia-opencl", Some(1)),
    ("libnvidia-pkcs11-openssl3", None),
    ("libnvidia-ptxjitcompiler", Some(1)),
];

/// The rest of compute and utility. Debian's nvidia-persistenced is of another version than the driver.
const OTHERS: [&str; 5] = [
    "/usr/bin/nvidia-cuda-mps-control",
    "/usr/bin/nvidia-cuda-mps-server",
    "/usr/bin/nvidia-debugdump",
    "/usr/bin/nvidia-smi",
    "/etc/OpenCL/vendors/nvidia.icd",
];

/// A machine with the real driver's files.
fn machine() -> Machine {
    Machine::with_driver(&driver::root(), &driver::version())
}

/// A container in that root file system.
fn bundle(root: &Path, script: &str) -> Bundle {
    let mut bundle = Bundle::new().annotation(ASKS.0, ASKS.1).script(script);
    bundle.config["root"]["path"] = json!(root);
    bundle
}

/// How a container gets its device and the driver's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// oci-mig-runtime writes them into its config.json.
    Interposed,
    /// A createRuntime hook puts them into the container that exists already.
    Live,
}

impl Door {
    const ALL: [Door; 2] = [Door::Interposed, Door::Live];

    fn engine(self, machine: &Machine, runtime: Runtime, view: View) -> Engine {
        match self {
            Door::Interposed => Engine::new(runtime, view).interposed(machine),
            Door::Live => Engine::new(runtime, view),
        }
    }

    /// The bundle, with our hooks in it where they are needed.
    fn bundle(self, machine: &Machine, root: &Path, script: &str) -> Bundle {
        let bundle = bundle(root, script);
        match self {
            Door::Interposed => bundle,
            Door::Live => bundle.with(|config| config["hooks"] = machine.bundle().config["hooks"].take()),
        }
    }
}

/// One of a low-level runtime behind ours.
fn engine(machine: &Machine) -> Engine {
    Engine::new(Runtime::Runc, Runtime::Runc.views()[0]).interposed(machine)
}

/// A mount, as the container sees it.
#[derive(Clone, Debug)]
struct Mounted {
    point: String,
    options: Vec<String>,
}

/// The mounts of the driver's files, from a container's mountinfo.
fn mounted(mountinfo: &str) -> Vec<Mounted> {
    let lines = mountinfo.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let theirs = lines.filter(|words| words.len() > 6 && words[3].contains("real-driver/root/"));
    theirs
        .map(|words| Mounted {
            // Where /lib is a link, it lies behind that.
            point: words[4].replace("/usr/lib/firmware", "/lib/firmware"),
            options: words[5].split(',').map(str::to_owned).collect(),
        })
        .collect()
}

/// What `compute,utility` is in a layout.
fn usual(layout: Layout) -> BTreeSet<String> {
    let (folder, version) = (layout.folder(), driver::version());
    let mut expected: BTreeSet<String> = OTHERS.map(str::to_owned).into();
    for (name, number) in LIBRARIES {
        expected.insert(format!("{folder}/{name}.so.{version}"));
        expected.extend(number.map(|number| format!("{folder}/{name}.so.{number}")));
    }
    expected.insert(format!("{folder}/libcuda.so"));
    for name in ["gsp_ga10x.bin", "gsp_tu10x.bin"] {
        expected.insert(format!("/lib/firmware/nvidia/{version}/{name}"));
    }
    expected
}

/// The container saw exactly the files of `compute,utility`, read-only, and loads them without a cache.
#[track_caller]
fn assert_usual(layout: Layout, outcome: &Outcome, who: &str) {
    let mounted = mounted(&outcome.stdout);
    let points: BTreeSet<String> = mounted.iter().map(|mount| mount.point.clone()).collect();
    assert_eq!(points, usual(layout), "{who}: {outcome}");
    assert_eq!(points.len(), mounted.len(), "{who}: each once: {outcome}");
    for mount in mounted {
        for option in ["ro", "nosuid", "nodev"] {
            assert!(
                mount.options.iter().any(|found| found == option),
                "{who}: {mount:?}"
            );
        }
    }
    assert!(!outcome.stdout.contains("/etc/ld.so.cache"), "{who}: {outcome}");
    if layout != Layout::Static {
        // The driver's own answer, where there is no device: not the loader's.
        assert!(outcome.stdout.ends_with("cuInit: 100\n"), "{who}: {outcome}");
    }
}

#[test]
fn each_layout_gets_exactly_the_right_files_and_loads_them() {
    for layout in [Layout::Multiarch, Layout::Lib64, Layout::Static] {
        for (runtime, view) in everywhere() {
            for door in Door::ALL {
                let machine = machine();
                let who = format!("{runtime} {view} {layout:?} {door:?}");
                let root = layout.rootfs();
                let bundle = door.bundle(&machine, root.path(), SCRIPT).write();
                let outcome = door.engine(&machine, runtime, view).run(&bundle).ok();
                assert_eq!(outcome.stderr, "", "{who}");
                assert_usual(layout, &outcome, &who);
                machine.assert_free(&who);
            }
        }
    }
}

#[test]
fn the_drivers_own_program_runs_there() {
    let (machine, root) = (machine(), Layout::Multiarch.rootfs());
    let bundle = bundle(root.path(), "nvidia-smi; echo $?")
        .env("PATH", "/usr/bin:/bin")
        .write();
    let outcome = engine(&machine).run(&bundle).ok();
    // It has NVML, and the simulated node has no driver behind its device.
    assert!(
        outcome
            .stdout
            .contains("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver"),
        "{outcome}"
    );
}
