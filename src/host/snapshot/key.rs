//! What a snapshot is valid for: everything that can be seen of the node without asking the driver. Compared whole.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::moment;

/// What can be seen of the node without asking the driver.
///
/// It doesn't show MIG mode, profiles, UUIDs, or whether a GPU still answers: a check of the chosen devices does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// This program's version: another may read the same GPUs otherwise.
    program: String,
    /// The kernel's boot id.
    boot: String,
    /// /proc's own text of the driver's version.
    driver: String,
    /// NVML's library.
    library: String,
    /// The GPUs' bus ids.
    gpus: Vec<String>,
    /// The GPUs of the capabilities tree and the instances on them: `gpu0`, `gpu0/gi7`, `gpu0/gi7/ci0`.
    instances: Vec<String>,
}

impl Key {
    /// Looks at the node whose /proc is at `proc`. None where anything of it can't be read.
    pub fn look(proc: &Path, library: &OsStr) -> Option<Key> {
        let driver = proc.join("driver/nvidia");
        let text = |path: &Path| std::fs::read_to_string(path).ok();
        Some(Key {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            boot: moment::boot()?,
            driver: text(&driver.join("version"))?,
            library: library.to_str()?.to_owned(),
            gpus: gpus(proc)?,
            instances: instances(&driver.join("capabilities")).ok()?,
        })
    }
}

/// The bus ids of the GPUs that the driver has, those that it was told to leave out too.
pub fn gpus(proc: &Path) -> Option<Vec<String>> {
    names(&proc.join("driver/nvidia/gpus"), "").ok()
}

/// Folders only: what is in an access file is read for the device that is chosen.
fn instances(capabilities: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for gpu in names(capabilities, "gpu")? {
        let mig = capabilities.join(&gpu).join("mig");
        let instances = match names(&mig, "gi") {
            // A GPU that can't do MIG.
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            names => names?,
        };
        for gi in instances {
            let compute = names(&mig.join(&gi), "ci")?;
            found.extend(compute.iter().map(|ci| format!("{gpu}/{gi}/{ci}")));
            found.push(format!("{gpu}/{gi}"));
        }
        found.push(gpu);
    }
    Ok(found)
}

/// What lies in `folder` and begins so, in order.
fn names(folder: &Path, prefix: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_str().ok_or(ErrorKind::InvalidData)?;
        if name.starts_with(prefix) {
            found.push(name.to_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}
