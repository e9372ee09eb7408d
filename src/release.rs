//! The inverse of reserve. Always finishes: what can't be given back now is left for the next reservation, and said.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::failure::Failure;
use crate::lease::transition::{self, Checks, Occasion};
use crate::lease::{Judge, Lease, LeaseId, LockedLedger};

/// A container as its end is announced: ids repeat, so the bundle counts too where the lease knows one.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// The runtime's id for it.
    pub id: &'a str,
    /// Its bundle.
    pub bundle: &'a Path,
}

/// Gives back the lease of that id, if it is that container's: its 128 random bits and the container's id are proof
/// enough. That it is gone already is no error.
///
/// # Errors
/// A host failure where the ledger can't be changed.
pub fn named(
    ledger: &mut LockedLedger<'_>,
    judge: Judge<'_>,
    id: &LeaseId,
    ended: Ended<'_>,
) -> Result<(), Failure> {
    let Some(lease) = ledger.get(id)? else {
        return Ok(());
    };
    if !transition::may_end(lease.holder.container().id == ended.id, Checks::ALL) {
        return Ok(());
    }
    ledger.carry_out(&judge.one(lease, Occasion::End))
}

/// Gives back whatever leases that container has whose holder is gone. Never one with a living holder: the call may
/// be late, and the id that of the container's next incarnation.
///
/// # Errors
/// The first host failure, after all have been tried.
pub fn of_container(
    ledger: &mut LockedLedger<'_>,
    judge: Judge<'_>,
    ended: Ended<'_>,
) -> Result<(), Failure> {
    gone(ledger, judge, |lease| is_of(lease, ended))
}

/// Of `theirs`, gives back those whose holder is gone.
fn gone(
    ledger: &mut LockedLedger<'_>,
    judge: Judge<'_>,
    theirs: impl Fn(&Lease) -> bool,
) -> Result<(), Failure> {
    let leases = ledger.contents()?.leases;
    let theirs = leases.into_iter().filter(theirs);
    Failure::first_of(theirs.map(|lease| ledger.carry_out(&judge.one(lease, Occasion::Look))))
}

/// Whom a runtime was told to delete.
#[derive(Clone, Copy, Debug)]
pub enum Whom<'a> {
    /// The container of this id.
    Container(&'a str),
    /// Any of the state root's: who of them was meant is the runtime's to know.
    All,
}

/// Containers of one state root, as far as a runtime's command line tells them from others.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// Which of them.
    pub whom: Whom<'a>,
    /// The folder of the runtime's state, where it was named.
    pub state_root: Option<&'a Path>,
}

impl Of<'_> {
    /// Whether that lease may be one of theirs.
    pub fn may_hold(self, lease: &Lease) -> bool {
        let holder = lease.holder.container();
        let is_meant = match self.whom {
            Whom::Container(id) => holder.id == id,
            Whom::All => true,
        };
        is_meant && holder.state_root.as_deref() == self.state_root
    }
}

/// Gives back whatever leases those containers have whose holder is gone: a delete that failed on a living container
/// releases nothing, nor does a late one that meets the next container of that id.
///
/// # Errors
/// The first host failure, after all have been tried.
pub fn of_deleted(ledger: &mut LockedLedger<'_>, judge: Judge<'_>, theirs: Of<'_>) -> Result<(), Failure> {
    gone(ledger, judge, |lease| theirs.may_hold(lease))
}

/// Takes back a reservation whose container will not come into being, because a step after it failed. Only as that step
/// left it: another maker of the same container may have taken it over meanwhile, and its container may run.
///
/// # Errors
/// A host failure where the ledger can't be changed or the lease not be read: then it goes back when its maker is gone.
pub fn undo(ledger: &mut LockedLedger<'_>, lease: &Lease) -> Result<(), Failure> {
    let Some(found) = ledger.get(&lease.id)? else {
        return Ok(());
    };
    match transition::may_undo(found == *lease, Checks::ALL) {
        true => ledger.remove(lease),
        false => Ok(()),
    }
}

fn is_of(lease: &Lease, ended: Ended<'_>) -> bool {
    let holder = lease.holder.container();
    holder.id == ended.id
        && holder
            .bundle
            .as_deref()
            .is_none_or(|bundle| bundle == ended.bundle)
}
