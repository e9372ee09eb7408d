//! What the container's environment asks of the driver's files, and what it is told of them.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use super::{SCRIPT, bundle, engine, machine, mounted, usual};
use crate::support::driver::{self, Layout};
use crate::support::machine::Machine;
use crate::support::process::Outcome;
use crate::support::rootfs;
use crate::support::runtime::{Runtime, everywhere};

/// The files of a container that asks for these capabilities.
fn given(machine: &Machine, capabilities: &str) -> BTreeSet<String> {
    let root = Layout::Multiarch.rootfs();
    let bundle = bundle(root.path(), SCRIPT)
        .env("NVIDIA_DRIVER_CAPABILITIES", capabilities)
        .write();
    let outcome = engine(machine).run(&bundle).ok();
    mounted(&outcome.stdout)
        .into_iter()
        .map(|mount| mount.point)
        .collect()
}

#[test]
fn more_and_fewer_capabilities_are_more_and_fewer_files() {
    let machine = machine();
    let usual = usual(Layout::Multiarch);
    assert_eq!(given(&machine, ""), usual);
    assert_eq!(given(&machine, "compute,utility"), usual);
    let utility = given(&machine, "utility");
    assert!(
        utility.is_subset(&usual) && !utility.iter().any(|path| path.contains("libcuda")),
        "{utility:?}"
    );
    let video = given(&machine, "video");
    let folder = Layout::Multiarch.folder();
    for name in ["libnvcuvid.so.1", "libnvidia-encode.so.1", "libcuda.so.1"] {
        assert!(video.contains(&format!("{folder}/{name}")), "{video:?}");
    }
    let all = given(&machine, "all");
    for name in [
        "libGLX_nvidia.so.0",
        "gbm/nvidia-drm_gbm.so",
        "libnvidia-ngx.so.1",
        "libGLX_indirect.so.0",
    ] {
        assert!(all.contains(&format!("{folder}/{name}")), "{all:?}");
    }
    assert!(all.contains("/usr/lib/i386-linux-gnu/libcuda.so.1"), "{all:?}");
    assert!(usual.is_subset(&all) && video.is_subset(&all));
}

/// packaging/doc/driver-files.md, of a driver of this series.
#[test]
fn each_capability_is_what_the_page_says() {
    const COMPUTE: &str = "libcuda libcudadebugger libnvidia-allocator libnvidia-nvvm libnvidia-opencl \
                           libnvidia-pkcs11-openssl3 libnvidia-ptxjitcompiler";
    const GRAPHICS: &str = "libEGL_nvidia libGLESv1_CM_nvidia libGLESv2_nvidia libGLX_nvidia libnvidia-allocator \
                            libnvidia-eglcore libnvidia-fbc libnvidia-glcore libnvidia-glsi libnvidia-glvkspirv \
                            libnvidia-rtcore libnvidia-tls libnvidia-vulkan-producer";
    let (machine, version) = (machine(), driver::version());
    let video = format!("{COMPUTE} libnvcuvid libnvidia-encode libnvidia-opticalflow libvdpau_nvidia");
    for (capability, libraries) in [
        ("compute", COMPUTE),
        ("utility", "libnvidia-cfg libnvidia-ml"),
        ("video", &video),
        ("graphics", GRAPHICS),
        ("display", GRAPHICS),
        ("ngx", "libnvidia-ngx"),
        ("compat32", ""),
    ] {
        let given = given(&machine, capability).into_iter();
        let names = given.filter_map(|path| {
            let name = path.rsplit('/').next()?.strip_suffix(&format!(".so.{version}"))?;
            Some(name.to_owned())
        });
        let names: BTreeSet<String> = names.collect();
        let expected: BTreeSet<String> = libraries.split_whitespace().map(str::to_owned).collect();
        assert_eq!(names, expected, "{capability}");
    }
}

