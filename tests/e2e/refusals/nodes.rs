//! Device nodes on the host: a capability's is made where nobody has, or where an older driver's still stands. What
//! can't be put right stops the container, with the node's name and the command that makes it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use fake_node::Device;
use rustix::fs::{major, minor};

use super::{ASKS, Annotations, HOST, assert_says, config, refuses, serves};
use crate::support::machine::{Machine, PROGRAM};
use crate::support::process::{run, run_with};

const DRIVERS_TOOLS: &str = "make the driver's nodes with 'nvidia-modprobe -u -c0' and 'nvidia-smi'";

/// The device that [`ASKS`] gets on `one-gpu`.
fn own(machine: &Machine) -> Device {
    machine.device("1g.10gb")
}

/// The nodes of its two capabilities, GPU instance first.
fn caps(machine: &Machine, own: &Device) -> [PathBuf; 2] {
    [own.gi_minor, own.ci_minor].map(|minor| machine.dev().join(format!("nvidia-caps/nvidia-cap{minor}")))
}

/// The capability's node is what it should be: its number, read-only for all, root's.
#[track_caller]
fn assert_right(machine: &Machine, path: &Path, number: u32) {
    let found = fs::symlink_metadata(path).expect("the node");
    assert!(found.file_type().is_char_device(), "{}", path.display());
    let caps = machine.major("nvidia-caps").expect("a major");
    assert_eq!(
        (major(found.rdev()), minor(found.rdev())),
        (caps, number),
        "{}",
        path.display()
    );
    assert_eq!(
        (found.mode() & 0o7777, found.uid(), found.gid()),
        (0o444, 0, 0),
        "{}",
        path.display()
    );
}

#[track_caller]
fn assert_served(machine: &Machine, own: &Device) {
    serves(machine);
    let [gi, ci] = caps(machine, own);
    assert_right(machine, &gi, own.gi_minor);
    assert_right(machine, &ci, own.ci_minor);
    let folder = fs::read_dir(machine.dev().join("nvidia-caps")).expect("the folder");
    let hidden = folder
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"."));
    assert_eq!(hidden.count(), 0, "half-made nodes");
}

#[test]
fn missing_ones_are_made() {
    let machine = Machine::named("one-gpu");
    let own = own(&machine);
    fs::remove_dir_all(machine.dev().join("nvidia-caps")).expect("no capabilities");
    assert_served(&machine, &own);
    let folder = fs::metadata(machine.dev().join("nvidia-caps")).expect("the folder");
    assert_eq!(folder.mode() & 0o7777, 0o755);
}

#[test]
fn stale_ones_are_replaced() {
    let machine = Machine::named("one-gpu");
    let own = own(&machine);
    let [gi, ci] = caps(&machine, &own);
    // Another driver's, and a link that must not be followed.
    run(Command::new("rm").args([&gi, &ci])).ok();
    run(Command::new("mknod").arg(&gi).args(["c", "1", "3"])).ok();
    let victim = machine.dir().join("victim");
    fs::write(&victim, "as it was").expect("a file");
    symlink(&victim, &ci).expect("a link");
    assert_served(&machine, &own);
    assert_eq!(fs::read_to_string(&victim).expect("the file"), "as it was");
}

/// A umask is the engine's affair, and not the node's.
#[test]
fn whatever_the_umask() {
    let machine = Machine::named("one-gpu");
    let own = own(&machine);
    fs::remove_dir_all(machine.dev().join("nvidia-caps")).expect("no capabilities");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "umask 0777; exec \"$@\"",
        "sh",
        PROGRAM,
        "precreate",
        "--config",
    ]);
    run_with(command.arg(machine.config()), &config(ASKS).to_string()).ok();
    let [gi, ci] = caps(&machine, &own);
    assert_right(&machine, &gi, own.gi_minor);
    assert_right(&machine, &ci, own.ci_minor);
}

/// The file that describes the capability of its GPU instance.
fn access(machine: &Machine, own: &Device) -> PathBuf {
    let gpu = format!("driver/nvidia/capabilities/gpu{}", own.gpu_minor);
    machine.proc().join(gpu).join(format!("mig/gi{}/access", own.gi))
}

