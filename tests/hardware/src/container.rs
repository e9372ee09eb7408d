//! Containers behind oci-mig-runtime, in a root file system that has glibc and nothing of NVIDIA's.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::machine::{CGROUP, Device, Machine};

/// What glibc's programs need, those of the driver among them.
const LIBRARIES: [&str; 7] = [
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libgcc_s.so.1",
    "libstdc++.so.6",
];

/// The loader, as every program of this architecture names it.
const LOADER: &str = if cfg!(target_arch = "aarch64") {
    "/lib/ld-linux-aarch64.so.1"
} else {
    "/lib64/ld-linux-x86-64.so.2"
};

/// Where distributions have their libraries.
const FOLDERS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];

/// A container that is made anew for each program.
pub struct Container<'a> {
    machine: &'a Machine,
    device: &'a Device,
    number: Cell<u32>,
}

impl<'a> Container<'a> {
    /// Makes its root file system.
    pub fn new(machine: &'a Machine, device: &'a Device) -> Result<Container<'a>> {
        let root = machine.scratch.join("rootfs");
        for folder in [
            "usr/bin",
            "usr/lib",
            "usr/lib64",
            "dev",
            "proc",
            "sys",
            "tmp",
            "etc",
            "run",
        ] {
            fs::create_dir_all(root.join(folder))?;
        }
        for (link, target) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
            symlink(target, root.join(link))?;
        }
        copy(Path::new(LOADER), &root.join(&LOADER[1..]))?;
        let folder = FOLDERS
            .map(Path::new)
            .into_iter()
            .find(|folder| folder.join("libc.so.6").exists());
        let folder = folder.context("no glibc on this machine")?;
        fs::create_dir_all(root.join(folder.strip_prefix("/")?))?;
        for name in LIBRARIES {
            let library = folder.join(name);
            if library.exists() {
                copy(&library, &root.join(library.strip_prefix("/")?))?;
            }
        }
        copy(
            &machine.program("cuda-in-container"),
            &root.join("cuda-in-container"),
        )?;
        Ok(Container {
            machine,
            device,
            number: Cell::new(0),
        })
    }

    /// Runs a program in a fresh container that asks for the device.
    pub fn run(&self, args: &[&str]) -> Result<Output> {
        let number = self.number.replace(self.number.get() + 1);
        let id = format!("oci-mig-hook-hardware-{}-{number}", std::process::id());
        let bundle = self.machine.scratch.join(&id);
        fs::create_dir(&bundle)?;
        fs::write(bundle.join("config.json"), self.config(&id, args).to_string())?;
        let mut command = Command::new(self.machine.program("oci-mig-runtime"));
        command.env("OCI_MIG_HOOK_CONFIG", &self.machine.config);
        command.arg("--root").arg(self.machine.scratch.join("state"));
        command.args(["run", "--bundle"]).arg(&bundle).arg(&id);
        command.output().context("oci-mig-runtime")
    }

    fn config(&self, id: &str, args: &[&str]) -> Value {
        config(&self.machine.scratch.join("rootfs"), id, args, &self.device.name)
    }
}

/// An ordinary container's config.json, which asks for that device.
pub fn config(root: &Path, id: &str, args: &[&str], device: &str) -> Value {
    let bind = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    let namespaces = ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/usr/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {"bounding": [], "effective": [], "permitted": []},
        },
        "root": {"path": root, "readonly": false},
        "hostname": "hardware",
        "annotations": {"mig.device": device},
        "mounts": [
            bind("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            bind("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            bind("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        ],
        "linux": {
            "namespaces": namespaces,
            "cgroupsPath": format!("/{CGROUP}/{id}"),
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
        },
    })
}

/// The file that a path leads to, links followed.
fn copy(from: &Path, to: &PathBuf) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}
