//! States that differ only in which of two alike attempts is which are looked at once.

use crate::cast::Cast;
use crate::ledger::Holder;
use crate::machine::State;

/// Pairs of attempts that can be exchanged.
#[derive(Clone, Debug, Default)]
pub struct Symmetry(Vec<(usize, usize)>);

impl Symmetry {
    /// That of a cast.
    pub fn of(cast: &Cast) -> Symmetry {
        let pairs = cast
            .attempts()
            .flat_map(|one| cast.attempts().map(move |other| (one, other)));
        let mut pairs: Vec<_> = pairs
            .filter(|(one, other)| one < other && cast.are_alike(*one, *other))
            .collect();
        // Three alike ones are in order when the first two are, the last two, and the first two again.
        pairs.sort();
        if let [(0, 1), (0, 2), (1, 2)] = pairs[..] {
            pairs = vec![(0, 1), (1, 2), (0, 1)];
        }
        Symmetry(pairs)
    }

    /// The one state that stands for all that are alike; for some of them, where attempts can't be told apart by [`key`].
    pub fn representative(&self, cast: &Cast, mut state: State) -> State {
        for (one, other) in &self.0 {
            if key(&state, *one) > key(&state, *other) {
                state = exchanged(cast, state, *one, *other);
            }
        }
        state
    }
}

/// By what alike attempts are told apart: nothing in it depends on which number another attempt has.
fn key(state: &State, who: usize) -> u32 {
    let mut key = 0;
    let mut add = |value: u32, bits: u32| key = key << bits | value;
    let attempt = state.attempts[who];
    add(attempt.phase as u32, 4);
    add(attempt.first.into(), 1);
    add(attempt.left.into(), 1);
    add(
        attempt
            .config
            .map_or(0, |config| 1 + u32::from(usize::from(config.lease) == who)),
        2,
    );
    add(attempt.config.map_or(0, |config| config.devices.into()), 2);
    if let Some(lease) = state.files.leases[who] {
        add(1 + lease.state as u32, 2);
        add(lease.holder.bound as u32, 2);
        add((usize::from(lease.holder.who) == who).into(), 1);
        add(lease.devices.into(), 2);
        add(
            u32::from(lease.this_boot) << 2 | u32::from(lease.is_late) << 1 | u32::from(lease.is_readable),
            3,
        );
    }
    key
}

/// The same state, with two attempts' numbers exchanged wherever they stand.
fn exchanged(cast: &Cast, mut state: State, one: usize, other: usize) -> State {
    let number = |who: u8| match usize::from(who) {
        who if who == one => other as u8,
        who if who == other => one as u8,
        _ => who,
    };
    let renamed = |holder: Holder| Holder {
        who: number(holder.who),
        ..holder
    };
    state.attempts.swap(one, other);
    state.files.leases.swap(one, other);
    let makers = [one, other].map(|who| usize::from(cast.role(who).maker));
    state.makers.swap(makers[0], makers[1]);
    for config in state
        .attempts
        .iter_mut()
        .filter_map(|attempt| attempt.config.as_mut())
    {
        config.lease = number(config.lease);
    }
    for lease in state.files.leases.iter_mut().flatten() {
        lease.holder = renamed(lease.holder);
    }
    for record in state.files.records.iter_mut().flatten() {
        record.lease = number(record.lease);
        record.holder = renamed(record.holder);
    }
    state
}
