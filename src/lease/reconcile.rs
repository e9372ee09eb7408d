//! Every lease judged by what the machine shows of its holder, and the judgements carried out: what a reservation does
//! first, and all that a collection does.

use std::time::Duration;

use super::liveness::Here;
use super::transition::{self, Evidence, Fate};
use super::{Contents, Lease, LockedLedger, Unreadable};
use crate::failure::Failure;

/// A lease, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The lease; of one that can't be read, what is known of it.
    pub lease: Lease,
    /// What the machine shows of its holder.
    pub evidence: Evidence,
    /// What becomes of it.
    pub fate: Fate,
    /// Its file can be read.
    pub is_readable: bool,
}

/// What stands in the ledger, judged.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Every lease of which anything is known.
    pub leases: Vec<Judged>,
    /// The others: any device may be theirs.
    pub unknown: Vec<Unreadable>,
}

/// Judges what stands in the ledger. `pending` is how long a lease may wait for its container; the process `besides` says
/// nothing of the cgroup that it is in (see [`Here::evidence_besides`]).
pub fn judge(contents: Contents, here: &Here, pending: Duration, besides: Option<i32>) -> Judgement {
    let judged = |lease: Lease, is_readable: bool| {
        let evidence = here.evidence_besides(&lease, pending, besides);
        let fate = match transition::reconcile(lease.state, evidence) {
            // It would be written over what can't be read.
            Fate::Release if !is_readable => Fate::Keep,
            fate => fate,
        };
        Judged {
            lease,
            evidence,
            fate,
            is_readable,
        }
    };
    let mut leases: Vec<Judged> = contents
        .leases
        .into_iter()
        .map(|lease| judged(lease, true))
        .collect();
    let mut unknown = Vec::new();
    for unreadable in contents.unreadable {
        match unreadable.known {
            Some(lease) => leases.push(judged(lease, false)),
            None => unknown.push(unreadable),
        }
    }
    Judgement { leases, unknown }
}

impl LockedLedger<'_> {
    /// Carries out what was decided on a lease. One of an earlier version that stays is written anew, with all that this
    /// version keeps of one.
    ///
    /// # Errors
    /// As [`LockedLedger::put`] and [`LockedLedger::remove`].
    pub fn carry_out_judged(&mut self, judged: &Judged) -> Result<(), Failure> {
        self.carry_out(&judged.lease, judged.fate)?;
        match judged.fate {
            Fate::Keep if judged.is_readable => self.upgrade(&judged.lease),
            Fate::Keep | Fate::Release | Fate::Remove => Ok(()),
        }
    }
}
