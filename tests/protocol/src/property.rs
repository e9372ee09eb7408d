//! What must hold in every state, and what must happen in some, lest the others hold for want of anything happening.

use oci_mig_hook::lease::LeaseState;
use oci_mig_hook::lease::transition::{Fate, Occasion};
use stateright::Property;

use crate::cast::MOST;
use crate::ledger::{Bound, Lease};
use crate::machine::State;
use crate::model::Protocol;
use crate::sight::View;

/// No device is two live containers'.
pub const NEVER_TWICE: &str = "never two live holders of a device";
/// A live holder's lease stands.
pub const NEVER_LOST: &str = "a live holder never loses its lease";
/// One look gives back what a gone holder had.
pub const NEVER_LEAKED: &str = "every device of a gone holder comes back";
/// Nobody waits for ever.
pub const NEVER_STUCK: &str = "no deadlock";
/// Every lease has its devices' records, so that it costs only those where it can't be read.
pub const NEVER_BARE: &str = "every lease has its devices' records";

/// All of them.
pub fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(NEVER_TWICE, |_, state| never_twice(state)),
        Property::always(NEVER_LOST, |_, state: &State| !state.robbed && never_lost(state)),
        Property::always(NEVER_LEAKED, never_leaked),
        Property::always(NEVER_STUCK, |_, state: &State| !state.stuck),
        Property::always(NEVER_BARE, |_, state: &State| {
            state.files.leases_have_their_records()
        }),
    ]
}

fn never_twice(state: &State) -> bool {
    let mut used = 0;
    state.attempts.iter().all(|attempt| {
        let theirs = attempt.used();
        let is_free = used & theirs == 0;
        used |= theirs;
        is_free
    })
}

fn never_lost(state: &State) -> bool {
    (0..MOST).all(|who| {
        let used = state.attempts[who].used();
        let is_its = |lease: &Lease| {
            let is_holder = usize::from(lease.holder.who) == who && lease.holder.bound == Bound::First;
            is_holder && lease.state != LeaseState::Pending && lease.devices & used == used
        };
        used == 0 || state.files.leases.iter().flatten().any(is_its)
    })
}

fn never_leaked(model: &Protocol, state: &State) -> bool {
    (0..MOST).all(|id| {
        let Ok(Some(lease)) = state.files.known(id) else {
            return true;
        };
        let stages = model.stages(state);
        let comes_back = |lease: &Lease| {
            let evidence = stages.sight.evidence(lease, View::Home, None);
            let fate = stages.rule.fate(Occasion::Look, lease.state, evidence);
            fate == Fate::Remove || has_reason(model, state, lease)
        };
        // Whoever reserves looks at the records first.
        comes_back(&lease) && state.files.by_records(id).as_ref().is_none_or(comes_back)
    })
}

/// Whether something is there, in truth, for which a lease must stay.
fn has_reason(model: &Protocol, state: &State, lease: &Lease) -> bool {
    let cast = model.cast(state);
    let who = usize::from(lease.holder.who);
    let lives = state.lives(cast, lease.holder);
    let role = cast.role(who);
    let ends_as_one = lease.holder.bound == Bound::First && role.has_pids;
    let is_populated = role.has_cgroup && !ends_as_one && state.is_populated(cast, who, None);
    let in_time = lease.state != LeaseState::Pending || !lease.is_late;
    lease.this_boot && ((lives && in_time) || is_populated)
}
