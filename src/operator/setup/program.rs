//! Which programs an engine is told to call: this one, and the wrapper beside it.

#![forbid(unsafe_code)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// How the variable begins in which the wrapper finds its configuration file.
pub const VARIABLE: &str = "OCI_MIG_HOOK_CONFIG=";

/// The interposing runtime's name.
const WRAPPER: &str = "oci-mig-runtime";

/// The wrapper's path: the one that was named, or the one beside this program.
///
/// # Errors
/// It isn't there, isn't a program, or its path isn't one that a configuration file can hold.
pub fn wrapper(named: Option<&Path>) -> Result<String, Failure> {
    let path = match named {
        Some(path) => absolute(path)?,
        None => own_path()?.with_file_name(WRAPPER),
    };
    match std::fs::metadata(&path) {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => text(&path),
        Ok(_) => Err(missing(&path, &"not a program")),
        Err(error) => Err(missing(&path, &error)),
    }
}

/// This very program's path.
///
/// # Errors
/// It can't be told, or isn't one that a configuration file can hold.
pub fn itself() -> Result<String, Failure> {
    text(&own_path()?)
}

/// Whether an entry that calls `path` is one of ours: it calls the wrapper, wherever that lies, or what was named.
pub fn is_wrapper(path: &str, named: Option<&Path>) -> bool {
    let named = named.and_then(|named| absolute(named).ok());
    Path::new(path).file_name() == Some(WRAPPER.as_ref()) || named.as_deref() == Some(Path::new(path))
}

/// Refuses a runtime of our name in this file that calls another program, or none.
pub fn not_ours(file: &Path, other: Option<&str>) -> Failure {
    Failure::refused(
        format!("{} has a runtime 'mig' that is not ours", file.display()),
        format!("it is {}", other.unwrap_or("another kind of runtime")),
    )
    .remedy("rename or remove that one first; nothing was changed")
}

/// A path as text, from the root on.
pub fn absolute_text(path: &Path) -> Result<String, Failure> {
    text(&absolute(path)?)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::usage(path.display().to_string(), error))
}

fn own_path() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::host("can't tell where this program lies", error))
}

fn text(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        Failure::usage(
            path.display().to_string(),
            "a configuration file can't hold this path",
        )
    })
}

fn missing(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::host(format!("no runtime at {}", path.display()), why)
        .remedy("install oci-mig-runtime beside oci-mig-hook, or name it with --runtime-path")
}

/// The variable that names this configuration file to the wrapper.
pub fn variable(config: &Path) -> Result<String, Failure> {
    Ok(format!("{VARIABLE}{}", absolute_text(config)?))
}

/// What to add to a service so that the wrapper, which it or its children call, finds this configuration file.
pub fn environment(service: &str, config: &Path) -> Result<String, Failure> {
    Ok(format!(
        "systemctl edit {service}: add '[Service]' and 'Environment={}', then restart it",
        variable(config)?
    ))
}
