//! The real runtime: which one it is, becoming it, and running it where there is something to do afterwards.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::unistd::Pid;

use super::child;
use crate::failure::Failure;

/// Runtimes that are looked for where the configuration names none.
const NAMES: [&str; 2] = ["crun", "runc"];

/// Where they are looked for: never on a PATH that came with the call.
const FOLDERS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The runtime that this program stands before.
#[derive(Debug)]
pub struct RealRuntime(PathBuf);

impl RealRuntime {
    /// The one at `path`, or the first that is installed.
    ///
    /// # Errors
    /// A host failure where there is none, or where it is this very program.
    pub fn find(path: Option<&Path>) -> Result<RealRuntime, Failure> {
        match path {
            Some(path) => named(path),
            None => installed(),
        }
    }

    /// Becomes the real runtime: same process, same words, same environment.
    #[must_use = "it comes back only where that failed"]
    pub fn become_it(&self, args: &[OsString]) -> Failure {
        // The real runtime never had a child: it shall not find one.
        crate::host::nvml::reap();
        let error = Command::new(&self.0).args(args).exec();
        self.cannot_run(&error)
    }

    /// Runs the real runtime as a child, signals passed on; its exit code, as a shell has it. From here on no signal
    /// ends this process: what is to be done afterwards is done.
    ///
    /// # Errors
    /// A host failure where it can't be started or waited for.
    pub fn run(&self, args: &[OsString]) -> Result<u8, Failure> {
        let started = SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .and_then(|mask| self.start(args, &mask));
        started
            .and_then(child::wait)
            .map_err(|errno| self.cannot_run(&errno.into()))
    }

    /// With the signal mask that this program was called with.
    fn start(&self, args: &[OsString], mask: &SigSet) -> Result<Pid, Errno> {
        // Rust's runtime ignores it, and nobody told the real one to.
        let default = SigSet::from(Signal::SIGPIPE);
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_sigdefault(&default)?;
        attributes.set_sigmask(mask)?;
        attributes
            .set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF)?;
        let words = std::iter::once(self.0.as_os_str()).chain(args.iter().map(OsString::as_os_str));
        posix_spawn(
            self.0.as_path(),
            &PosixSpawnFileActions::init()?,
            &attributes,
            &words.filter_map(c_string).collect::<Vec<_>>(),
            &environment(),
        )
    }

    fn cannot_run(&self, error: &io::Error) -> Failure {
        Failure::host(
            format!("can't run the low-level runtime {}", self.0.display()),
            error,
        )
        .remedy(NAME_IT)
    }
}

const NAME_IT: &str =
    "runtime.path in the configuration names it; see whether it is there and can be executed";

fn named(path: &Path) -> Result<RealRuntime, Failure> {
    let real = RealRuntime(path.to_owned());
    match is_this_program(path) {
        Ok(false) => Ok(real),
        Ok(true) => {
            let what = format!("runtime.path = \"{}\"", path.display());
            let why = "that is oci-mig-runtime itself";
            Err(Failure::host(what, why).remedy("name the runtime that it shall stand before: crun or runc"))
        }
        Err(error) => Err(real.cannot_run(&error)),
    }
}

/// One that is a link to this program is passed over: somebody put us in its place.
fn installed() -> Result<RealRuntime, Failure> {
    let places = NAMES
        .iter()
        .flat_map(|name| FOLDERS.iter().map(move |folder| Path::new(folder).join(name)));
    let is_one = |path: &PathBuf| {
        let executable = std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
        executable && is_this_program(path).is_ok_and(|itself| !itself)
    };
    places.into_iter().find(is_one).map(RealRuntime).ok_or_else(|| {
        let why = format!("neither {} is in {}", NAMES.join(" nor "), FOLDERS.join(", "));
        Failure::host("no low-level runtime", why).remedy("install one, or name it with runtime.path")
    })
}

fn is_this_program(path: &Path) -> io::Result<bool> {
    let (other, this) = (std::fs::metadata(path)?, std::fs::metadata("/proc/self/exe")?);
    Ok((other.dev(), other.ino()) == (this.dev(), this.ino()))
}

fn environment() -> Vec<CString> {
    let entry = |(name, value): (OsString, OsString)| {
        c_string(OsStr::from_bytes(
            &[name.as_bytes(), b"=", value.as_bytes()].concat(),
        ))
    };
    std::env::vars_os().filter_map(entry).collect()
}

/// None for what can't have come from a command line or an environment.
fn c_string(text: &OsStr) -> Option<CString> {
    CString::new(text.as_bytes()).ok()
}
