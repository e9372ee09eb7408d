//! Lease files that can't be read: what is known of them all the same, and what is said of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files::{Illegible, entries, read};
use super::{DeviceRecord, Lease, LeaseId};
use crate::failure::Failure;

/// A lease file that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
    /// Nothing, but that a newer program wrote it.
    pub is_newer: bool,
    /// What its devices' records say of the lease: whose it is and which devices it holds, without their nodes and
    /// without what was asked for. None where there are no such records: then it may hold any device.
    pub known: Option<Lease>,
}

impl Unreadable {
    pub(super) fn new(path: PathBuf, why: &Illegible) -> Unreadable {
        Unreadable {
            path,
            why: why.to_string(),
            is_newer: matches!(why, Illegible::Newer(_)),
            known: None,
        }
    }

    /// As the error that it is for whoever needs to know what it says.
    pub fn failure(&self) -> Failure {
        let what = format!("ledger: unreadable lease file {}", self.path.display());
        let failure = Failure::host(what, &self.why);
        match (self.is_newer, &self.known) {
            (true, Some(_)) => failure.remedy(
                "its devices stay out of use until its container has ended; use the program that wrote it",
            ),
            (true, None) => failure.remedy(
                "which devices it holds is unknown, so none is handed out; use the program that wrote it",
            ),
            (false, Some(_)) => failure.remedy(
                "its devices stay out of use until its container has ended and 'oci-mig-hook gc' or the next \
                 reservation sees it",
            ),
            (false, None) => failure.remedy(
                "which devices it holds is unknown, so none is handed out; end all containers that have a device, and \
                 then 'oci-mig-hook release --unreadable --force'",
            ),
        }
    }

    pub(super) fn id(&self) -> Option<LeaseId> {
        let name = self.path.file_name()?.to_str()?;
        name.strip_suffix(".json")?.parse().ok()
    }
}

/// Fills in what the records of devices know of unreadable leases.
pub(super) fn known_by_records(unreadable: &mut [Unreadable], devices: &Path) -> Result<(), Failure> {
    let mut records: BTreeMap<LeaseId, Vec<DeviceRecord>> = BTreeMap::new();
    for path in entries(devices)? {
        // One that can't be read either is missing below, so that its lease isn't known.
        if let Ok(Some(record)) = read::<DeviceRecord>(&path) {
            records.entry(record.lease.clone()).or_default().push(record);
        }
    }
    for file in unreadable {
        let records = file.id().and_then(|id| records.remove(&id));
        file.known = records.and_then(DeviceRecord::together);
    }
    Ok(())
}
