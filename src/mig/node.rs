//! A character device node: its number, who may do what with it, and where it appears.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A character device's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceNumber {
    /// The driver's number, from /proc/devices.
    pub major: u32,
    /// Which of that driver's devices.
    pub minor: u32,
}

/// What a container may do with a node. Never `m`: the runtime makes the node, the container doesn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// `r`: capability nodes.
    Read,
    /// `rw`: everything else.
    ReadWrite,
}

impl Access {
    /// As an OCI device rule writes it.
    pub fn as_oci(self) -> &'static str {
        match self {
            Access::Read => "r",
            Access::ReadWrite => "rw",
        }
    }
}

/// A node on the host that a container is to be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Where the container sees it: `/dev/nvidia0`.
    pub path: PathBuf,
    /// Where it really is on the host; differs from `path` where `driver.dev` is not `/dev`.
    pub host_path: PathBuf,
    /// Its number.
    pub number: DeviceNumber,
    /// What the container may do with it.
    pub access: Access,
    /// The host node's permission bits, to be repeated in the container.
    pub mode: u32,
    /// The host node's owner.
    pub uid: u32,
    /// The host node's group.
    pub gid: u32,
}