#[test]
fn a_capability_that_is_none_stops_the_container() {
    let machine = machine();
    let line = "oci-mig-hook: variable NVIDIA_DRIVER_CAPABILITIES: 'cuda' is no driver capability; there are compute, \
                compat32, graphics, utility, video, display, ngx, and all\n";
    let asks = bundle(rootfs::shared(), "true").env("NVIDIA_DRIVER_CAPABILITIES", "compute,cuda");
    let outcome = machine.stage("precreate", &podmans(asks.config.clone()).to_string());
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (2, line), "{outcome}");
    assert_eq!(machine.leases(), 0);
    let outcome = engine(&machine).run(&asks.write()).failed();
    assert!(outcome.stderr.ends_with(line), "{outcome}");
    machine.assert_free("a capability that is none");
    // Where no files are given it asks for nothing.
    machine.configure_files("none");
    let asks = bundle(rootfs::shared(), "true")
        .env("NVIDIA_DRIVER_CAPABILITIES", "compute,cuda")
        .write();
    engine(&machine).run(&asks).ok();
}

/// The same as Podman would write it: with its container's id.
fn podmans(mut config: serde_json::Value) -> serde_json::Value {
    config["linux"]["cgroupsPath"] = json!(format!("/libpod_parent/libpod-{}", "ab".repeat(32)));
    config
}

#[test]
fn files_none_is_nodes_alone() {
    let (machine, root) = (machine(), Layout::Multiarch.rootfs());
    machine.configure_files("none");
    let outcome = engine(&machine).run(&bundle(root.path(), SCRIPT).write()).ok();
    assert!(mounted(&outcome.stdout).is_empty(), "{outcome}");
    assert!(
        outcome
            .stdout
            .contains("loader: libcuda.so.1: cannot open shared object file"),
        "{outcome}"
    );
}

const MUSL: &str = "oci-mig-hook: warning: this container's image has musl in place of glibc: NVIDIA's driver libraries are \
                    built for glibc, and don't load there; use an image with glibc, such as Debian's, Ubuntu's or Red Hat's\n";

#[test]
fn an_image_with_musl_is_told_of_and_runs() {
    for (runtime, view) in everywhere() {
        let (machine, root) = (machine(), rootfs::own());
        fs::create_dir(root.join("lib")).expect("a folder of ours");
        fs::write(root.join("lib/ld-musl-x86_64.so.1"), "").expect("a file of ours");
        let engine = crate::support::runtime::Engine::new(runtime, view).interposed(&machine);
        let outcome = engine.run(&bundle(root.path(), "echo runs").write()).ok();
        assert_eq!(
            (outcome.stdout.as_str(), outcome.stderr.as_str()),
            ("runs\n", MUSL),
            "{runtime} {view}"
        );
    }
}

#[test]
fn podman_passes_the_warning_on() {
    let (machine, root, folder) = (
        machine(),
        rootfs::own(),
        crate::support::scratch::Scratch::new("image"),
    );
    fs::create_dir(root.join("lib")).expect("a folder of ours");
    fs::write(root.join("lib/ld-musl-x86_64.so.1"), "").expect("a file of ours");
    let podman = machine.podman(Runtime::Runc, Runtime::Runc.views()[0], &[]);
    let archive = rootfs::pack(root.path(), &folder);
    let image = "localhost/musl";
    crate::support::process::run(podman.command("import").arg("--quiet").arg(archive).arg(image)).ok();
    let outcome = podman
        .run_image(image, &["--annotation=mig.profile=1g.10gb"], "echo runs")
        .ok();
    assert_eq!(outcome.stdout, "runs\n");
    assert!(outcome.stderr.contains(MUSL.trim_end()), "{outcome}");
}

/// Debian's NVML comes without CUDA's library.
#[test]
fn a_machine_without_libcuda_is_told_of_and_its_container_runs() {
    let machine = simulated();
    for name in ["libcuda.so.550.54.15", "libcuda.so.1", "libcuda.so"] {
        fs::remove_file(machine.dir().join("usr/lib/x86_64-linux-gnu").join(name))
            .expect("the fake's libcuda");
    }
    let root = Layout::Static.rootfs();
    let outcome = engine(&machine)
        .run(&bundle(root.path(), "echo runs").write())
        .ok();
    let line = "oci-mig-hook: warning: this machine has no libcuda.so of its driver's version: this container asks for it by \
                NVIDIA_DRIVER_CAPABILITIES (unset, it is compute,utility); install it, or correct driver.root\n";
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("runs\n", line)
    );
    let utility = bundle(root.path(), "true")
        .env("NVIDIA_DRIVER_CAPABILITIES", "utility")
        .write();
    assert_eq!(engine(&machine).run(&utility).ok().stderr, "");
}

