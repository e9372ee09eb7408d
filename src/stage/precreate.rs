//! Podman's precreate: config.json on standard input, the edited one on standard output, before anything exists.

use std::io::Write;

use serde_json::Value;

use super::{Options, config, forged, host, program, refuse_rootless, refuse_unless_isolated, rules, undo};
use crate::config::Config;
use crate::edits::{device, spec};
use crate::failure::Failure;
use crate::lease::liveness::{self, Here};
use crate::lease::{Container, Lease, LeaseId, LeaseState, LeasedDevice, Ledger};
use crate::oci::{self, Spec};
use crate::request::{Request, keys};
use crate::reserve::{self, Asker};

/// Reserves what the config asks for and writes the edited config; echoes a config that asks for nothing.
pub fn run(document: Vec<u8>, options: &Options) -> Result<(), Failure> {
    if !may_concern_us(&document) {
        return print(&document);
    }
    let mut spec: Value = serde_json::from_slice(&document).map_err(|error| {
        Failure::host("config.json on standard input can't be read", error)
            .remedy("Podman calls this hook at precreate; see README for how to set it up")
    })?;
    if !super::concerns_us(Spec(&spec).annotations().map(|(key, _)| key)) {
        return print(&document);
    }
    let request = Request::from_annotations(Spec(&spec).annotations())?;
    let config = config(options)?;
    refuse_rootless()?;
    let ledger = Ledger::open(&config.ledger_dir)?;
    let here = Here::look()?;
    let asker = asker(&here, Spec(&spec))?;
    match earlier_edits(&ledger, &here, &asker, &mut spec)? {
        Earlier::StillGood => return print(&document),
        Earlier::None | Earlier::TakenOut => {}
    }
    let Some(request) = request else {
        return print(&to_bytes(&spec)?);
    };
    refuse_unless_isolated(&config, oci::not_isolated(Spec(&spec)))?;
    let lease = reserve::reserve(&host(&config), &ledger, &here, &rules(&config), &request, asker)?;
    edit(&mut spec, &config, &lease)
        .and_then(|()| print(&to_bytes(&spec)?))
        .map_err(|failure| undo(&ledger, &lease, failure))
}

/// A search that every config pays for. An engine that escaped the letters of `mig.` would show it by `\u00`.
fn may_concern_us(document: &[u8]) -> bool {
    let has = |needle: &str| memchr::memmem::find(document, needle.as_bytes()).is_some();
    has("mig.") || has("\\u006") || has("\\u002e") || has("\\u002E")
}

enum Earlier {
    /// No edits of ours stand in this config.
    None,
    /// They stand there for a reservation that waits for this very container.
    StillGood,
    /// They stood there, for a reservation that is history.
    TakenOut,
}

/// A config that has been here before: called twice for one container, or copied from an earlier one's bundle.
fn earlier_edits(ledger: &Ledger, here: &Here, asker: &Asker, spec: &mut Value) -> Result<Earlier, Failure> {
    let named = Spec(spec).annotation(keys::LEASE).map(str::to_owned);
    let ours = device::recover(spec::our_hooks(spec, &program()?));
    let (id, mut ours) = match (named, ours) {
        (None, None) => return Ok(Earlier::None),
        (Some(_), None) => {
            return Err(forged(
                "this container's config has it without our hooks beside it",
            ));
        }
        (named, Some(ours)) => (named.unwrap_or_default(), ours),
    };
    let lease = match id.parse::<LeaseId>() {
        Ok(id) => ledger.get(&id)?,
        Err(_) => None,
    };
    if lease.is_some_and(|lease| is_waiting_for(&lease, here, asker)) {
        return Ok(Earlier::StillGood);
    }
    ours.annotations.push((keys::LEASE.to_owned(), id));
    spec::take_out(spec, &ours);
    Ok(Earlier::TakenOut)
}

fn is_waiting_for(lease: &Lease, here: &Here, asker: &Asker) -> bool {
    let holder = lease.holder.container();
    let alive = here.process_state(&holder.process) == crate::lease::transition::ProcessState::Alive;
    lease.state == LeaseState::Pending
        && holder.id == asker.container.id
        && alive
        && lease.boot_id == here.boot_id
}

/// The container to be, and the process that outlives this hook: the engine that called it.
fn asker(here: &Here, spec: Spec<'_>) -> Result<Asker, Failure> {
    let id = spec.podman_id().ok_or_else(|| {
        Failure::host(
            "config.json names no container id",
            "neither its cgroup nor its mounts are as Podman's are",
        )
        .remedy("the precreate stage is for Podman; README tells what other engines need")
    })?;
    let container = Container {
        id,
        bundle: None,
        process: here.name_process(nix::unistd::getppid().as_raw())?,
        cgroups: spec
            .cgroups_path()
            .map(liveness::own_cgroups_of_spec)
            .unwrap_or_default(),
        cgroup_namespace: here.cgroup_namespace,
    };
    Ok(Asker {
        container,
        state: LeaseState::Pending,
    })
}

fn edit(spec: &mut Value, config: &Config, lease: &Lease) -> Result<(), Failure> {
    let devices = lease
        .devices
        .iter()
        .map(|device| (device.uuid(), LeasedDevice::nodes(device)));
    let mut edits = device::with_hooks(
        device::for_devices(devices),
        &program()?,
        config.named_file.as_deref(),
    );
    edits
        .annotations
        .push((keys::LEASE.to_owned(), lease.id.to_string()));
    let user_namespace = Spec(spec).user_namespace();
    spec::write(spec, &edits, user_namespace)
}

fn to_bytes(spec: &Value) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(spec).map_err(|error| Failure::host("config.json can't be written", error))
}

fn print(document: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(document)
        .and_then(|()| out.flush())
        .map_err(|error| {
            Failure::host("can't write config.json to standard output", error)
                .remedy("look at the engine that called this hook: it does not take the answer")
        })
}
