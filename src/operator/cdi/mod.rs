//! `cdi`: writes a file of the Container Device Interface for this machine's MIG devices and whole GPUs, or looks whether
//! the one that is there still says what is true.
//!
//! It is for engines that take `--device KIND=NAME` and ask nobody: a device that is taken so is under no lease.

mod earlier;
mod words;

use std::path::{Path, PathBuf};

use super::progress;
use crate::config::{Config, Files};
use crate::edits::ContainerEdits;
use crate::edits::cdi::{self, CdiDevice, CdiVersion};
use crate::edits::driver::{self, Capabilities, Layout};
use crate::failure::Failure;
use crate::host::Host;
use crate::mig::{Device, Gpus, Inventory, LeftOut};
use earlier::Earlier;
use words::Seen;

/// Where engines look for such a file that need not survive a reboot.
pub const DEFAULT_OUTPUT: &str = "/var/run/cdi/oci-mig-hook.local-gpu.json";

/// What `cdi` was told.
#[derive(Clone, Debug)]
pub struct Cdi {
    /// `--output`: the file; none for standard output.
    pub output: Option<PathBuf>,
    /// `--check`: only look.
    pub check: bool,
    /// `--cdi-version`; where it isn't given, that of the file that is looked at, or the newest.
    pub version: Option<String>,
    /// `--driver-capabilities`.
    pub capabilities: String,
    /// `--config FILE`.
    pub config: Option<PathBuf>,
}

/// Writes the file, or looks at it.
///
/// # Errors
/// A usage failure for a version, a capability or a file name that there isn't. A refusal where this machine has nothing to
/// offer, where the file is somebody else's, and with `check` where it is stale. A host failure where the driver can't be
/// asked, or the file not be written.
pub fn cdi(asked: &Cdi) -> anyhow::Result<()> {
    let wanted = Wanted::of(asked)?;
    let config = Config::load(asked.config.as_deref())?;
    let earlier = asked.output.as_deref().map(Earlier::look).transpose()?;
    let host = progress::shown(Host::new(&config));
    let inventory = host.inventory();
    progress::clear();
    let mut seen = Seen {
        inventory: inventory?,
    };
    let files = wanted.files(&config, &host)?;
    let offer = Offer::of(&host, &mut seen.inventory);
    match (earlier, asked.check) {
        (None, _) => offer.to_standard_output(&seen, &wanted, &files),
        (Some(earlier), true) => offer.checked(&seen, &wanted, &files, &earlier),
        (Some(earlier), false) => offer.written(&seen, &wanted, &files, &earlier),
    }
}

/// What was asked for, understood.
struct Wanted {
    version: Option<CdiVersion>,
    capabilities: Capabilities,
}

impl Wanted {
    fn of(asked: &Cdi) -> Result<Wanted, Failure> {
        match &asked.output {
            Some(path) => name_is_read(path)?,
            None if asked.check => {
                let why = "on standard output there is no file to look at";
                return Err(Failure::usage("--check and --output -", why)
                    .remedy("name the file, or leave --check out"));
            }
            None => {}
        }
        let version = asked.version.as_deref().map(str::parse).transpose();
        let version = version
            .map_err(|why: String| Failure::usage("--cdi-version", why).remedy("write one of the two"))?;
        let capabilities = asked.capabilities.parse().map_err(|word: String| {
            Failure::usage(
                "--driver-capabilities",
                format!("'{word}' is no driver capability"),
            )
            .remedy("write compute,utility or all; oci-mig-hook(1) has the others")
        })?;
        Ok(Wanted {
            version,
            capabilities,
        })
    }

    /// The driver's files, for a container that nobody has seen yet. Where they are NVIDIA's own hook's to give, there are
    /// none: it goes by the variable, and that is void.
    fn files(&self, config: &Config, host: &Host) -> Result<ContainerEdits, Failure> {
        match config.driver.files {
            Files::Host => Ok(ContainerEdits {
                mounts: driver::mounts(&host.driver_files()?, self.capabilities, &Layout::unknown()),
                ..ContainerEdits::default()
            }),
            Files::Cdi => host.cdi_edits(),
            Files::Nvidia | Files::None => Ok(ContainerEdits::default()),
        }
    }
}

/// Engines pass over any other file in silence.
fn name_is_read(path: &Path) -> Result<(), Failure> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json" | "yaml") => Ok(()),
        _ => Err(Failure::usage(
            format!("--output {}", path.display()),
            "engines read no CDI file but *.json and *.yaml",
        )
        .remedy("name it so, or write - for standard output")),
    }
}

/// The devices of this machine, as they are to be offered.
struct Offer(Vec<CdiDevice>);

impl Offer {
    /// A device whose nodes can't be had is left out, and said to be.
    fn of(host: &Host, inventory: &mut Inventory) -> Offer {
        let mut left_out = Vec::new();
        let mut offer = |device: Device<'_>| match host.nodes(device) {
            Ok(nodes) => Some(CdiDevice::new(device, nodes)),
            Err(failure) => {
                left_out.push(LeftOut {
                    what: device.name().to_string(),
                    reason: failure.to_string(),
                });
                None
            }
        };
        let devices = inventory.devices().filter_map(&mut offer).collect();
        inventory.left_out.append(&mut left_out);
        Offer(devices)
    }

    fn text(&self, version: CdiVersion, files: &ContainerEdits) -> anyhow::Result<String> {
        let file = cdi::file(version, &self.0, files);
        Ok(serde_json::to_string_pretty(&file)? + "\n")
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().flat_map(|device| device.names.clone()).collect()
    }

    fn to_standard_output(&self, seen: &Seen, wanted: &Wanted, files: &ContainerEdits) -> anyhow::Result<()> {
        match self.0.is_empty() {
            true => Err(seen.nothing_to_offer().into()),
            false => super::print(self.text(wanted.version.unwrap_or_default(), files)?.as_bytes()),
        }
    }

    fn checked(
        &self,
        seen: &Seen,
        wanted: &Wanted,
        files: &ContainerEdits,
        earlier: &Earlier,
    ) -> anyhow::Result<()> {
        let version = wanted.version.unwrap_or(earlier.version());
        let says = self.text(version, files)?;
        match earlier.text() {
            None if self.0.is_empty() => Err(seen.nothing_to_offer().into()),
            None => Err(earlier.missing().into()),
            Some(text) if text == says && !self.0.is_empty() => {
                super::print(seen.up_to_date(earlier.path()).as_bytes())
            }
            Some(_) => Err(earlier.stale(&self.names()).into()),
        }
    }

    /// A file that names devices which are all gone goes: whoever is given what they were by number may be given another's.
    fn written(
        &self,
        seen: &Seen,
        wanted: &Wanted,
        files: &ContainerEdits,
        earlier: &Earlier,
    ) -> anyhow::Result<()> {
        if self.0.is_empty() {
            let nothing = seen.nothing_to_offer();
            return Err(match earlier.remove()? {
                true => words::removed(earlier.path(), &nothing).into(),
                false => nothing.into(),
            });
        }
        let version = wanted.version.unwrap_or(earlier.version());
        earlier.write(&self.text(version, files)?)?;
        super::print(seen.written(earlier, &self.names()).as_bytes())
    }
}