/// A machine with the simulated driver's files.
fn simulated() -> Machine {
    let path = fake_node::nodes_dir().join("one-gpu.json");
    Machine::of(&fake_node::NodeSpec {
        driver_files: true,
        ..fake_node::NodeSpec::read(&path).expect("a node of this repository")
    })
}

#[test]
fn sockets_are_sockets_there_and_nothing_in_their_mount_runs() {
    use std::os::unix::net::UnixListener;
    let machine = simulated();
    for folder in ["run/nvidia-persistenced", "tmp/nvidia-mps"] {
        fs::create_dir_all(machine.dir().join(folder)).expect("a folder of ours");
    }
    let _persistenced =
        UnixListener::bind(machine.dir().join("run/nvidia-persistenced/socket")).expect("a socket");
    let _mps = UnixListener::bind(machine.dir().join("tmp/nvidia-mps/control")).expect("a socket");
    let script = "for socket in /run/nvidia-persistenced/socket /tmp/nvidia-mps/control; do \
                  [ -S $socket ] && echo $socket; done; cat /proc/self/mountinfo";
    for (runtime, view) in everywhere() {
        let root = Layout::Static.rootfs();
        let engine = crate::support::runtime::Engine::new(runtime, view);
        let machine = &machine;
        machine.configure_runtime(&runtime.program());
        let engine = engine.interposed_by(machine.config());
        let outcome = engine.run(&bundle(root.path(), script).write()).ok();
        let said: Vec<&str> = outcome.stdout.lines().collect();
        let sockets = ["/run/nvidia-persistenced/socket", "/tmp/nvidia-mps/control"];
        assert_eq!(said[..2], sockets, "{runtime} {view}: {outcome}");
        for point in ["/run/nvidia-persistenced/socket", "/tmp/nvidia-mps"] {
            let options = said.iter().find_map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                (words.get(4) == Some(&point)).then(|| words[5].split(',').collect::<Vec<_>>())
            });
            let options =
                options.unwrap_or_else(|| panic!("{runtime} {view}: nothing at {point}: {outcome}"));
            for option in ["rw", "nosuid", "nodev", "noexec"] {
                assert!(
                    options.contains(&option),
                    "{runtime} {view}: {point}: {options:?}"
                );
            }
        }
    }
}

/// A config.json that comes without its root file system, or before it.
#[test]
fn where_nobody_can_look_each_folder_that_may_be_right_gets_them() {
    for root in [json!("rootfs"), json!("/nonexistent/rootfs")] {
        let machine = machine();
        let mut config = podmans(bundle(rootfs::shared(), "true").config);
        config["root"]["path"] = root.clone();
        let outcome = machine.stage("precreate", &config.to_string()).ok();
        let edited: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("config.json");
        let mounts = edited["mounts"].as_array().expect("mounts");
        let has = |path: &str| mounts.iter().any(|mount| mount["destination"] == path);
        assert!(
            has("/usr/lib64/libcuda.so.1") && has("/usr/lib/x86_64-linux-gnu/libcuda.so.1"),
            "{root}"
        );
        let expected = "oci-mig-hook: warning: can't look at this container's root file system: ";
        assert!(outcome.stderr.starts_with(expected), "{outcome}");
    }
}

#[test]
fn a_machine_without_the_drivers_libraries_refuses() {
    let machine = Machine::with_driver(&driver::root(), "550.54.15");
    let outcome: Outcome = machine.stage(
        "precreate",
        &podmans(bundle(rootfs::shared(), "true").config).to_string(),
    );
    let line = format!(
        "oci-mig-hook: no library of the NVIDIA driver 550.54.15 is below {}: there are those of {}; the kernel still runs \
         the driver of before an upgrade: reboot, or load its modules anew\n",
        driver::root().display(),
        driver::version()
    );
    assert_eq!((outcome.code(), outcome.stderr), (3, line));
    assert_eq!(machine.leases(), 0);
}
