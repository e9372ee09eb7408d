//! What can happen in the model, lest everything holds because nothing does.

use oci_mig_hook::lease::LeaseState;
use protocol::cast::{Cast, Door, Role};
use protocol::machine::{Phase, State};
use protocol::model::Protocol;
use stateright::{Checker, HasDiscoveries, Model, Property};

/// Whether such a state is reached.
fn happens(roles: &[Role], state: fn(&Protocol, &State) -> bool) -> bool {
    const IT: &str = "it happens";
    let mut model = Protocol::new(vec![Cast::of(roles)]).readable();
    model.properties = vec![Property::sometimes(IT, state)];
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::Any)
        .spawn_bfs()
        .join();
    checker.discovery(IT).is_some()
}

fn runs(state: &State, who: usize) -> bool {
    state.attempts[who].phase == Phase::Running
}

const FIRST: Role = Role::plain(0, 0);
const AGAIN: Role = Role::plain(0, 1);
const OTHER: Role = Role::plain(1, 1);

#[test]
fn two_containers_run_at_once() {
    assert!(happens(&[FIRST, OTHER], |_, state| runs(state, 0) && runs(state, 1)));
}

#[test]
fn one_served_before_and_one_served_live() {
    let live = Role {
        door: Door::Live,
        ..OTHER
    };
    assert!(happens(&[FIRST, live], |_, state| runs(state, 0) && runs(state, 1)));
}

#[test]
fn a_container_has_two_devices() {
    let two = Role { wants: 2, ..FIRST };
    assert!(happens(&[two], |_, state| state.attempts[0].used() == 0b11));
}

#[test]
fn a_second_run_starts_while_the_first_ones_rest_still_has_its_device() {
    assert!(happens(&[FIRST, AGAIN], |_, state| {
        let releasing = state.files.leases[0].is_some_and(|lease| lease.state == LeaseState::Releasing);
        state.attempts[0].left && releasing && runs(state, 1)
    }));
}

#[test]
fn a_second_maker_goes_on_with_the_first_ones_reservation() {
    assert!(happens(&[FIRST, AGAIN], |_, state| {
        let config = state.attempts[1].config;
        runs(state, 1) && config.is_some_and(|config| config.lease == 0)
    }));
}

#[test]
fn a_container_that_comes_too_late_is_turned_away_and_its_device_another_ones() {
    assert!(happens(&[FIRST, OTHER], |_, state| {
        state.attempts[0].phase == Phase::TurnedAway && state.attempts[1].used() == 1
    }));
}

#[test]
fn a_container_of_before_the_reboot_is_made_again_while_its_lease_still_stands() {
    assert!(happens(&[FIRST, AGAIN], |_, state| {
        let is_old = state.files.leases[0].is_some_and(|lease| !lease.this_boot);
        let config = state.attempts[1].config;
        is_old
            && state.attempts[1].phase == Phase::TurnedAway
            && config.is_some_and(|config| config.lease == 0)
    }));
}

#[test]
fn a_container_runs_beside_a_lease_that_cannot_be_read() {
    assert!(happens(&[FIRST, OTHER], |_, state| {
        let rotten = state.files.leases[0].is_some_and(|lease| !lease.is_readable);
        rotten && runs(state, 0) && runs(state, 1)
    }));
}

#[test]
fn a_killed_writer_leaves_a_record_newer_than_its_lease() {
    assert!(happens(&[FIRST], |_, state| {
        let lease = state.files.leases[0].map(|lease| lease.state);
        let record = state.files.records[0].map(|record| record.state);
        lease == Some(LeaseState::Pending) && record == Some(LeaseState::Held)
    }));
}
