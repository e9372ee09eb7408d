//! This machine: where the programs under test and a runtime are, and what `status` says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::Options;

/// Where runtimes are looked for.
const FOLDERS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The configuration that this machine's own containers go by, where it has one.
const CONFIG: &str = "/etc/oci-mig-hook/config.toml";

/// The cgroup above those of all containers here.
pub const CGROUP: &str = "oci-mig-hook-hardware";

/// Programs, configuration, and a folder for what is made here; that goes when this is dropped.
pub struct Machine {
    programs: PathBuf,
    pub config: PathBuf,
    pub scratch: PathBuf,
}

/// As much of `status --json` as is needed here.
#[derive(Deserialize)]
struct Status {
    driver: Option<String>,
    gpus: Vec<Gpu>,
    left_out: Vec<LeftOut>,
}

#[derive(Deserialize)]
struct Gpu {
    index: u32,
    uuid: String,
    model: String,
    mig: String,
    devices: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    uuid: String,
    profile: String,
    memory_mib: Option<u64>,
    state: String,
}

#[derive(Deserialize)]
struct LeftOut {
    what: String,
    reason: String,
}

/// The device that is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `MIG-<uuid>` or `GPU-<uuid>`.
    pub name: String,
    /// Its profile; `gpu` for a whole GPU.
    pub profile: String,
    /// NVML index of its GPU.
    pub gpu: u32,
    /// UUID of its GPU.
    pub gpu_uuid: String,
}

impl Device {
    /// Whether it is a GPU as a whole.
    pub fn is_whole(&self) -> bool {
        self.profile == "gpu"
    }
}

impl Machine {
    pub fn look(options: &Options) -> Result<Machine> {
        let own = std::env::current_exe().context("finding this program")?;
        let beside = own.parent().unwrap_or(Path::new("/")).to_owned();
        let programs = options.programs.clone().unwrap_or(beside);
        // Not /tmp, which is often mounted nodev or noexec.
        let scratch = PathBuf::from(format!("/var/tmp/oci-mig-hook-hardware-{}", std::process::id()));
        fs::create_dir(&scratch).with_context(|| scratch.display().to_string())?;
        let mut machine = Machine {
            programs,
            config: PathBuf::new(),
            scratch,
        };
        machine.config = match (&options.config, &options.runtime) {
            (Some(_), Some(_)) => bail!("--config names the runtime too (runtime.path): leave --runtime out"),
            (Some(config), None) => config.clone(),
            (None, Some(runtime)) => machine.own_config(runtime)?,
            (None, None) => machine.own_config(&runtime(&machine.programs)?)?,
        };
        Ok(machine)
    }

    /// This machine's own configuration, with the runtime in it. The ledger is the machine's, so that no device is taken that
    /// a container of its own has.
    fn own_config(&self, runtime: &Path) -> Result<PathBuf> {
        let own = fs::read_to_string(CONFIG).unwrap_or_default();
        if own.lines().any(|line| line.trim_start().starts_with("[runtime]")) {
            return Ok(CONFIG.into());
        }
        let path = self.scratch.join("config.toml");
        fs::write(&path, format!("{own}\n[runtime]\npath = {runtime:?}\n"))?;
        Ok(path)
    }

    /// One of the programs under test, or of ours.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// `oci-mig-hook WORD --config FILE`
    pub fn hook(&self, word: &str) -> Command {
        let mut command = Command::new(self.program("oci-mig-hook"));
        command.arg(word).arg("--config").arg(&self.config);
        command
    }

    fn status(&self) -> Result<Status> {
        let output = self
            .hook("status")
            .arg("--json")
            .output()
            .context("oci-mig-hook status")?;
        ensure!(output.status.success(), "status: {}", said(&output));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Kernel, driver, GPUs, and what can't be used.
    pub fn describe(&self) -> Result<String> {
        let status = self.status()?;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut text = format!(
            "Linux {}, driver {}\n",
            kernel.trim(),
            status.driver.as_deref().unwrap_or("unknown"),
        );
        for gpu in &status.gpus {
            text += &format!(
                "GPU {} {} {}, MIG mode {}:",
                gpu.index, gpu.model, gpu.uuid, gpu.mig
            );
            for device in &gpu.devices {
                let memory = device.memory_mib.map_or("?".to_owned(), |mib| mib.to_string());
                text += &format!(" {} ({memory} MiB, {})", device.profile, device.state);
            }
            text += "\n";
        }
        for left_out in &status.left_out {
            text += &format!("left out: {}: {}\n", left_out.what, left_out.reason);
        }
        Ok(text)
    }

    /// A MIG device that is free, or else a whole GPU.
    pub fn free_device(&self) -> Result<Device> {
        let status = self.status()?;
        let all = status
            .gpus
            .iter()
            .flat_map(|gpu| gpu.devices.iter().map(move |device| (gpu, device)));
        let mut free: Vec<Device> = all
            .filter(|(_, device)| device.state == "free")
            .map(|(gpu, device)| Device {
                name: device.uuid.clone(),
                profile: device.profile.clone(),
                gpu: gpu.index,
                gpu_uuid: gpu.uuid.clone(),
            })
            .collect();
        free.sort_by_key(Device::is_whole);
        let first = free.into_iter().next();
        first.context("no device is free: end what uses them, or see 'oci-mig-hook status'")
    }

    /// Who holds or uses that device, as `status` has it; nothing where it is free.
    pub fn holders(&self, device: &Device) -> Result<String> {
        let status = self.status()?;
        let mut all = status.gpus.iter().flat_map(|gpu| &gpu.devices);
        match all.find(|listed| listed.uuid == device.name) {
            Some(listed) if listed.state == "free" => Ok(String::new()),
            Some(listed) => Ok(listed.state.clone()),
            None => bail!("{} is not there any more", device.name),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
        // Of the containers' cgroups only that above them is left: in each hierarchy of v1, or the one of v2.
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let hierarchies = hierarchies
            .map(|entry| entry.path())
            .chain([PathBuf::from("/sys/fs/cgroup")]);
        for hierarchy in hierarchies {
            let _ = fs::remove_dir(hierarchy.join(CGROUP));
        }
    }
}

/// What a program said that failed.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    format!(
        "{}: {} {}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
}

/// A runtime that was carried along, or one of this machine's.
fn runtime(programs: &Path) -> Result<PathBuf> {
    let folders = std::iter::once(programs).chain(FOLDERS.map(Path::new));
    let candidates = folders.flat_map(|folder| ["runc", "crun", "youki"].map(|name| folder.join(name)));
    let mut there = candidates.filter(|path| path.is_file());
    there.next().with_context(|| {
        format!(
            "no runc, crun or youki in {} or the usual folders: name one with --runtime",
            programs.display()
        )
    })
}
