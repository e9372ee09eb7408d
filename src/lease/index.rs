//! What a reservation reads of the ledger: the records of held devices, of which there are never more than the node has
//! devices, whatever else has gathered beside the leases.
//!
//! A record is written before its lease and removed after it, so that each lease has all of its own. It may know more than
//! the lease, where a writer was killed between the two. So it is believed only where it says that the lease stands, and
//! the process that it names lives: that keeps a device out of use, for as long as that process lives, and gives none away.
//! Before anything is taken from anybody the lease itself is read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::files::{Document, entries, is_gone, read};
use super::transition::{Fate, Occasion, ProcessState};
use super::{
    Container, Contents, DeviceRecord, Holder, Judge, Judged, Judgement, Lease, LeaseId, LeaseState,
    LeasedDevice, Ledger, LockedLedger, Process, layout,
};
use crate::failure::Failure;

impl LockedLedger<'_> {
    /// Judges all that stands in the ledger. Of a lease that is seen to stand, and isn't `wanted` whole, no more is told than
    /// which container holds which devices.
    ///
    /// # Errors
    /// A host failure where a folder can't be listed.
    pub fn judge(&self, judge: Judge<'_>, wanted: impl Fn(&Lease) -> bool) -> Result<Judgement, Failure> {
        let known = match self.is_sealed() {
            true => self.ledger().by_records()?,
            false => None,
        };
        let Some(known) = known else {
            return Ok(judge.all(self.contents()?));
        };
        let mut standing = Vec::with_capacity(known.len());
        let mut whole = Contents::default();
        for lease in known {
            match stands(judge, &wanted, lease) {
                Ok(judged) => standing.push(judged),
                Err(id) => self.ledger().read_into(&mut whole, Lease::file_name_of(&id)),
            }
        }
        self.ledger().fill_in(&mut whole)?;
        let mut judgement = judge.all(whole);
        judgement.leases.append(&mut standing);
        Ok(judgement)
    }
}

/// The lease, judged by its records, where these are enough; the id of one that is to be read.
fn stands(judge: Judge<'_>, wanted: impl Fn(&Lease) -> bool, lease: Lease) -> Result<Judged, LeaseId> {
    if wanted(&lease) {
        return Err(lease.id);
    }
    let judged = judge.one(lease, Occasion::Look);
    match judged.fate == Fate::Keep && judged.evidence.process == ProcessState::Alive {
        true => Ok(judged),
        false => Err(judged.lease.id),
    }
}

impl Ledger {
    /// The leases, as their devices' records tell them. None where a record can't be read, or a lease's are not all there.
    fn by_records(&self) -> Result<Option<Vec<Lease>>, Failure> {
        let mut glances: BTreeMap<LeaseId, Vec<Glance>> = BTreeMap::new();
        for path in entries(&self.devices())? {
            match read::<Glance>(&path) {
                Ok(Some(glance)) => glances.entry(glance.lease.clone()).or_default().push(glance),
                Ok(None) => {}
                Err(_) => return Ok(None),
            }
        }
        glances.retain(|id, _| !is_gone(&self.leases().join(Lease::file_name_of(id))));
        Ok(glances.into_values().map(together).collect())
    }
}

/// The part of a [`DeviceRecord`] that a reservation needs. To read all of a hundred takes a millisecond more: a container
/// has a cgroup in each of a dozen hierarchies.
#[derive(Deserialize)]
struct Glance {
    version: u32,
    lease: LeaseId,
    of: usize,
    device: LeasedDevice,
    state: LeaseState,
    holder: HolderGlance,
    boot_id: String,
    written: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum HolderGlance {
    Container { id: String, process: Process },
}

impl Document for Glance {
    fn version(&self) -> u32 {
        self.version
    }

    fn file_name(&self) -> String {
        DeviceRecord::file_name_of(&self.device.name())
    }
}

/// As [`DeviceRecord::together`].
fn together(glances: Vec<Glance>) -> Option<Lease> {
    let of = glances.first()?.of;
    if glances.len() != of || glances.iter().any(|glance| glance.of != of) {
        return None;
    }
    let (devices, known): (Vec<_>, Vec<_>) = glances.into_iter().map(Glance::split).unzip();
    let youngest = known.into_iter().max_by_key(|lease| lease.written)?;
    Some(Lease {
        // So that nobody writes it anew, who meets one of another layout.
        version: layout(&devices),
        devices,
        ..youngest
    })
}

impl Glance {
    /// The device, and what is known of its lease besides.
    fn split(self) -> (LeasedDevice, Lease) {
        let HolderGlance::Container { id, process } = self.holder;
        let container = Container {
            id,
            process,
            bundle: None,
            state_root: None,
            own_pid_namespace: false,
            cgroups: Vec::new(),
            cgroup_namespace: 0,
        };
        let lease = Lease {
            version: self.version,
            id: self.lease,
            state: self.state,
            holder: Holder::Container(container),
            devices: Vec::new(),
            request: BTreeMap::new(),
            boot_id: self.boot_id,
            driver: String::new(),
            written: self.written,
        };
        (self.device, lease)
    }
}
