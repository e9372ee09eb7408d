//! CRI-O's other files: what a runtime of ours must have in common with the ones that are there.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::crio::TABLE;
use super::file::Found;
use super::toml_file::{Toml, quoted};
use crate::config::RUNTIME_FOLDERS;
use crate::failure::Failure;

/// crio.conf and the drop-ins beside ours, in the order in which CRI-O reads them.
pub struct Others(Vec<Found>);

/// What our entry takes over.
pub struct Inherited {
    /// Keys and their values.
    strings: Vec<(&'static str, String)>,
    /// What goes into the environment of conmon, whose child the wrapper is.
    pub environment: Option<String>,
}

impl Others {
    /// Reads the files that belong to this drop-in.
    pub fn look(drop_in: &Path) -> Result<Others, Failure> {
        let folder = drop_in.parent().unwrap_or(Path::new("/"));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| path.is_file() && path != drop_in);
        paths.sort();
        paths.insert(0, folder.with_file_name("crio.conf"));
        let files: Result<Vec<Found>, Failure> = paths.iter().map(|path| Found::look(path)).collect();
        Ok(Others(files?))
    }

    /// The last file in which `find` finds something, and what it finds.
    fn last<T>(&self, find: impl Fn(&Toml) -> Option<T>) -> Result<Option<(&Path, T)>, Failure> {
        let mut last = None;
        for file in &self.0 {
            let toml = Toml::read(&file.path, file.says())?;
            if let Some(found) = find(&toml) {
                last = Some((file.path.as_path(), found));
            }
        }
        Ok(last)
    }

    /// The file that has a runtime of our name.
    pub fn with_our_name(&self) -> Result<Option<&Path>, Failure> {
        Ok(self
            .last(|toml| toml.item(&TABLE).map(|_| ()))?
            .map(|(path, ())| path))
    }

    /// The runtime of pods that name none, where a file says it.
    pub fn default_runtime(&self) -> Result<Option<String>, Failure> {
        let keys = ["crio", "runtime", "default_runtime"];
        let found = self.last(|toml| toml.string(&keys).map(str::to_owned))?;
        Ok(found.map(|(_, name)| name))
    }

    fn of_default_runtime(&self, key: &str) -> Result<Option<String>, Failure> {
        let default = self.default_runtime()?;
        for name in [default.as_deref(), Some("crun"), Some("runc")]
            .into_iter()
            .flatten()
        {
            let keys = ["crio", "runtime", "runtimes", name, key];
            if let Some((_, value)) = self.last(|toml| toml.string(&keys).map(str::to_owned))? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// What our entry takes over: CRI-O doesn't start where a runtime names no conmon and none is in PATH.
    pub fn inherited(&self, environment: Option<&str>) -> Result<Inherited, Failure> {
        let mut inherited = Inherited {
            strings: Vec::new(),
            environment: environment.map(str::to_owned),
        };
        for key in ["monitor_path", "monitor_cgroup"] {
            let value = self.of_default_runtime(key)?;
            inherited.strings.extend(value.map(|value| (key, value)));
        }
        Ok(inherited)
    }

    /// What to know where the wrapper would find no runtime to call: CRI-O's packages have theirs in a folder of
    /// their own.
    pub fn runtime_note(&self) -> Result<Option<String>, Failure> {
        let mut programs = RUNTIME_FOLDERS
            .iter()
            .flat_map(|folder| ["crun", "runc"].map(|name| Path::new(folder).join(name)));
        if programs.any(|program| program.is_file()) {
            return Ok(None);
        }
        let theirs = self.of_default_runtime("runtime_path")?;
        Ok(Some(format!(
            "neither crun nor runc is in PATH: name yours as runtime.path in oci-mig-hook's configuration{}",
            theirs.map_or(String::new(), |path| format!(" (CRI-O's is {path})"))
        )))
    }
}

impl Inherited {
    /// The new entry with all of this.
    pub fn written_into(&self, block: &str) -> String {
        let mut block = block.to_owned();
        if let Some(variable) = &self.environment {
            block = block.replace("/bin\"]", &format!("/bin\", {}]", quoted(variable)));
        }
        for (key, value) in &self.strings {
            block += &format!("  {key} = {}\n", quoted(value));
        }
        block
    }
}
