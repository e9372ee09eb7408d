//! Podman's precreate: config.json on standard input, the edited one on standard output, before anything exists.

use std::io::Write;

use serde_json::Value;

use super::{
    Options, asked, config, forged, host, program, refuse_other_devices, refuse_rootless,
    refuse_unless_isolated, reserver, undo,
};
use crate::config::Config;
use crate::edits::{ContainerEdits, device, spec};
use crate::failure::Failure;
use crate::lease::liveness::Here;
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
    let request = asked(Spec(&spec).annotations())?;
    if request.is_none() && Spec(&spec).annotation(keys::LEASE).is_none() {
        // A pod's sandbox, or none of those containers of it that asked.
        return print(&document);
    }
    let config = config(options)?;
    refuse_rootless()?;
    let earlier = Earlier::find(&spec)?;
    let Some(request) = request else {
        earlier
            .into_iter()
            .for_each(|earlier| earlier.take_out(&mut spec));
        return print(&to_bytes(&spec)?);
    };
    refuse_unless_isolated(
        &config,
        oci::not_isolated(Spec(&spec)).or_else(|| oci::no_cgroup(Spec(&spec))),
    )?;
    let ledger = Ledger::open(&config.ledger_dir)?;
    let here = Here::look()?;
    let asker = asker(&here, Spec(&spec), request)?;
    if let Some(earlier) = earlier {
        if let Some(lease) = earlier.renewed(&ledger, &here, &asker)? {
            return refuse_other_devices(&config, Spec(&spec), &lease)
                .and_then(|()| print(&document))
                .map_err(|failure| undo(&ledger, &lease, failure));
        }
        earlier.take_out(&mut spec);
    }
    let lease = reserver(&config, &host(&config), &ledger, &here).reserve(asker)?;
    refuse_other_devices(&config, Spec(&spec), &lease)
        .and_then(|()| edit(&mut spec, &config, &lease))
        .and_then(|()| print(&to_bytes(&spec)?))
        .map_err(|failure| undo(&ledger, &lease, failure))
}

/// A search that every config pays for. An engine that escaped the letters of `mig.` would show it by `\u00`.
fn may_concern_us(document: &[u8]) -> bool {
    let has = |needle: &str| memchr::memmem::find(document, needle.as_bytes()).is_some();
    has("mig.") || has("\\u006") || has("\\u002e") || has("\\u002E")
}

/// Our own edits in a config that has been here before: called twice for one container, or copied from an earlier
/// one's bundle.
struct Earlier {
    lease: String,
    edits: ContainerEdits,
}

impl Earlier {
    /// # Errors
    /// A usage failure for a `mig.lease` without our hooks beside it: we didn't write it.
    fn find(spec: &Value) -> Result<Option<Earlier>, Failure> {
        let lease = Spec(spec).annotation(keys::LEASE).map(str::to_owned);
        match (lease, device::recover(spec::our_hooks(spec, &program()?))) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(forged(
                "this container's config has it without our hooks beside it",
            )),
            (lease, Some(mut edits)) => {
                let lease = lease.unwrap_or_default();
                edits.annotations.push((keys::LEASE.to_owned(), lease.clone()));
                Ok(Some(Earlier { lease, edits }))
            }
        }
    }

    /// Its reservation, if that waits for this very container, made by this very engine for the same request. It gets
    /// its whole time again.
    fn renewed(&self, ledger: &Ledger, here: &Here, asker: &Asker) -> Result<Option<Lease>, Failure> {
        let Ok(id) = self.lease.parse::<LeaseId>() else {
            return Ok(None);
        };
        let mut ledger = ledger.lock()?;
        match ledger.get(&id)? {
            Some(lease) if lease.boot_id == here.boot_id && asker.asked_for(&lease) => {
                reserve::renew(&mut ledger, lease).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn take_out(self, spec: &mut Value) {
        spec::take_out(spec, &self.edits);
    }
}

/// The container to be, and the process that outlives this hook: the engine that called it.
fn asker(here: &Here, spec: Spec<'_>, request: Request) -> Result<Asker, Failure> {
    let id = spec.podman_id().ok_or_else(|| {
        Failure::host("config.json names no container id", "its cgroup's name is not as Podman makes it")
            .remedy("the precreate stage is for Podman, and for containers with a cgroup; README tells what else there is")
    })?;
    let container = Container {
        id: id.to_owned(),
        bundle: None,
        process: here.name_process(nix::unistd::getppid().as_raw())?,
        own_pid_namespace: false,
        cgroups: here.own_cgroups_of_spec(spec.cgroups_path().unwrap_or_default())?,
        cgroup_namespace: here.cgroup_namespace,
    };
    Ok(Asker {
        container,
        state: LeaseState::Pending,
        request,
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
    serde_json::to_vec(spec)
        .map_err(|error| Failure::host("config.json can't be written", error).remedy("report this as a bug"))
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
