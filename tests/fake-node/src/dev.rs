//! The plan as device nodes: real ones, of majors without a driver, so that opening them asks the cgroup and then
//! finds nobody (ENXIO).

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use fake_nvml::state::State;
use rustix::fs::{CWD, FileType, Mode, StatVfsMountFlags, makedev, mknodat, statvfs};

use crate::majors::nobodys;
use crate::plan::Plan;
use crate::proc::{CONFIG, MONITOR, cap_minors, cap_mode};
use crate::spec::CapNodes;

/// `/dev/nvidiactl` and `/dev/nvidia-modeset` beside the GPUs on their major.
const CTL: u32 = 255;
const MODESET: u32 = 254;
/// Everyone may open what isn't a capability.
const OPEN_TO_ALL: u32 = 0o666;

/// Makes all of `DIR/dev`.
pub fn write(plan: &Plan, dir: &Path, caps: CapNodes) -> Result<()> {
    let dev = dir.join("dev");
    fs::create_dir_all(dev.join("nvidia-caps")).with_context(|| dev.display().to_string())?;
    refuse_nodev(&dev)?;
    let gpu = major(&plan.state, &["nvidia", "nvidia-frontend"])?;
    let uvm = major(&plan.state, &["nvidia-uvm"])?;
    node(&dev.join("nvidiactl"), gpu, CTL, OPEN_TO_ALL)?;
    node(&dev.join("nvidia-modeset"), gpu, MODESET, OPEN_TO_ALL)?;
    node(&dev.join("nvidia-uvm"), uvm, 0, OPEN_TO_ALL)?;
    node(&dev.join("nvidia-uvm-tools"), uvm, 1, OPEN_TO_ALL)?;
    for card in &plan.cards {
        let minor = card.gpu.minor;
        node(&dev.join(format!("nvidia{minor}")), gpu, minor, OPEN_TO_ALL)?;
    }
    capabilities(plan, &dev.join("nvidia-caps"), caps)
}

/// What nvidia-modprobe would have made for what exists, if it did.
fn capabilities(plan: &Plan, dir: &Path, caps: CapNodes) -> Result<()> {
    let major = match caps {
        CapNodes::Present => major(&plan.state, &["nvidia-caps"])?,
        CapNodes::Stale => nobodys(&plan.state.majors)?,
        CapNodes::Missing => return Ok(()),
    };
    for minor in [CONFIG, MONITOR]
        .into_iter()
        .chain(plan.cards.iter().flat_map(cap_minors))
    {
        node(
            &dir.join(format!("nvidia-cap{minor}")),
            major,
            minor,
            cap_mode(minor),
        )?;
    }
    Ok(())
}

fn major(state: &State, names: &[&str]) -> Result<u32> {
    let found = names.iter().find_map(|name| state.majors.get(*name));
    found
        .copied()
        .with_context(|| format!("no major for {}", names[0]))
}

fn node(path: &Path, major: u32, minor: u32, mode: u32) -> Result<()> {
    let made = mknodat(
        CWD,
        path,
        FileType::CharacterDevice,
        Mode::from_raw_mode(mode),
        makedev(major, minor),
    );
    made.with_context(|| format!("mknod {} (this needs root with CAP_MKNOD)", path.display()))?;
    // The umask has cut the mode; a set-group-ID folder has chosen the group.
    fs::set_permissions(path, Permissions::from_mode(mode)).with_context(|| path.display().to_string())?;
    chown(path, Some(0), Some(0)).with_context(|| path.display().to_string())
}

/// On a nodev mount every open gives EACCES, which no test expects.
fn refuse_nodev(dev: &Path) -> Result<()> {
    let mount = statvfs(dev).with_context(|| dev.display().to_string())?;
    ensure!(
        !mount.f_flag.contains(StatVfsMountFlags::NODEV),
        "{} is on a file system mounted nodev: device nodes don't work there; choose another folder (or TMPDIR)",
        dev.display()
    );
    Ok(())
}

/// Takes `DIR/dev` and `DIR/proc` away, to be made anew.
pub fn clear(dir: &Path) -> Result<()> {
    for part in ["dev", "proc"] {
        let path = dir.join(part);
        if let Err(error) = fs::remove_dir_all(&path) {
            bail!("removing {}: {error}", path.display());
        }
    }
    Ok(())
}
