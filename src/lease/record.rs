//! What a lease says: who holds which devices, and in which state. Written as `leases/<lease id>.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::files::Document;
use super::leased::LeasedDevice;
use crate::cgroup::CgroupPath;
use crate::failure::Failure;
use crate::mig::{Device, DeviceName};

/// One lease: a holder and the devices that are its own until it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The layout of this record: what [`super::layout`] says.
    pub version: u32,
    /// The key.
    pub id: LeaseId,
    /// Where it is in its life.
    pub state: LeaseState,
    /// Whose it is.
    pub holder: Holder,
    /// What is held: one device or several, all or none.
    pub devices: Vec<LeasedDevice>,
    /// What was asked for, as canonical annotations: to know the same request again, never to act on it.
    pub request: BTreeMap<String, String>,
    /// The kernel's boot id when it was written: a lease of another boot is void.
    pub boot_id: String,
    /// The driver's version when it was written.
    pub driver: String,
    /// When it entered its state: milliseconds of CLOCK_BOOTTIME, which no one can set.
    pub written: u64,
}

/// A lease's key: 128 random bits, 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LeaseId(String);

/// Where a lease is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// Reserved for a container that is being made; its process is the one that makes it.
    Pending,
    /// The container exists; its process is the container's first.
    Held,
    /// Given back or orphaned, while something still runs in the container's cgroup.
    Releasing,
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A container of any engine.
    Container(Container),
}

/// A container, and what shows whether it is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The runtime's id for it. Ids repeat: two state roots, two engines.
    pub id: String,
    /// Its bundle, where it is known: what tells two containers of one id apart.
    pub bundle: Option<PathBuf>,
    /// The folder of its runtime's state (`--root`), where it is known: it tells them apart as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_root: Option<PathBuf>,
    /// The process whose end is the holder's end.
    pub process: Process,
    /// The process is the init of a pid namespace of its own: the kernel lets it end only after all others in there.
    #[serde(default)]
    pub own_pid_namespace: bool,
    /// The cgroups that are this container's alone; empty where it has none.
    pub cgroups: Vec<CgroupPath>,
    /// Inode of the cgroup namespace in which those paths mean something.
    pub cgroup_namespace: u64,
}

/// A process, so named that a later one of the same pid is not mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its pid, as seen in the pid namespace `pid_namespace`.
    pub pid: i32,
    /// Its start, in clock ticks since boot: field 22 of /proc/PID/stat.
    pub start: u64,
    /// Inode of the pid namespace in which `pid` means something.
    pub pid_namespace: u64,
}

impl LeaseId {
    /// A new one, from the kernel's random numbers.
    ///
    /// # Errors
    /// A host failure where the kernel has none to give.
    pub fn random() -> Result<LeaseId, Failure> {
        let mut bytes = [0u8; 16];
        let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        match got {
            Ok(16) => Ok(LeaseId(bytes.iter().map(|byte| format!("{byte:02x}")).collect())),
            Ok(n) => Err(no_random(&format!("the kernel gave {n} of 16 bytes"))),
            Err(error) => Err(no_random(&error.to_string())),
        }
    }
}

fn no_random(why: &str) -> Failure {
    Failure::host("no random lease id", why).remedy("start the container again once the machine is up")
}

impl FromStr for LeaseId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match hex && text.len() == 32 {
            true => Ok(LeaseId(text.to_owned())),
            false => Err(format!("'{text}' is not a lease id (32 hex digits)")),
        }
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for LeaseId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LeaseId> for String {
    fn from(id: LeaseId) -> String {
        id.0
    }
}

impl Holder {
    /// The container that holds it.
    pub fn container(&self) -> &Container {
        match self {
            Holder::Container(container) => container,
        }
    }

    /// What people are told: the first 12 characters of the container's id.
    pub fn short_name(&self) -> String {
        self.container().id.chars().take(12).collect()
    }
}

impl Lease {
    /// Whether it holds `device`.
    pub fn holds(&self, device: Device<'_>) -> bool {
        self.devices.iter().any(|leased| leased.is(device))
    }

    /// The names of its devices, in the order in which they were chosen.
    pub fn names(&self) -> impl Iterator<Item = DeviceName> {
        self.devices.iter().map(LeasedDevice::name)
    }

    /// The file that the lease of that id is in.
    pub(super) fn file_name_of(id: &LeaseId) -> String {
        format!("{id}.json")
    }
}

impl Document for Lease {
    fn version(&self) -> u32 {
        self.version
    }

    fn file_name(&self) -> String {
        Lease::file_name_of(&self.id)
    }
}

impl fmt::Display for LeaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeaseState::Pending => "pending",
            LeaseState::Held => "held",
            LeaseState::Releasing => "releasing",
        })
    }
}
