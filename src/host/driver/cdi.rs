//! What NVIDIA's own CDI file gives to every container, whichever device it gets: the driver's files, and the hooks that
//! make links and loader caches for them. Written by `nvidia-ctk cdi generate`, or by its service at boot.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::root::Root;
use crate::edits::device::VISIBLE_DEVICES;
use crate::edits::{ContainerEdits, Mount, MountKind, OthersHook, STAGES};
use crate::failure::Failure;

/// The kind of NVIDIA's devices. Others of its vendor are for the toolkit's own use.
const KIND: &str = "nvidia.com/gpu";

/// A file of 16 GPUs of 7 devices is some 200 KB.
const LARGEST: u64 = 16 << 20;

/// A CDI file, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CdiFile {
    kind: String,
    #[serde(default)]
    container_edits: Common,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Common {
    env: Vec<String>,
    mounts: Vec<CdiMount>,
    hooks: Vec<CdiHook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CdiMount {
    host_path: PathBuf,
    container_path: PathBuf,
    #[serde(default)]
    options: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CdiHook {
    hook_name: String,
    path: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    timeout: Option<u64>,
}

/// The common edits of NVIDIA's file in one of `folders`, of which the last that has one counts, as CDI says. Without its
/// nodes: a container gets those of its lease.
///
/// # Errors
/// A host failure where there is none, or it can't be read, or names what isn't there (any more).
pub fn common_edits(folders: &[PathBuf]) -> Result<ContainerEdits, Failure> {
    let mut broken = None;
    for path in folders.iter().rev().flat_map(|folder| files(folder)) {
        match read(&path) {
            Ok(file) if file.kind == KIND => return edits(file.container_edits, &path),
            Ok(_) => {}
            Err(why) => drop(broken.get_or_insert((path, why))),
        }
    }
    Err(match broken {
        Some((path, why)) => unusable(&path, &why),
        None => none(folders),
    })
}

/// Its CDI files, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let is_cdi = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("json" | "yaml" | "yml"))
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_cdi).collect();
    files.sort();
    files
}

/// JSON is YAML too.
fn read(path: &Path) -> Result<CdiFile, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > LARGEST {
        return Err(format!("it has {size} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    yaml_serde::from_str(&text).map_err(|error| error.to_string())
}

fn edits(common: Common, path: &Path) -> Result<ContainerEdits, Failure> {
    let mounts = common.mounts.into_iter().map(mount);
    let hooks = common.hooks.into_iter().map(hook);
    let mounts: Vec<Mount> = mounts
        .collect::<Result<_, _>>()
        .map_err(|why| unusable(path, &why))?;
    let host = Root::of_host()?;
    let mounts: Vec<Mount> = mounts
        .into_iter()
        .filter_map(|mount| guarded(&host, mount))
        .collect();
    let others_hooks = hooks
        .collect::<Result<_, _>>()
        .map_err(|why| unusable(path, &why))?;
    if let Some(gone) = mounts.iter().find(|mount| !mount.host_path.exists()) {
        return Err(stale(path, &gone.host_path));
    }
    Ok(ContainerEdits {
        env: common.env.iter().filter_map(|entry| variable(entry)).collect(),
        mounts,
        others_hooks,
        ..ContainerEdits::default()
    })
}

/// `NVIDIA_VISIBLE_DEVICES=void`, which it sets, is ours to say.
fn variable(entry: &str) -> Option<(String, String)> {
    let (name, value) = entry.split_once('=')?;
    (name != VISIBLE_DEVICES).then(|| (name.to_owned(), value.to_owned()))
}

/// What can be written to counts only where nobody but root can exchange it. A daemon may not run, so that is no error.
fn guarded(host: &Root, mount: Mount) -> Option<Mount> {
    match mount.kind {
        MountKind::File => Some(mount),
        MountKind::Socket => Some(Mount {
            host_path: host.find_guarded(&mount.host_path)?.real_path()?,
            ..mount
        }),
    }
}

/// What is not said to be read-only is a socket.
fn mount(mount: CdiMount) -> Result<Mount, String> {
    let CdiMount {
        host_path,
        container_path,
        options,
    } = mount;
    if let Some(path) = [&host_path, &container_path]
        .into_iter()
        .find(|path| !path.is_absolute())
    {
        return Err(format!("{} is not an absolute path", path.display()));
    }
    Ok(Mount {
        path: container_path,
        host_path,
        kind: match options.iter().any(|option| option == "ro") {
            true => MountKind::File,
            false => MountKind::Socket,
        },
    })
}

fn hook(hook: CdiHook) -> Result<OthersHook, String> {
    let stage = STAGES.into_iter().find(|stage| *stage == hook.hook_name);
    match (stage, hook.path.is_absolute()) {
        (Some(stage), true) => Ok(OthersHook {
            stage,
            path: hook.path,
            args: hook.args,
            env: hook.env,
            timeout: hook.timeout,
        }),
        (None, _) => Err(format!("'{}' is no hook that a container has", hook.hook_name)),
        (_, false) => Err(format!(
            "the hook {} is not an absolute path",
            hook.path.display()
        )),
    }
}

const REMEDY: &str = "run 'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml', or let the driver's files be found without it \
                      (driver.files = \"host\")";

fn none(folders: &[PathBuf]) -> Failure {
    let folders: Vec<String> = folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    let why = format!("none in {} is of kind {KIND}", folders.join(", "));
    Failure::host("NVIDIA has no CDI file here, and driver.files is \"cdi\"", why).remedy(REMEDY)
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::host(format!("can't use the CDI file {}", path.display()), why).remedy(REMEDY)
}

fn stale(path: &Path, gone: &Path) -> Failure {
    let why = format!(
        "it names {}, which isn't there: it is of another driver",
        gone.display()
    );
    Failure::host(format!("the CDI file {} is stale", path.display()), why).remedy(REMEDY)
}
