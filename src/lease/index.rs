//! What a reservation reads of the ledger: the records of held devices, of which there are never more than the node has
//! devices, whatever else has gathered beside the leases.
//!
//! A record is written before its lease and removed after it, so that each lease has all of its own. It may know more than
//! the lease, where a writer was killed between the two. So it is believed only where it says that the lease stands: that
//! keeps a device out of use, for as long as the process lives that it names, and gives none away. Before anything is
//! taken from anybody the lease itself is read.

use std::collections::BTreeMap;

use super::files::{entries, is_gone, read};
use super::transition::{Fate, Occasion};
use super::{Contents, DeviceRecord, Judge, Judged, Judgement, Lease, LeaseId, Ledger, LockedLedger};
use crate::failure::Failure;

impl LockedLedger<'_> {
    /// Judges all that stands in the ledger. Of a lease that is seen to stand, and isn't `wanted` whole, only what its devices'
    /// records say is read: whose it is and which devices it holds, without their nodes and without what was asked for.
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
    match judged.fate {
        Fate::Keep => Ok(judged),
        Fate::Remove | Fate::Release => Err(judged.lease.id),
    }
}

impl Ledger {
    /// The leases, as their devices' records tell them. None where a record can't be read, or a lease's are not all there.
    fn by_records(&self) -> Result<Option<Vec<Lease>>, Failure> {
        let mut records: BTreeMap<LeaseId, Vec<DeviceRecord>> = BTreeMap::new();
        for path in entries(&self.devices())? {
            match read::<DeviceRecord>(&path) {
                Ok(Some(record)) => records.entry(record.lease.clone()).or_default().push(record),
                Ok(None) => {}
                Err(_) => return Ok(None),
            }
        }
        records.retain(|id, _| !is_gone(&self.leases().join(Lease::file_name_of(id))));
        Ok(records.into_values().map(DeviceRecord::together).collect())
    }
}
