//! Device nodes on the host: checked against what /proc says, and made where a capability's is missing or stale.

#![forbid(unsafe_code)]

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};

use super::capabilities::{self, Capability, Majors};
use crate::config::Driver;
use crate::failure::Failure;
use crate::mig::{Access, Device, DeviceNode, DeviceNumber};

/// nvidiactl's minor.
const CONTROL_MINOR: u32 = 255;

/// The nodes that are the right to use `device`, in the order in which a container gets them. A GPU as a whole has no
/// capability.
///
/// # Errors
/// A host failure that names the node, what is wrong with it, and the command that makes it.
pub fn of_device(driver: &Driver, device: Device<'_>) -> Result<Vec<DeviceNode>, Failure> {
    let majors = Majors::read(&driver.proc)?;
    let gpu = device.gpu();
    let mut nodes = Vec::with_capacity(6);
    for (name, major, minor) in [
        ("nvidiactl".to_owned(), majors.gpu, CONTROL_MINOR),
        ("nvidia-uvm".to_owned(), majors.uvm, 0),
        ("nvidia-uvm-tools".to_owned(), majors.uvm, 1),
        (format!("nvidia{}", gpu.minor.0), majors.gpu, gpu.minor.0),
    ] {
        nodes.push(existing(&driver.dev, &name, DeviceNumber { major, minor })?);
    }
    if let Device::Mig { device, .. } = device {
        let major = majors.caps()?;
        for cap in &capabilities::of_device(&driver.proc, gpu.minor, device.gi, device.ci)? {
            nodes.push(capability(&driver.dev, major, cap)?);
        }
    }
    Ok(nodes)
}

/// The number of the character device that `path` leads to, links followed; none where there is none.
pub fn number_at(path: &Path) -> Option<(u32, u32)> {
    let found = std::fs::metadata(path)
        .ok()
        .filter(|found| found.file_type().is_char_device())?;
    let part = |number: u64| u32::try_from(number).ok();
    Some((part(major(found.rdev()))?, part(minor(found.rdev()))?))
}

/// A node that the driver's own tools make: only looked at.
fn existing(dev: &Path, name: &str, number: DeviceNumber) -> Result<DeviceNode, Failure> {
    let host_path = dev.join(name);
    match std::fs::symlink_metadata(&host_path) {
        Ok(found) if is_device(&found, number) => {
            Ok(node(name, &host_path, number, Access::ReadWrite, &found))
        }
        Ok(_) => Err(wrong(&host_path, number, "it is something else there")),
        Err(error) => Err(wrong(&host_path, number, &error.to_string())),
    }
}

fn wrong(path: &Path, number: DeviceNumber, why: &str) -> Failure {
    let what = format!(
        "{} is not the device {}:{}",
        path.display(),
        number.major,
        number.minor
    );
    Failure::host(what, why).remedy("make the driver's nodes with 'nvidia-modprobe -u -c0' and 'nvidia-smi'")
}

/// A capability's node: user space makes them, and nobody may have yet, or an earlier driver's may still stand there.
fn capability(dev: &Path, major: u32, cap: &Capability) -> Result<DeviceNode, Failure> {
    let number = DeviceNumber {
        major,
        minor: cap.minor,
    };
    let name = format!("nvidia-caps/nvidia-cap{}", cap.minor);
    let host_path = dev.join(&name);
    if let Ok(found) = std::fs::symlink_metadata(&host_path) {
        if is_device(&found, number) {
            return Ok(node(&name, &host_path, number, Access::Read, &found));
        }
    }
    if !cap.may_modify {
        let why = "it is missing or stale, and the driver forbids making it (ModifyDeviceFiles: 0)";
        return Err(
            Failure::host(format!("no capability node {}", host_path.display()), why)
                .remedy("make it as the driver was set up to: by udev, or a driver container"),
        );
    }
    let made = make(&host_path, number, cap.mode).and_then(|()| std::fs::symlink_metadata(&host_path));
    match made {
        Ok(found) => Ok(node(&name, &host_path, number, Access::Read, &found)),
        Err(error) => Err(
            Failure::host(format!("can't make {}", host_path.display()), error)
                .remedy("make it with 'nvidia-modprobe -f' and the capability's access file"),
        ),
    }
}

/// Makes the node beside its place and renames it there: nobody sees a half-made one, and a stale one is replaced.
fn make(path: &Path, number: DeviceNumber, mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    match std::fs::create_dir(folder) {
        // The engine's umask may be narrow: every container looks through this folder.
        Ok(()) => std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let unfinished = folder.join(format!(".oci-mig-hook-{}-{}", number.minor, std::process::id()));
    let device = makedev(number.major.into(), number.minor.into());
    mknod(
        &unfinished,
        SFlag::S_IFCHR,
        Mode::from_bits_truncate(mode),
        device,
    )?;
    // mknod's mode went through the umask.
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(mode))
        .and_then(|()| std::fs::rename(&unfinished, path))
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&unfinished);
        })
}

fn is_device(found: &Metadata, number: DeviceNumber) -> bool {
    found.file_type().is_char_device() && found.rdev() == makedev(number.major.into(), number.minor.into())
}

fn node(name: &str, host_path: &Path, number: DeviceNumber, access: Access, found: &Metadata) -> DeviceNode {
    DeviceNode {
        path: Path::new("/dev").join(name),
        host_path: host_path.to_owned(),
        number,
        access,
        mode: found.mode() & 0o777,
        uid: found.uid(),
        gid: found.gid(),
    }
}
