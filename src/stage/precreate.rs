//! Podman's precreate: config.json on standard input, the edited one on standard output, before anything exists.

use std::io::Write;

use serde_json::Value;

use super::{
    Making, Options, Suspect, Voice, asked, config, is_to_be_served, judge, may_concern_us, program,
    refuse_unless_isolated, to_bytes,
};
use crate::config::{Config, Guard};
use crate::failure::Failure;
use crate::lease::Container;
use crate::lease::liveness::Here;
use crate::oci::{self, Spec};

/// Reserves what the config asks for and writes the edited config; echoes a config that asks for nothing. With
/// `--guard`, judges that one, and echoes any other.
pub fn run(document: Vec<u8>, options: &Options, voice: Voice<'_>) -> Result<(), Failure> {
    match options.guard {
        true => guard(&document, options, voice),
        false => serve(&document, options, voice),
    }
}

fn guard(document: &[u8], options: &Options, voice: Voice<'_>) -> Result<(), Failure> {
    let config = config(options)?;
    if config.guard == Guard::Off {
        return print(document);
    }
    let spec = parse(document)?;
    // What asks is served by the other entry, and refused there what it may not have besides.
    if asked(Spec(&spec), false)?.is_some() {
        return print(document);
    }
    let suspect = Suspect {
        document: &spec,
        bundle: None,
        without_cgroup: Spec(&spec).cgroups_path().is_none(),
    };
    match judge(&config, &suspect, voice.warn)? {
        Some(changed) => print(&to_bytes(&changed)?),
        None => print(document),
    }
}

fn serve(document: &[u8], options: &Options, voice: Voice<'_>) -> Result<(), Failure> {
    if !may_concern_us(document) {
        return print(document);
    }
    let spec = parse(document)?;
    let request = asked(Spec(&spec), false)?;
    if !is_to_be_served(Spec(&spec), request.as_ref()) {
        return print(document);
    }
    let config = config(options)?;
    let making = Making {
        config: &config,
        hook: &program()?,
        bundle: None,
        runtime: None,
        voice,
    };
    making.serve(
        spec,
        request,
        |here, spec| container(&config, here, spec),
        |edited| match edited {
            Some(spec) => print(&to_bytes(spec)?),
            None => print(document),
        },
    )
}

fn parse(document: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(document).map_err(|error| {
        Failure::host("config.json on standard input can't be read", error)
            .remedy("Podman calls this hook at precreate; see README for how to set it up")
    })
}

/// The container to be, and the process that outlives this hook: the engine that called it.
fn container(config: &Config, here: &Here, spec: Spec<'_>) -> Result<Container, Failure> {
    refuse_unless_isolated(config, oci::no_cgroup(spec))?;
    let id = spec.podman_id().ok_or_else(|| {
        Failure::host("config.json names no container id", "its cgroup's name is not as Podman makes it")
            .remedy("the precreate stage is for Podman, and for containers with a cgroup; README tells what else there is")
    })?;
    Ok(Container {
        id: id.to_owned(),
        bundle: None,
        state_root: None,
        process: here.name_process(nix::unistd::getppid().as_raw())?,
        own_pid_namespace: false,
        cgroups: here.own_cgroups_of_spec(spec.cgroups_path().unwrap_or_default())?,
        cgroup_namespace: here.cgroup_namespace,
    })
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
