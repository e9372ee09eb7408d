//! `oci-mig-runtime`: stands where an engine calls its low-level runtime, and becomes that runtime once the container has
//! what it asks for. Its command line is the runtime's.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use oci_mig_hook::host::nvml;
use oci_mig_hook::oci::RuntimeCall;
use oci_mig_hook::report;
use oci_mig_hook::stage::{self, Voice};

const HELP: &str = "\
oci-mig-runtime stands before a low-level OCI runtime and takes its command line as it comes. On create and run it
reserves the MIG device that the container's annotations ask for (mig.profile=1g.10gb), writes it into the bundle's
config.json, and becomes the real runtime: runtime.path of the configuration, else crun or runc. Engines are pointed to
it by 'oci-mig-hook setup'; oci-mig-runtime(1) explains the rest. What follows is the real runtime's own help.
";

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    // This program re-executed, for NVML alone.
    if let Some(code) = nvml::asked(&args) {
        return code;
    }
    if args == ["--help"] {
        // Whoever doesn't read it has had enough.
        drop(writeln!(std::io::stdout(), "{HELP}"));
    }
    let call = RuntimeCall::parse(&args);
    let said = |failure| report::to_runtimes_caller(&failure, call.log.as_ref());
    let warn = |failure: &_| report::warning_to_runtimes_caller(failure, call.log.as_ref());
    let voice = Voice {
        warn: &warn,
        wait: &report::waiting_to_runtimes_caller,
    };
    match stage::runtime::run(&call, &args, voice) {
        Ok(ran) => {
            if let Some(failure) = ran.unreleased {
                said(failure);
            }
            ExitCode::from(ran.code)
        }
        Err(failure) => {
            let code = failure.exit() as u8;
            said(failure);
            ExitCode::from(code)
        }
    }
}
