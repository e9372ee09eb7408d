//! Which runtime is the real one: the configured one, or the first that is installed. That choice is kept until the machine
//! is started again: a container's later calls must go to the runtime that made it, whatever was installed since.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::real::RealRuntime;
use crate::failure::Failure;
use crate::lease::Ledger;

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

/// The link in the ledger's folder that leads to the chosen one: gone after a reboot, as all containers are.
const CHOSEN: &str = "runtime";

const NAMED_WRONG: &str =
    "runtime.path in the configuration names it; see whether it is there and can be executed";
const FOUND_WRONG: &str = "it was found installed; name the right one with runtime.path in the configuration";

/// The configured one, the chosen one, or the first that is installed.
///
/// # Errors
/// A host failure where there is none, or where it is this very program.
pub fn find(configured: Option<&Path>, ledger_dir: &Path) -> Result<RealRuntime, Failure> {
    match configured {
        Some(path) => named(path),
        None => chosen(ledger_dir)
            .or_else(installed)
            .map(|path| RealRuntime::new(path, FOUND_WRONG))
            .ok_or_else(none),
    }
}

/// Keeps to `real` from now on, before it makes its first container. Another call may have chosen meanwhile: that choice
/// stands.
///
/// # Errors
/// As [`find`].
pub fn keep(real: RealRuntime, configured: Option<&Path>, ledger_dir: &Path) -> Result<RealRuntime, Failure> {
    if configured.is_some() || chosen(ledger_dir).is_some() {
        return Ok(real);
    }
    // A container that didn't ask must not fail by this, nor one of a user who may not write there.
    if Ledger::open(ledger_dir).is_ok() {
        let link = ledger_dir.join(CHOSEN);
        if std::fs::read_link(&link).is_ok() {
            // It leads nowhere any more.
            let _ = std::fs::remove_file(&link);
        }
        let _ = symlink(real.path(), &link);
    }
    find(None, ledger_dir)
}

fn named(path: &Path) -> Result<RealRuntime, Failure> {
    let real = RealRuntime::new(path.to_owned(), NAMED_WRONG);
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

fn chosen(ledger_dir: &Path) -> Option<PathBuf> {
    std::fs::read_link(ledger_dir.join(CHOSEN))
        .ok()
        .filter(|path| is_runtime(path))
}

fn installed() -> Option<PathBuf> {
    let mut places = NAMES
        .iter()
        .flat_map(|name| FOLDERS.iter().map(move |folder| Path::new(folder).join(name)));
    places.find(|path| is_runtime(path))
}

/// One that is a link to this program is none: somebody put us in its place.
fn is_runtime(path: &Path) -> bool {
    let executable = std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
    path.is_absolute() && executable && is_this_program(path).is_ok_and(|itself| !itself)
}

fn is_this_program(path: &Path) -> io::Result<bool> {
    let (other, this) = (std::fs::metadata(path)?, std::fs::metadata("/proc/self/exe")?);
    Ok((other.dev(), other.ino()) == (this.dev(), this.ino()))
}

fn none() -> Failure {
    let why = format!("neither {} is in {}", NAMES.join(" nor "), FOLDERS.join(", "));
    Failure::host("no low-level runtime", why).remedy("install one, or name it with runtime.path")
}
