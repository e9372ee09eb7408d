//! The real runtime: becoming it, and running it where there is something to do afterwards.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

use super::child;
use crate::failure::Failure;

/// The runtime that this program stands before.
#[derive(Debug)]
pub struct RealRuntime {
    path: PathBuf,
    remedy: &'static str,
}

impl RealRuntime {
    /// The one at `path`; `remedy` is what to do where it can't be run.
    pub fn new(path: PathBuf, remedy: &'static str) -> RealRuntime {
        RealRuntime { path, remedy }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Becomes the real runtime: same process, same words, same environment.
    #[must_use = "it comes back only where that failed"]
    pub fn become_it(&self, args: &[OsString]) -> Failure {
        let error = Command::new(&self.path).args(args).exec();
        self.cannot_run(&error)
    }

    /// Runs the real runtime as a child, signals passed on; its exit code, as a shell has it. From here on no signal
    /// ends this process: what is to be done afterwards is done.
    ///
    /// # Errors
    /// A host failure where it can't be started or waited for.
    pub fn run(&self, args: &[OsString]) -> Result<u8, Failure> {
        let ended = || -> Result<u8, Errno> {
            let (before, signals) = child::hold_signals()?;
            child::wait(self.start(args, &before)?, &signals)
        };
        ended().map_err(|errno| self.cannot_run(&errno.into()))
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
        let words = std::iter::once(self.path.as_os_str()).chain(args.iter().map(OsString::as_os_str));
        posix_spawn(
            self.path.as_path(),
            &PosixSpawnFileActions::init()?,
            &attributes,
            &words.filter_map(c_string).collect::<Vec<_>>(),
            &environment(),
        )
    }

    /// The failure that it can't be run.
    pub fn cannot_run(&self, error: &io::Error) -> Failure {
        let what = format!("can't run the low-level runtime {}", self.path.display());
        Failure::host(what, error).remedy(self.remedy)
    }
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
