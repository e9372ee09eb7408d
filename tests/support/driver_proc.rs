//! The driver's folder in a container's procfs. The machines that tests run on have no driver, so a hook before ours
//! mounts the simulated node's there: from then on all is as on a machine with one.

use std::fs;
use std::path::{Path, PathBuf};

use fake_node::Device;

use super::machine::Machine;
use super::scratch::Scratch;

/// Says every file below the driver's folder, one a line, and what the parameters say of device files.
pub const LIST: &str = "cd /proc/driver/nvidia && find . -type f | sort && grep ModifyDeviceFiles params";

/// The hook's program.
pub fn installer(machine: &Machine, folder: &Scratch) -> PathBuf {
    let driver = machine.proc().join("driver");
    let script = format!(
        "#!/bin/sh\n\
         state=$(cat | tr -d '\\n')\n\
         pid=$(printf %s \"$state\" | sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/')\n\
         cd \"$(printf %s \"$state\" | sed 's/.*\"bundle\": *\"\\([^\"]*\\)\".*/\\1/')\" || exit 1\n\
         root=$(tr -d '\\n' <config.json | sed 's/.*\"root\": *{{[^}}]*\"path\": *\"\\([^\"]*\\)\".*/\\1/')\n\
         root=$(cd \"$root\" && pwd) || exit 1\n\
         exec nsenter --mount --target \"$pid\" mount --bind {} \"$root/proc/driver\"\n",
        driver.display()
    );
    folder.program("install-driver", &script)
}

/// What [`LIST`] says in a container that has this device.
pub fn seen_with(machine: &Machine, own: &Device) -> String {
    let gpus = machine.proc().join("driver/nvidia/gpus");
    let minor = format!("Device Minor: \t {}\n", own.gpu_minor);
    let entries = fs::read_dir(&gpus).expect("the node's GPUs");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let mut of_own = names.filter(|name| read(&gpus.join(name).join("information")).contains(&minor));
    let gpu = of_own.next().expect("its GPU");
    let (gi, ci) = instance(machine, own);
    let mig = format!("./capabilities/gpu{}/mig", own.gpu_minor);
    format!(
        "{mig}/{gi}/access\n{mig}/{gi}/{ci}/access\n./gpus/{gpu}/information\n./params\n./version\n\
         ModifyDeviceFiles: 0\n"
    )
}

/// The names of its GPU instance and compute instance, found by the minors of their nodes.
fn instance(machine: &Machine, own: &Device) -> (String, String) {
    let mig = machine
        .proc()
        .join(format!("driver/nvidia/capabilities/gpu{}/mig", own.gpu_minor));
    (folder_of(&mig, own.gi_minor), {
        let gi = mig.join(folder_of(&mig, own.gi_minor));
        folder_of(&gi, own.ci_minor)
    })
}

fn folder_of(parent: &Path, minor: u32) -> String {
    let line = format!("DeviceFileMinor: {minor}\n");
    let entries = fs::read_dir(parent).expect("instances");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let mut found = names.filter(|name| read(&parent.join(name).join("access")).contains(&line));
    found.next().expect("an instance")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
