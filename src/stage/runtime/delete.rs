//! `delete`: the real runtime first, and what its containers held goes back afterwards, whether or not they ever came
//! into being. crun and youki call no poststop hook for one that didn't.

use super::{Call, Ran, real_path};
use crate::config::Config;
use crate::failure::Failure;
use crate::lease::liveness::Here;
use crate::lease::{Judge, Ledger};
use crate::oci::Deleted;
use crate::release::{self, Of};

/// Runs the real runtime and releases. Where they hold nothing, becomes the real runtime.
pub fn run(call: &Call<'_>, deleted: &Deleted) -> Result<Ran, Failure> {
    let state_root = call.parsed.root.as_deref().map(real_path).transpose()?;
    let theirs = Of {
        whom: match deleted {
            Deleted::Container(id) => release::Whom::Container(id),
            Deleted::Matching => release::Whom::All,
        },
        state_root: state_root.as_deref(),
    };
    let Some(ledger) = holding(call.config, theirs) else {
        return Err(call.real.become_it(call.args));
    };
    let code = call.real.run(call.args);
    // Whatever became of that: who is gone has nothing any more, and who lives keeps it.
    let released = Here::look().and_then(|here| {
        let mut locked = ledger.lock()?;
        release::of_deleted(&mut locked, Judge::new(&here, call.config.pending), theirs)
    });
    Ok(Ran {
        code: code?,
        unreleased: released.err(),
    })
}

/// The ledger, if they hold anything in it. Where it can't be read, nothing can be given back either; who reserves next
/// is told.
fn holding(config: &Config, theirs: Of<'_>) -> Option<Ledger> {
    let ledger = Ledger::existing(&config.ledger_dir).ok()??;
    let leases = ledger.contents().ok()?.leases;
    leases
        .iter()
        .any(|lease| theirs.may_hold(lease))
        .then_some(ledger)
}
