//! What can be read of a configuration that is wrong somewhere: a container's end must find its runtime and its ledger.

use std::path::{Path, PathBuf};

use super::resolve::{absolute, named_path};
use super::{DEFAULT_LEDGER, DEFAULT_PATH};

/// What is left of a configuration that is wrong somewhere: enough to find the runtime that living containers are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Essentials {
    /// `runtime.path`, as in [`Config`].
    pub runtime: Option<PathBuf>,
    /// `ledger.dir`, as in [`Config`].
    pub ledger_dir: PathBuf,
}

impl Essentials {
    /// Reads what can be read of the file that [`Config::load`] has failed on. None where it is not even TOML, or one of
    /// the essentials is wrong itself.
    pub fn salvage(named: Option<&Path>) -> Option<Essentials> {
        let text = std::fs::read_to_string(named.unwrap_or(Path::new(DEFAULT_PATH))).ok()?;
        let file: toml::Table = toml::from_str(&text).ok()?;
        let path = |table: &str, key: &str| match file.get(table).map(|table| table.get(key)) {
            None | Some(None) => Some(None),
            Some(Some(value)) => value.as_str().map(|path| Some(PathBuf::from(path))),
        };
        Some(Essentials {
            runtime: named_path("runtime.path", path("runtime", "path")?).ok()?,
            ledger_dir: absolute("ledger.dir", path("ledger", "dir")?, DEFAULT_LEDGER).ok()?,
        })
    }
}