/// Where the driver was loaded with `NVreg_ModifyDeviceFiles=0`, its nodes are another's to make.
#[test]
fn where_the_driver_forbids_making_them() {
    for spoil in [
        |path: &Path| fs::remove_file(path).expect("no node"),
        |path: &Path| {
            fs::write(path.with_extension("new"), "")
                .and_then(|()| fs::rename(path.with_extension("new"), path))
                .expect("a file")
        },
    ] {
        let machine = Machine::named("one-gpu");
        let own = own(&machine);
        let access = access(&machine, &own);
        let text = fs::read_to_string(&access).expect("access");
        fs::write(
            &access,
            text.replace("DeviceFileModify: 1", "DeviceFileModify: 0"),
        )
        .expect("access");
        let [gi, _] = caps(&machine, &own);
        spoil(&gi);
        let line = format!(
            "no capability node {}: it is missing or stale, and the driver forbids making it (ModifyDeviceFiles: 0); \
             make it as the driver was set up to: by udev, or a driver container",
            gi.display()
        );
        refuses(&machine, ASKS, HOST, &line);
        // A right one will do, whoever made it.
        run(Command::new("rm").arg("-f").arg(&gi)).ok();
        let (major, minor) = (machine.major("nvidia-caps").expect("a major"), own.gi_minor);
        run(Command::new("mknod").args(["-m", "444"]).arg(&gi).args([
            "c",
            &major.to_string(),
            &minor.to_string(),
        ]))
        .ok();
        serves(&machine);
    }
}

#[test]
fn where_the_folder_is_read_only() {
    let machine = Machine::named("one-gpu");
    let own = own(&machine);
    let [gi, _] = caps(&machine, &own);
    fs::remove_file(&gi).expect("no node");
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command
        .arg(machine.dev())
        .args([PROGRAM, "precreate", "--config"])
        .arg(machine.config());
    let line = format!(
        "can't make {}: Read-only file system (os error 30); \
         make it with 'nvidia-modprobe -f' and the capability's access file",
        gi.display()
    );
    assert_says(&run_with(&mut command, &config(ASKS).to_string()), HOST, &line);
    assert_eq!(machine.leases(), 0);
}

/// The driver's own tools make these; they are only looked at.
#[test]
fn the_drivers_own_are_missing_or_wrong() {
    let numbers = |machine: &Machine, name: &str, minor: u32| {
        format!("{}:{minor}", machine.major(name).expect("a major"))
    };
    for (name, of, minor) in [
        ("nvidiactl", "nvidia", 255),
        ("nvidia-uvm", "nvidia-uvm", 0),
        ("nvidia-uvm-tools", "nvidia-uvm", 1),
        ("nvidia0", "nvidia", 0),
    ] {
        let machine = Machine::named("one-gpu");
        let path = machine.dev().join(name);
        let what = format!(
            "{} is not the device {}",
            path.display(),
            numbers(&machine, of, minor)
        );
        fs::remove_file(&path).expect("no node");
        let line = format!("{what}: No such file or directory (os error 2); {DRIVERS_TOOLS}");
        refuses(&machine, ASKS, HOST, &line);
        let line = format!("{what}: it is something else there; {DRIVERS_TOOLS}");
        symlink("/dev/null", &path).expect("a link");
        refuses(&machine, ASKS, HOST, &line);
        fs::remove_file(&path).expect("no link");
        run(Command::new("mknod").arg(&path).args(["c", "1", "3"])).ok();
        refuses(&machine, ASKS, HOST, &line);
    }
}

/// All or none: the second device's trouble takes the first one back.
#[test]
fn one_of_several_devices_has_no_node() {
    let machine = Machine::named("one-gpu");
    let several: Annotations = &[("mig.count", "3")];
    let own = own(&machine);
    let access = access(&machine, &own);
    let text = fs::read_to_string(&access).expect("access");
    fs::write(&access, "DeviceFileMinor: many\n").expect("access");
    let line = format!(
        "capability {} is not of the known form: DeviceFileMinor: many\\n; \
         this driver may be newer than this program: look for a newer oci-mig-hook",
        access.display()
    );
    refuses(&machine, several, HOST, &line);
    fs::remove_file(&access).expect("no access file");
    let line = format!(
        "no capability at {}: No such file or directory (os error 2); the GPU was repartitioned meanwhile, \
         or the driver is too old for MIG; start the container again",
        access.display()
    );
    refuses(&machine, several, HOST, &line);
    fs::write(&access, text).expect("access");
    machine.stage("precreate", &config(several).to_string()).ok();
}
