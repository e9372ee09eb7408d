//! createRuntime (and prestart, its older name): the container exists, its process hasn't started. One that was
//! served before is confirmed; one that wasn't is served now, as far as a live container can be.

use super::{Options, config, forged, refuse_rootless};
use crate::confirm::{self, Claim};
use crate::failure::Failure;
use crate::lease::liveness::{self, Here};
use crate::lease::{Container, LeaseId, Ledger};
use crate::oci::State;
use crate::request::{Request, keys};

/// Confirms the lease that the container names, or reserves and injects what it asks for.
pub fn run(document: &[u8], options: &Options) -> Result<(), Failure> {
    let state = State::parse(document)?;
    let annotations = || {
        state
            .annotations
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    };
    if !super::concerns_us(annotations().map(|(key, _)| key)) {
        return Ok(());
    }
    match state.annotations.get(keys::LEASE) {
        Some(lease) => confirm(&state, lease, options),
        None => match Request::from_annotations(annotations())? {
            Some(request) => serve(&state, &request, options),
            None => Ok(()),
        },
    }
}

fn confirm(state: &State, lease: &str, options: &Options) -> Result<(), Failure> {
    let lease: LeaseId = lease.parse().map_err(|why: String| forged(&why))?;
    let config = config(options)?;
    refuse_rootless()?;
    let ledger = Ledger::open(&config.ledger_dir)?;
    let here = Here::look()?;
    let Some(devices) = &options.devices else {
        return someone_else_confirms(&ledger, state, &lease);
    };
    let claim = Claim {
        lease,
        devices: devices.clone(),
        container: living_container(&here, state)?,
    };
    confirm::confirm(&mut ledger.lock()?, &here, claim)
}

/// A hook of the administrator's beside the one that precreate wrote: that one confirms.
fn someone_else_confirms(ledger: &Ledger, state: &State, id: &LeaseId) -> Result<(), Failure> {
    match ledger.get(id)? {
        Some(lease) if lease.holder.container().id == state.id => Ok(()),
        _ => Err(forged("this container has no such lease")),
    }
}

fn serve(_state: &State, _request: &Request, _options: &Options) -> Result<(), Failure> {
    Err(Failure::host("live containers can't be served yet", ""))
}

fn living_container(here: &Here, state: &State) -> Result<Container, Failure> {
    let pid = state.pid.ok_or_else(|| {
        Failure::host(
            "the container's state names no process",
            "createRuntime runs while there is one",
        )
        .remedy("look at the hook's stage in the engine's configuration")
    })?;
    let process = here.name_process(pid)?;
    Ok(Container {
        id: state.id.clone(),
        bundle: Some(state.bundle.clone()),
        process,
        cgroups: liveness::own_cgroups(pid)?,
        cgroup_namespace: here.cgroup_namespace,
    })
}
