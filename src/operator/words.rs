//! What people are told of a lease: why it goes, why it stays, and what it holds.

use crate::lease::transition::{self, CgroupState, Fate, ProcessState, Reason};
use crate::lease::{Judged, Lease, LeaseState};

/// How a lease stands, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its devices are free, or will be at once.
    Free,
    /// Its container lives.
    InUse,
    /// Its container is being made.
    BeingMade,
    /// Its container has ended and left something behind, or nobody can tell from here.
    NotYetFree,
}

/// How it stands.
pub fn standing(judged: &Judged) -> Standing {
    match (judged.fate, judged.lease.state) {
        (Fate::Remove, _) => Standing::Free,
        (Fate::Keep, LeaseState::Pending) => Standing::BeingMade,
        (Fate::Keep, LeaseState::Held | LeaseState::Releasing)
            if judged.evidence.process == ProcessState::Alive =>
        {
            Standing::InUse
        }
        (Fate::Keep | Fate::Release, _) => Standing::NotYetFree,
    }
}

/// Why it goes: a word for scripts, and a sentence.
pub fn why_it_goes(judged: &Judged) -> (&'static str, String) {
    let pid = judged.lease.holder.container().process.pid;
    match transition::reason(judged.lease.state, judged.evidence) {
        Reason::AnotherBoot => (
            "another_boot",
            "it was written before the machine last started".to_owned(),
        ),
        Reason::MakerGone => (
            "maker_gone",
            format!("its container never came into being, and process {pid}, which made it, is gone"),
        ),
        Reason::Overdue => (
            "overdue",
            "its container did not come into being within lease.pending".to_owned(),
        ),
        Reason::HolderGone => ("holder_gone", format!("its process {pid} is gone")),
        Reason::CgroupEmpty => ("cgroup_empty", "nothing is left in its cgroup".to_owned()),
    }
}

/// Why it stays.
pub fn why_it_stays(judged: &Judged) -> String {
    let pid = judged.lease.holder.container().process.pid;
    match (judged.evidence.process, judged.evidence.cgroup) {
        (ProcessState::Alive, _) if judged.lease.state == LeaseState::Pending => {
            format!("it is being made by process {pid}")
        }
        (ProcessState::Alive, _) => format!("its process {pid} lives"),
        (_, CgroupState::Populated) => "something of it still runs in its cgroup".to_owned(),
        (ProcessState::Unknown, _) => {
            "it was recorded in another pid namespace, so nobody can tell from here whether it lives"
                .to_owned()
        }
        (ProcessState::Gone, _) => "its cgroup can't be seen from here".to_owned(),
    }
}

/// What it holds: `MIG-... (1g.10gb), MIG-... (1g.10gb)`.
pub fn devices(lease: &Lease) -> String {
    let devices = lease.devices.iter();
    let shown = devices.map(|device| format!("{} ({})", device.name(), device.kind()));
    shown.collect::<Vec<_>>().join(", ")
}

/// `1 lease`, `3 leases`.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
