//! The driver: whether it is loaded, its version, which GPUs it was told to leave out, and its files.

#![forbid(unsafe_code)]

mod cdi;
mod elf;
mod files;
mod ld_cache;
mod remembered;
mod root;
mod sockets;
mod table;

use std::path::Path;

use crate::config::Driver;
use crate::edits::driver::DriverFile;
use crate::failure::Failure;
use crate::mig::LeftOut;
pub use cdi::common_edits;
use files::Search;
pub use remembered::forget;
use remembered::{Key, Remembered, times};
use root::Root;
use table::{Socket, Table};

/// The driver's files on this machine, as they were remembered in `ledger`, or looked for anew.
///
/// # Errors
/// A host failure where the driver isn't loaded, or there is no library of its version at all.
pub fn files(driver: &Driver, ledger: &Path) -> Result<Vec<DriverFile>, Failure> {
    let version = version(&driver.proc)?;
    let root = Root::open(&driver.root)?;
    let key = Key::new(&version, &driver.root);
    let known = key.as_ref().and_then(|key| Remembered::read(ledger, key, &root));
    let (mut files, sockets) = match known {
        Some(known) => (known.files, known.sockets),
        None => look(driver, &root, &version, key, ledger)?,
    };
    files.extend(sockets::sockets(&root, &sockets, &driver.sockets));
    files.extend(driver.mps.as_deref().map(sockets::mps).transpose()?);
    Ok(files)
}

/// Files, and where sockets may be.
type Looked = (Vec<DriverFile>, Vec<Socket>);

fn look(
    driver: &Driver,
    root: &Root,
    version: &str,
    key: Option<Key>,
    ledger: &Path,
) -> Result<Looked, Failure> {
    let table = Table::read()?;
    let search = Search {
        root,
        table: &table,
        version,
    };
    let first = search.folders();
    // What changes while it is looked at may be in what was found or not: then it is not valid from the start.
    let before = times(root, &first.looked_at);
    let folders = search.folders();
    let files = search.run(&folders);
    if !files.iter().any(DriverFile::is_library) {
        return Err(no_library(driver, version, &search.other_versions(&folders)));
    }
    let sockets = table.sockets();
    if let Some(key) = key.filter(|_| folders.looked_at == first.looked_at) {
        remembered::remember(ledger, key, before, &files, &sockets);
    }
    Ok((files, sockets))
}

fn no_library(driver: &Driver, version: &str, others: &[String]) -> Failure {
    let what = format!(
        "no library of the NVIDIA driver {version} is below {}",
        driver.root.display()
    );
    let (why, remedy) = match others {
        [] => (
            "neither its loader's cache nor the usual folders have one".to_owned(),
            "correct driver.root, or give containers no files of the driver's with driver.files = \"none\"",
        ),
        others => (
            format!("there are those of {}", others.join(", ")),
            "the kernel still runs the driver of before an upgrade: reboot, or load its modules anew",
        ),
    };
    Failure::host(what, why).remedy(remedy)
}

/// The version of the driver that the kernel has loaded: `550.54.15`.
///
/// # Errors
/// As [`loaded`]; a host failure where its text names no version.
pub fn version(proc: &Path) -> Result<String, Failure> {
    let path = proc.join("driver/nvidia/version");
    let text = std::fs::read_to_string(&path).map_err(|error| not_loaded(&path, &error))?;
    let first = text.lines().next().unwrap_or_default();
    let is_version = |word: &&str| {
        word.contains('.')
            && word
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    let version = first.split_whitespace().find(is_version);
    version.map(str::to_owned).ok_or_else(|| {
        Failure::host(format!("{} names no version", path.display()), first)
            .remedy("report this as a bug, with that file's text")
    })
}

/// Whether the driver's kernel module is loaded.
///
/// # Errors
/// A host failure that says how to load it.
pub fn loaded(proc: &Path) -> Result<(), Failure> {
    let version = proc.join("driver/nvidia/version");
    let found = std::fs::metadata(&version);
    found.map(|_| ()).map_err(|error| not_loaded(&version, &error))
}

fn not_loaded(version: &Path, error: &std::io::Error) -> Failure {
    Failure::host(
        "the NVIDIA driver is not loaded",
        format!("{}: {error}", version.display()),
    )
    .remedy("load it with 'modprobe nvidia', or install it; 'nvidia-smi' must work first")
}

/// The GPUs that the driver was told to leave out (its module option NVreg_ExcludedGpus). NVML doesn't count them.
pub fn excluded(proc: &Path) -> Vec<LeftOut> {
    let Ok(folders) = std::fs::read_dir(proc.join("driver/nvidia/gpus")) else {
        return Vec::new();
    };
    let mut found: Vec<LeftOut> = folders
        .flatten()
        .filter_map(|gpu| excluded_gpu(&gpu.path()))
        .collect();
    found.sort_by(|a, b| a.what.cmp(&b.what));
    found
}

fn excluded_gpu(folder: &Path) -> Option<LeftOut> {
    let information = std::fs::read_to_string(folder.join("information")).ok()?;
    let value = information
        .lines()
        .find_map(|line| line.strip_prefix("GPU Excluded:"))?;
    (value.trim() == "Yes").then(|| LeftOut {
        what: format!("GPU {}", folder.file_name().unwrap_or_default().to_string_lossy()),
        reason: "the driver excludes it (NVreg_ExcludedGpus)".to_owned(),
    })
}
