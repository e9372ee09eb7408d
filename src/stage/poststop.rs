//! poststop: the container is gone, its devices go back.

use super::{Options, config};
use crate::failure::Failure;
use crate::lease::liveness::Here;
use crate::lease::{Judge, Ledger};
use crate::oci::State;
use crate::release::{self, Ended};
use crate::request::keys;

/// Gives back what the container of the state on standard input held.
pub fn run(document: &[u8], options: &Options) -> Result<(), Failure> {
    let state = State::parse(document)?;
    if !super::concerns_us(state.annotations.keys().map(String::as_str)) {
        return Ok(());
    }
    super::say_nothing_where_the_container_chose(&state)?;
    let config = config(options)?;
    let Some(ledger) = Ledger::existing(&config.ledger_dir)? else {
        return Ok(());
    };
    let here = Here::look()?;
    let ended = Ended {
        id: &state.id,
        bundle: &state.bundle,
    };
    let judge = Judge::new(&here, config.pending);
    let mut locked = ledger.lock()?;
    // Podman's own poststop doesn't show what precreate added: then only the container is known.
    match state.annotations.get(keys::LEASE).and_then(|id| id.parse().ok()) {
        Some(id) => release::named(&mut locked, judge, &id, ended),
        None => release::of_container(&mut locked, judge, ended),
    }
}
