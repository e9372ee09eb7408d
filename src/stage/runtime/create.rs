//! `create` and `run`: what the container asks for is reserved and written into its config.json, then the real runtime
//! makes it. `restore` of a container that asks is refused.

use std::convert::Infallible;

use serde_json::Value;

use super::config_file::ConfigFile;
use super::{Call, absolute, hook_program, real_path};
use crate::config::Guard;
use crate::failure::Failure;
use crate::lease::Container;
use crate::lease::liveness::Here;
use crate::oci::{Bundled, Spec};
use crate::request::Request;
use crate::stage::{Making, Suspect, Unstoppable, asked, is_to_be_served, judge, may_concern_us, to_bytes};

/// What a container's config.json says to us.
enum Says {
    /// Nothing: it wasn't even looked into.
    Nothing,
    /// It does not ask.
    NoRequest(ConfigFile, Value),
    /// It asks; or it doesn't, and claims to have been served before.
    ToBeServed(ConfigFile, Value, Option<Request>),
}

/// Serves the container and becomes the real runtime; comes back where either failed, with nothing reserved.
pub fn run(call: &Call<'_>, bundled: &Bundled) -> Failure {
    match says(call, bundled) {
        Ok(Says::ToBeServed(file, spec, request)) => serve(call, bundled, &file, spec, request),
        Ok(Says::NoRequest(file, spec)) => judged(call, bundled, &file, &spec),
        Ok(Says::Nothing) => call.real.become_it(call.args),
        Err(failure) => failure,
    }
}

/// Refuses a container that asks, and has the real runtime restore any other.
pub fn restore(call: &Call<'_>, bundled: &Bundled) -> Failure {
    match says(call, bundled) {
        Ok(Says::Nothing) => call.real.become_it(call.args),
        Ok(Says::NoRequest(file, spec)) => judged(call, bundled, &file, &spec),
        Ok(Says::ToBeServed(..)) => {
            let why = "it would come back with the device that it had at its checkpoint, which may be another's now";
            Failure::refused("no restore of a container that asks for a MIG device", why)
                .remedy("start it anew")
        }
        Err(failure) => failure,
    }
}

fn serve(
    call: &Call<'_>,
    bundled: &Bundled,
    file: &ConfigFile,
    spec: Value,
    request: Option<Request>,
) -> Failure {
    let asks = request.is_some();
    let signals = Unstoppable::from_now_on();
    let container = |here: &Here, spec: Spec<'_>| container(call, bundled, here, spec);
    let deliver = |edited: Option<&Value>| -> Result<Infallible, Failure> {
        let judged = match edited {
            // An earlier time's edits are out again, and it does not ask any more.
            Some(spec) if !asks => judge(call.config, &suspect(call, bundled, spec), call.voice.warn)?,
            _ => None,
        };
        let edited = judged.as_ref().or(edited).map(to_bytes).transpose()?;
        drop(signals);
        Err(become_real(call, file, edited))
    };
    let served = hook_program().and_then(|hook| {
        let making = Making {
            config: call.config,
            hook: &hook,
            bundle: Some(&bundled.bundle),
            runtime: Some(call.real.path()),
            voice: call.voice,
        };
        making.serve(spec, request, container, deliver)
    });
    match served {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn suspect<'a>(call: &Call<'_>, bundled: &'a Bundled, document: &'a Value) -> Suspect<'a> {
    Suspect {
        document,
        bundle: Some(&bundled.bundle),
        without_cgroup: call.parsed.without_cgroup,
    }
}

/// A container that did not ask is the guard's.
fn judged(call: &Call<'_>, bundled: &Bundled, file: &ConfigFile, spec: &Value) -> Failure {
    let judged = judge(call.config, &suspect(call, bundled, spec), call.voice.warn);
    match judged.and_then(|changed| changed.as_ref().map(to_bytes).transpose()) {
        Ok(changed) => become_real(call, file, changed),
        Err(failure) => failure,
    }
}

/// Becomes the real runtime, with `edited` in the place of config.json. Comes back with config.json as it was.
fn become_real(call: &Call<'_>, file: &ConfigFile, edited: Option<Vec<u8>>) -> Failure {
    if let Some(Err(failure)) = edited.as_ref().map(|edited| file.replace(edited)) {
        return failure;
    }
    let failure = call.real.become_it(call.args);
    match edited.map_or(Ok(()), |_| file.restore()) {
        Ok(()) => failure,
        Err(other) => failure.and(&other),
    }
}

/// Reads config.json as far as it may matter.
fn says(call: &Call<'_>, bundled: &Bundled) -> Result<Says, Failure> {
    let Some(file) = ConfigFile::read(&bundled.config)? else {
        return Ok(Says::Nothing);
    };
    let environment = call.config.environment_asks;
    let is_guarded = call.config.guard != Guard::Off;
    if !may_concern_us(file.bytes()) && !environment && !is_guarded {
        return Ok(Says::Nothing);
    }
    let spec: Value = serde_json::from_slice(file.bytes()).map_err(|error| {
        Failure::host(format!("{} can't be read", bundled.config.display()), error)
            .remedy("look at the engine that wrote it")
    })?;
    let request = asked(Spec(&spec), environment)?;
    match is_to_be_served(Spec(&spec), request.as_ref()) {
        true => Ok(Says::ToBeServed(file, spec, request)),
        false => Ok(Says::NoRequest(file, spec)),
    }
}

/// The container to be, and the process that makes it: this one, which the real runtime keeps.
fn container(call: &Call<'_>, bundled: &Bundled, here: &Here, spec: Spec<'_>) -> Result<Container, Failure> {
    Ok(Container {
        id: bundled.id.clone(),
        bundle: Some(absolute(&bundled.bundle)?),
        state_root: call.parsed.root.as_deref().map(real_path).transpose()?,
        process: here.name_process(nix::unistd::getpid().as_raw())?,
        own_pid_namespace: false,
        cgroups: here.own_cgroups_of_spec(spec.cgroups_path().unwrap_or_default())?,
        cgroup_namespace: here.cgroup_namespace,
    })
}
