//! createRuntime (and prestart, its older name): the container exists, its process hasn't started. One that was
//! served before is confirmed; one that wasn't is served now, as far as a live container can be.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{
    DriverFiles, Options, Voice, asked_by, config, forged, host, mask_proc, program, refuse_nvidias_hook,
    refuse_other_devices, refuse_rootless, refuse_unless_isolated, refuse_where_it_exists, reserver, undo,
};
use crate::config::Config;
use crate::confirm::{self, Claim};
use crate::edits::device;
use crate::failure::Failure;
use crate::inject::{self, DeviceAccess, LiveContainer};
use crate::lease::liveness::Here;
use crate::lease::{Container, Lease, LeaseId, LeaseState, Ledger};
use crate::oci::{self, Spec, State};
use crate::request::{Request, keys};
use crate::require::Requirements;
use crate::reserve::{Asker, Reserver};

/// Confirms the lease that the container names, or reserves and injects what it asks for.
pub fn run(document: &[u8], options: &Options, voice: Voice<'_>) -> Result<(), Failure> {
    let state = State::parse(document)?;
    let annotations = || {
        state
            .annotations
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    };
    let lease = state.annotations.get(keys::LEASE);
    if lease.is_none() && options.devices.is_some() {
        return Err(lost_its_lease());
    }
    if !super::concerns_us(annotations().map(|(key, _)| key)) {
        return Ok(());
    }
    super::say_nothing_where_the_container_chose(&state)?;
    match (lease, asked_by(annotations())?) {
        (Some(lease), _) => confirm(&state, lease, options),
        (None, Some(request)) => serve(&state, request, options, voice),
        (None, None) => Ok(()),
    }
}

/// Our own hook entry, which only ever stands beside `mig.lease`: whoever took that out left the devices in.
fn lost_its_lease() -> Failure {
    let why = "its config.json has our edits, and no annotation mig.lease";
    Failure::host("this container's reservation is gone", why).remedy("start it anew from its engine")
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
    let mut locked = ledger.lock()?;
    let confirmed = confirm::confirm(&locked, &here, claim)?;
    if confirmed.container().cgroups.is_empty() {
        let why = "it has no cgroup of its own, so no device rule holds";
        refuse_unless_isolated(&config, Some(why.to_owned()))?;
    }
    let held = confirmed.hold(&mut locked)?;
    drop(locked);
    // Where it was held already, this was done when it came to be.
    match held {
        Some(lease) if config.mask_proc => {
            hide_others(&config, &here, state, &lease).map_err(|failure| undo(&ledger, &lease, failure))
        }
        _ => Ok(()),
    }
}

/// What precreate could not do: runtimes take no mount inside /proc.
fn hide_others(config: &Config, here: &Here, state: &State, lease: &Lease) -> Result<(), Failure> {
    let rootfs = oci::read_rootfs(&state.bundle)?;
    let live = LiveContainer::open(pid(state)?, rootfs, config.allow_privileged)?;
    // From here on its number is its own. Since it was confirmed it could have become another's.
    if here.name_process(live.pid())? != lease.holder.container().process {
        let why = format!("its process {} has ended meanwhile", live.pid());
        return Err(Failure::host("the container is gone", why)
            .remedy("see the runtime's or engine's log for what ended it, and start it again"));
    }
    mask_proc(config, &live, lease)
}

/// A hook of the administrator's beside the one that precreate wrote: that one confirms.
fn someone_else_confirms(ledger: &Ledger, state: &State, id: &LeaseId) -> Result<(), Failure> {
    match ledger.get(id)? {
        Some(lease) if lease.holder.container().id == state.id => Ok(()),
        Some(_) => Err(forged("that lease is another container's")),
        None => Err(confirm::taken_back()),
    }
}

fn serve(state: &State, request: Request, options: &Options, voice: Voice<'_>) -> Result<(), Failure> {
    let started = Instant::now();
    let pid = pid(state)?;
    let config = config(options)?;
    refuse_rootless()?;
    refuse_where_it_exists(&config)?;
    let document = oci::read_config(&state.bundle)?;
    let request = request.requiring(Requirements::of_environment(Spec(&document).environment())?);
    // Before its process is named, or anything else is done with its number: that could be another's by then.
    let live = live_container(&config, pid, &state.bundle, Spec(&document))?;
    let here = Here::look()?;
    let container = living_container(&here, state)?;
    let spec = Spec(&document);
    refuse_unless_isolated(&config, oci::not_isolated(spec))?;
    refuse_nvidias_hook(&config, spec)?;
    if live.device_access()? == DeviceAccess::Everything {
        refuse_unless_isolated(&config, Some("its cgroup allows every device".to_owned()))?;
    }
    let files = DriverFiles::of(&config, spec, None, voice)?;
    let ledger = Ledger::open(&config.ledger_dir)?;
    let asker = Asker {
        container,
        state: LeaseState::Held,
        request,
    };
    let host = host(&config);
    let reserver = Reserver {
        patience: patience(spec, started),
        ..reserver(&config, &host, &ledger, &here, voice)
    };
    let lease = reserver.reserve(asker)?;
    let devices = lease.devices.iter().map(|device| (device.name(), device.nodes()));
    refuse_other_devices(&config, spec, &lease, false)
        .and_then(|()| {
            inject::into(
                &live,
                &device::for_devices(devices).and(files.live_edits(&live, voice)),
            )
        })
        .and_then(|()| mask_proc(&config, &live, &lease))
        .map_err(|failure| undo(&ledger, &lease, failure))
}

/// How long the runtime still lets this hook take: less than its entry's timeout, so that a wait ends in a refusal.
fn patience(spec: Spec<'_>, started: Instant) -> Option<Duration> {
    let timeout = spec.hook_timeout(program().ok()?.file_name()?.to_str()?)?;
    let margin = (timeout / 4).min(Duration::from_secs(1));
    Some(timeout.saturating_sub(margin + started.elapsed()))
}

fn live_container(
    config: &Config,
    pid: i32,
    bundle: &Path,
    spec: Spec<'_>,
) -> Result<LiveContainer, Failure> {
    let rootfs = spec.rootfs(bundle).ok_or_else(|| oci::no_rootfs(bundle))?;
    LiveContainer::open(pid, rootfs, config.allow_privileged)
}

fn living_container(here: &Here, state: &State) -> Result<Container, Failure> {
    let pid = pid(state)?;
    let process = here.name_process(pid)?;
    Ok(Container {
        id: state.id.clone(),
        bundle: Some(state.bundle.clone()),
        state_root: None,
        process,
        own_pid_namespace: here.is_init_of_another_namespace(pid)?,
        cgroups: here.own_cgroups(pid)?,
        cgroup_namespace: here.cgroup_namespace,
    })
}

fn pid(state: &State) -> Result<i32, Failure> {
    state.pid.ok_or_else(|| {
        Failure::host(
            "the container's state names no process",
            "createRuntime runs while there is one",
        )
        .remedy("look at the hook's stage in the engine's configuration")
    })
}
