//! Device permissions on cgroup v1: one line to `devices.allow` for each device.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::edits::DeviceNode;
use crate::failure::Failure;

/// Allows exactly `nodes` in the devices group at `directory`. The kernel refuses what the group's parent denies.
pub fn allow(directory: &Path, nodes: &[DeviceNode]) -> Result<(), Failure> {
    let file = directory.join("devices.allow");
    for node in nodes {
        let rule = rule(node);
        write(&file, &rule).map_err(|error| {
            let what = format!("can't allow '{rule}' for the container");
            Failure::host(what, format!("write to {}: {error}", file.display()))
                .remedy("allow it in the groups above the container's too")
        })?;
    }
    Ok(())
}

/// Neither creates nor truncates: the kernel's file is there, or this is no devices group.
fn write(file: &Path, rule: &str) -> std::io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all(rule.as_bytes())
}

fn rule(node: &DeviceNode) -> String {
    let number = node.number;
    format!("c {}:{} {}", number.major, number.minor, node.access.as_oci())
}

/// Whether the devices group at `directory` allows every character device to be opened.
///
/// `a *:* rwm` is also what the kernel shows for a group that allows all but some; which, it shows nowhere.
pub fn allows_everything(directory: &Path) -> Result<bool, Failure> {
    let file = directory.join("devices.list");
    let list = fs::read_to_string(&file).map_err(|error| {
        Failure::host(
            "can't tell what the container may do with devices",
            format!("read of {}: {error}", file.display()),
        )
        .remedy("the engine's hooks must see /sys/fs/cgroup as the runtime does, and run as root")
    })?;
    Ok(list.lines().any(is_everything))
}

/// `c *:* m`, which runtimes allow everyone, only makes nodes: that is no right to a device.
fn is_everything(line: &str) -> bool {
    let mut words = line.split(' ');
    let (kind, number, access) = (words.next(), words.next(), words.next().unwrap_or_default());
    matches!(kind, Some("a" | "c")) && number == Some("*:*") && access.contains(['r', 'w'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rule_that_opens_every_character_device_is_everything() {
        for line in ["a *:* rwm", "c *:* rwm", "c *:* r"] {
            assert!(is_everything(line), "{line}");
        }
        for line in ["c *:* m", "b *:* rwm", "c 195:* rw", "c 195:255 rw", ""] {
            assert!(!is_everything(line), "{line}");
        }
    }
}
