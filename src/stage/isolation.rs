//! Containers that can't be kept to a device of their own, and callers that can't keep a ledger: refused before anything
//! is given.

use super::{host, refuse_beside_a_lease};
use crate::config::Config;
use crate::failure::Failure;
use crate::lease::{Lease, LeasedDevice};
use crate::oci::{self, Spec};

/// Refuses where there is a reason why it can't be isolated, unless such containers are trusted.
pub fn refuse_unless_isolated(config: &Config, why_not: Option<String>) -> Result<(), Failure> {
    match why_not {
        Some(why) if !config.allow_privileged => {
            Err(Failure::refused("this container can't be isolated", why).remedy(
                "run it without those rights, or set allow_privileged = true to trust every such container",
            ))
        }
        _ => Ok(()),
    }
}

/// A container gets exact rules for its own device. Any other of its rules or devices that reaches the same drivers
/// would be another container's device, or the right to all. So would what NVIDIA's stack is asked for, where that is to
/// serve it.
pub fn refuse_other_devices(
    config: &Config,
    spec: Spec<'_>,
    lease: &Lease,
    left_to_nvidia: bool,
) -> Result<(), Failure> {
    let nodes = lease.devices.iter().flat_map(LeasedDevice::nodes);
    let numbers: Vec<_> = nodes.map(|node| (node.number.major, node.number.minor)).collect();
    let majors = host(config).majors()?;
    refuse_unless_isolated(config, oci::other_devices(spec, &numbers, &majors))?;
    refuse_beside_a_lease(config, spec, &numbers, &majors, left_to_nvidia)
}

/// Whether this program is in the machine's own user namespace, and not in one in which it only looks like root.
///
/// # Errors
/// A host failure where that can't be told.
pub fn in_initial_user_namespace() -> Result<bool, Failure> {
    let map = std::fs::read_to_string("/proc/self/uid_map")
        .map_err(|error| Failure::host("can't read /proc/self/uid_map", error).remedy("is /proc mounted?"))?;
    Ok(map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

/// The ledger is root's. In a user namespace we only look like root.
pub fn refuse_rootless() -> Result<(), Failure> {
    match in_initial_user_namespace()? && nix::unistd::geteuid().is_root() {
        true => Ok(()),
        false => Err(Failure::refused(
            "no MIG device for a rootless container",
            "only root can write the ledger of leases",
        )
        .remedy("start it as root (sudo podman ...)")),
    }
}
