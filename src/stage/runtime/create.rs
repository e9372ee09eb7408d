//! `create` and `run`: what the container asks for is reserved and written into its config.json, then the real runtime
//! makes it. `restore` of a container that asks is refused.

use std::convert::Infallible;
use std::ffi::OsString;

use serde_json::Value;

use super::config_file::ConfigFile;
use super::real::RealRuntime;
use super::{absolute, hook_program};
use crate::config::Config;
use crate::failure::Failure;
use crate::lease::Container;
use crate::lease::liveness::Here;
use crate::oci::{Bundled, RuntimeCall, Spec};
use crate::request::Request;
use crate::stage::{Making, Unstoppable, asked, is_to_be_served, may_concern_us, to_bytes};

/// Serves the container and becomes the real runtime; comes back where either failed, with nothing reserved.
pub fn run(
    bundled: &Bundled,
    call: &RuntimeCall,
    config: &Config,
    real: &RealRuntime,
    args: &[OsString],
) -> Failure {
    let (file, spec, request) = match asking(bundled, config) {
        Ok(Some(asking)) => asking,
        Ok(None) => return real.become_it(args),
        Err(failure) => return failure,
    };
    let signals = Unstoppable::from_now_on();
    let container = |here: &Here, spec: Spec<'_>| container(bundled, call, here, spec);
    let deliver = |edited: Option<&Value>| -> Result<Infallible, Failure> {
        if let Some(spec) = edited {
            file.replace(&to_bytes(spec)?)?;
        }
        drop(signals);
        let failure = real.become_it(args);
        Err(match edited.map_or(Ok(()), |_| file.restore()) {
            Ok(()) => failure,
            Err(other) => failure.and(&other),
        })
    };
    let served = hook_program().and_then(|hook| {
        let making = Making { config, hook: &hook };
        making.serve(spec, request, container, deliver)
    });
    match served {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

/// Refuses a container that asks, and has the real runtime restore any other.
pub fn restore(bundled: &Bundled, config: &Config, real: &RealRuntime, args: &[OsString]) -> Failure {
    match asking(bundled, config) {
        Ok(None) => real.become_it(args),
        Ok(Some(_)) => {
            let why = "it would come back with the device that it had at its checkpoint, which may be another's now";
            Failure::refused("no restore of a container that asks for a MIG device", why)
                .remedy("start it anew")
        }
        Err(failure) => failure,
    }
}

/// The config.json of a container that concerns us, with its request; none where it is to be left alone.
fn asking(
    bundled: &Bundled,
    config: &Config,
) -> Result<Option<(ConfigFile, Value, Option<Request>)>, Failure> {
    let Some(file) = ConfigFile::read(&bundled.config) else {
        return Ok(None);
    };
    if !may_concern_us(file.bytes()) && !config.environment_asks {
        return Ok(None);
    }
    let spec: Value = serde_json::from_slice(file.bytes()).map_err(|error| {
        Failure::host(format!("{} can't be read", bundled.config.display()), error)
            .remedy("look at the engine that wrote it")
    })?;
    let request = asked(Spec(&spec), config.environment_asks)?;
    Ok(is_to_be_served(Spec(&spec), request.as_ref()).then_some((file, spec, request)))
}

/// The container to be, and the process that makes it: this one, which the real runtime keeps.
fn container(
    bundled: &Bundled,
    call: &RuntimeCall,
    here: &Here,
    spec: Spec<'_>,
) -> Result<Container, Failure> {
    Ok(Container {
        id: bundled.id.clone(),
        bundle: Some(absolute(&bundled.bundle)?),
        state_root: call.root.as_deref().map(absolute).transpose()?,
        process: here.name_process(nix::unistd::getpid().as_raw())?,
        own_pid_namespace: false,
        cgroups: here.own_cgroups_of_spec(spec.cgroups_path().unwrap_or_default())?,
        cgroup_namespace: here.cgroup_namespace,
    })
}
