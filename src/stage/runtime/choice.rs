//! Which runtime is the real one: the configured one, or the first that is found installed. That one is kept to until the
//! machine is started again: a container's later calls must go to the runtime that made it, whatever was installed since.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::real::RealRuntime;
use crate::config::{DEFAULT_LEDGER, RUNTIME_FOLDERS};
use crate::failure::Failure;
use crate::lease::Ledger;

/// Runtimes that are looked for where the configuration names none.
const NAMES: [&str; 2] = ["crun", "runc"];

/// The link in the ledger's folder that leads to the one that was found: gone after a reboot, as all containers are.
const FOUND: &str = "runtime";

/// The link that leads to what the default configuration last came to, in the default ledger's folder: for the time when
/// that configuration can't be read.
const BY_DEFAULT: &str = "runtime.default";

const NAMED_WRONG: &str =
    "runtime.path in the configuration names it; see whether it is there and can be executed";
const FOUND_WRONG: &str = "it was found installed; name the right one with runtime.path in the configuration";

/// The configured one; else the one that was found before, or the first that is installed.
///
/// # Errors
/// A host failure where there is none, or where it is this very program. Also where the one that was found before is
/// gone: another would know nothing of its containers, and answer a delete of theirs with success.
pub fn find(configured: Option<&Path>, ledger_dir: &Path) -> Result<RealRuntime, Failure> {
    if let Some(path) = configured {
        return named(path);
    }
    let link = ledger_dir.join(FOUND);
    let path = match std::fs::read_link(&link) {
        Ok(path) if is_runtime(&path) => path,
        Ok(path) => return Err(gone(&path, &link)),
        Err(_) => installed().ok_or_else(none)?,
    };
    Ok(RealRuntime::new(path, FOUND_WRONG))
}

/// Keeps to what was found from now on, before it makes its first container. Another call may have found one meanwhile:
/// that one stands.
///
/// # Errors
/// As [`find`].
pub fn keep(real: RealRuntime, configured: Option<&Path>, ledger_dir: &Path) -> Result<RealRuntime, Failure> {
    let link = ledger_dir.join(FOUND);
    if configured.is_some() || std::fs::read_link(&link).is_ok() {
        return Ok(real);
    }
    // A container that didn't ask must not fail by this, nor one of a user who may not write there.
    if Ledger::open(ledger_dir).is_ok() {
        let _ = symlink(real.path(), &link);
    }
    find(None, ledger_dir)
}

/// Remembers what the default configuration came to. For nothing but [`by_default`]: where it can't be, that is all.
pub fn remember_default(real: &RealRuntime) {
    let folder = Path::new(DEFAULT_LEDGER);
    let link = folder.join(BY_DEFAULT);
    if std::fs::read_link(&link).is_ok_and(|path| path == real.path()) || Ledger::open(folder).is_err() {
        return;
    }
    let unfinished = folder.join(format!(".{BY_DEFAULT}.{}", std::process::id()));
    let placed = symlink(real.path(), &unfinished).and_then(|()| std::fs::rename(&unfinished, &link));
    if placed.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
}

/// What the default configuration last came to.
pub fn by_default() -> Option<RealRuntime> {
    let path = std::fs::read_link(Path::new(DEFAULT_LEDGER).join(BY_DEFAULT)).ok()?;
    is_runtime(&path).then(|| RealRuntime::new(path, NAMED_WRONG))
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

fn installed() -> Option<PathBuf> {
    let mut places = NAMES.iter().flat_map(|name| {
        RUNTIME_FOLDERS
            .iter()
            .map(move |folder| Path::new(folder).join(name))
    });
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

fn gone(path: &Path, link: &Path) -> Failure {
    let why = "the containers that there may be are its own";
    let what = format!("the low-level runtime {} is gone", path.display());
    Failure::host(what, why).remedy(format!(
        "put it back, or remove {} once none of its containers is left",
        link.display()
    ))
}

fn none() -> Failure {
    let why = format!(
        "neither {} is in {}",
        NAMES.join(" nor "),
        RUNTIME_FOLDERS.join(", ")
    );
    Failure::host("no low-level runtime", why).remedy("install one, or name it with runtime.path")
}
