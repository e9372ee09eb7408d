//! `delete`: the real runtime first, and what its containers held goes back afterwards, whether or not they ever came
//! into being. crun and youki call no poststop hook for one that didn't.

use std::ffi::OsString;

use super::real::RealRuntime;
use super::{Ended, absolute};
use crate::config::Config;
use crate::failure::Failure;
use crate::lease::Ledger;
use crate::lease::liveness::Here;
use crate::oci::{Deleted, RuntimeCall};
use crate::release;

/// Runs the real runtime and releases. Where they hold nothing, becomes the real runtime.
pub fn run(
    deleted: &Deleted,
    call: &RuntimeCall,
    config: &Config,
    real: &RealRuntime,
    args: &[OsString],
) -> Result<Ended, Failure> {
    let state_root = call.root.as_deref().map(absolute).transpose()?;
    let theirs = release::Deleted {
        id: match deleted {
            Deleted::Container(id) => Some(id),
            Deleted::Matching => None,
        },
        state_root: state_root.as_deref(),
    };
    let Some(ledger) = holding(config, theirs) else {
        return Err(real.become_it(args));
    };
    let code = real.run(args)?;
    let released = Here::look().and_then(|here| {
        let mut locked = ledger.lock()?;
        release::of_deleted(&mut locked, &here, config.pending, theirs)
    });
    Ok(Ended {
        code,
        unreleased: released.err(),
    })
}

/// The ledger, if they hold anything in it. Where it can't be read, nothing can be given back either; who reserves next
/// is told.
fn holding(config: &Config, theirs: release::Deleted<'_>) -> Option<Ledger> {
    let ledger = Ledger::existing(&config.ledger_dir).ok()??;
    let leases = ledger.contents().ok()?.leases;
    leases
        .iter()
        .any(|lease| theirs.may_hold(lease))
        .then_some(ledger)
}
