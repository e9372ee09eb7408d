//! Every lease judged by what the machine shows of its holder, and the judgements carried out: what a reservation does
//! first, and all that a collection does.

use std::time::Duration;

use super::liveness::{self, Here};
use super::transition::{self, Checks, Evidence, Fate, Occasion};
use super::{Contents, Lease, LeaseState, LockedLedger, Unreadable};
use crate::failure::Failure;

/// What leases are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    /// Where we stand.
    pub here: &'a Here,
    /// How long a lease may wait for its container.
    pub pending: Duration,
    /// A process that says nothing of the cgroup that it is in: see [`Here::evidence_besides`].
    pub besides: Option<i32>,
}

/// A lease, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The lease; of one that can't be read, what is known of it.
    pub lease: Lease,
    /// What the machine shows of its holder.
    pub evidence: Evidence,
    /// What becomes of it.
    pub fate: Fate,
    /// Its file, where that can't be read.
    pub unreadable: Option<Unreadable>,
}

/// What stands in the ledger, judged.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Every lease of which anything is known.
    pub leases: Vec<Judged>,
    /// The others: any device may be theirs.
    pub unknown: Vec<Unreadable>,
}

impl<'a> Judge<'a> {
    /// A judge for whom every process counts.
    pub fn new(here: &'a Here, pending: Duration) -> Judge<'a> {
        Judge {
            here,
            pending,
            besides: None,
        }
    }

    /// Judges all that stands in the ledger, as somebody who looks.
    pub fn all(self, contents: Contents) -> Judgement {
        let readable = contents.leases.into_iter();
        let mut leases: Vec<Judged> = readable.map(|lease| self.one(lease, Occasion::Look)).collect();
        let mut unknown = Vec::new();
        for unreadable in contents.unreadable {
            match unreadable.known.clone() {
                Some(lease) => leases.push(self.unreadable(lease, unreadable)),
                None => unknown.push(unreadable),
            }
        }
        Judgement { leases, unknown }
    }

    /// Judges one lease.
    pub fn one(self, lease: Lease, occasion: Occasion) -> Judged {
        let here = self.here;
        let evidence = here.evidence_besides(&lease, self.pending, self.besides, occasion);
        Judged {
            fate: transition::fate(occasion, lease.state, evidence, Checks::ALL),
            lease,
            evidence,
            unreadable: None,
        }
    }

    fn unreadable(self, lease: Lease, file: Unreadable) -> Judged {
        let judged = self.one(lease, Occasion::Look);
        Judged {
            fate: match judged.fate {
                // It would be written over what can't be read.
                Fate::Release => Fate::Keep,
                fate => fate,
            },
            unreadable: Some(file),
            ..judged
        }
    }
}

impl LockedLedger<'_> {
    /// Carries out what was decided on a lease. One of an earlier version that stays is written anew, with all that this
    /// version keeps of one, and one that somebody took a record from.
    ///
    /// # Errors
    /// As [`LockedLedger::put`] and [`LockedLedger::remove`].
    pub fn carry_out(&mut self, judged: &Judged) -> Result<(), Failure> {
        match judged.fate {
            Fate::Keep if judged.unreadable.is_some() => Ok(()),
            Fate::Keep => self.complete(&judged.lease),
            Fate::Remove => self.remove(&judged.lease),
            Fate::Release => self.put(&Lease {
                state: LeaseState::Releasing,
                written: liveness::now(),
                ..judged.lease.clone()
            }),
        }
    }
}
