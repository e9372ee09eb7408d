//! The driver's files for a container that asked for a device: what its environment asks of them, what this machine has,
//! and where its root file system has room for them.

use std::path::Path;

use super::{Voice, host};
use crate::config::{Config, Files};
use crate::edits::driver::{self, Capabilities, DriverFile, Layout, Libc};
use crate::edits::{ContainerEdits, Mount, guard};
use crate::failure::Failure;
use crate::inject::{LiveContainer, layout};
use crate::oci::Spec;

/// The driver's files that a container is to have, before it is known where.
pub enum DriverFiles {
    /// This machine's, and what of them it asks for.
    Found(Vec<DriverFile>, Capabilities),
    /// As NVIDIA's CDI file says.
    Cdi(Box<ContainerEdits>),
    /// NVIDIA's own hook or runtime comes after us: it goes by the variable, and gives them, and the nodes.
    Toolkits,
    /// None.
    None,
}

impl DriverFiles {
    /// What `spec` asks for, and this machine has; by the configuration, and by who of NVIDIA's `comes_after` us, so that
    /// nothing is given twice.
    ///
    /// # Errors
    /// A usage failure where its environment asks for what there isn't; a host failure where this machine has no driver, or
    /// no library of its version, or no CDI file.
    pub fn of(
        config: &Config,
        spec: Spec<'_>,
        comes_after: Option<&str>,
        voice: Voice<'_>,
    ) -> Result<DriverFiles, Failure> {
        let files = config.driver.files;
        if let (Files::Host | Files::Cdi, Some(who)) = (files, comes_after) {
            (voice.warn)(&left_to(who));
            return Ok(DriverFiles::Toolkits);
        }
        Ok(match files {
            Files::Host => {
                let asked = Capabilities::asked(spec.environment())?;
                DriverFiles::Found(host(config).driver_files()?, asked)
            }
            Files::Cdi => DriverFiles::Cdi(Box::new(host(config).cdi_edits()?)),
            Files::Nvidia => DriverFiles::Toolkits,
            Files::None => DriverFiles::None,
        })
    }

    /// Whether the nodes of its devices are left to somebody else.
    pub fn leave_nodes(&self) -> bool {
        matches!(self, DriverFiles::Toolkits)
    }

    /// The edits for a container whose root file system is, or will be, at `rootfs`.
    pub fn edits(&self, rootfs: Option<&Path>, voice: Voice<'_>) -> ContainerEdits {
        self.edits_for(
            &|| rootfs.and_then(layout::look).ok_or_else(|| unseen(rootfs)),
            voice,
        )
    }

    /// The edits for a container that exists already.
    pub fn live_edits(&self, live: &LiveContainer, voice: Voice<'_>) -> ContainerEdits {
        self.edits_for(&|| live.layout(), voice)
    }

    fn edits_for(&self, layout: &dyn Fn() -> Result<Layout, Failure>, voice: Voice<'_>) -> ContainerEdits {
        match self {
            DriverFiles::Found(files, asked) => ContainerEdits {
                mounts: mounts(files, *asked, layout, voice),
                ..ContainerEdits::default()
            },
            DriverFiles::Cdi(edits) => ContainerEdits::clone(edits),
            DriverFiles::Toolkits | DriverFiles::None => ContainerEdits::default(),
        }
    }
}

/// Refuses what can't be done for a container that exists already.
///
/// # Errors
/// A host failure that says what can.
pub fn refuse_where_it_exists(config: &Config) -> Result<(), Failure> {
    let (files, why) = match config.driver.files {
        Files::Host | Files::None => return Ok(()),
        Files::Nvidia => (
            "nvidia",
            "NVIDIA's hook goes by a variable, which can't be set any more",
        ),
        Files::Cdi => ("cdi", "the hooks of NVIDIA's CDI file can't be added any more"),
    };
    let what = format!("driver.files = \"{files}\" can't be done for a container that exists already");
    Err(Failure::host(what, why).remedy(
        "set up Podman's precreate hook or oci-mig-runtime (README), or choose driver.files = \"host\"",
    ))
}

/// NVIDIA's hook, if the container has it, or its runtime, if that gets the config next.
pub fn toolkit_after_us(spec: Spec<'_>, runtime: Option<&Path>) -> Option<String> {
    let named = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        name.starts_with("nvidia-container-runtime")
            .then(|| path.display().to_string())
    };
    guard::giving_hook(spec).or_else(|| runtime.and_then(named))
}

fn left_to(who: &str) -> Failure {
    Failure::host(
        "the driver's files and nodes are left to NVIDIA's toolkit",
        format!("{who} comes after oci-mig-hook, and would give them a second time"),
    )
    .remedy("say so with driver.files = \"nvidia\", or take that out of the engine's set-up")
}

fn mounts(
    files: &[DriverFile],
    asked: Capabilities,
    layout: &dyn Fn() -> Result<Layout, Failure>,
    voice: Voice<'_>,
) -> Vec<Mount> {
    if files.is_empty() {
        return Vec::new();
    }
    let layout = layout().unwrap_or_else(|failure| {
        (voice.warn)(&failure);
        Layout::unknown()
    });
    let mounts = driver::mounts(files, asked, &layout);
    if layout.libc == Libc::Musl && !mounts.is_empty() {
        (voice.warn)(&musl());
    }
    if let Some(library) = driver::lacking(files, asked) {
        (voice.warn)(&lacks(library));
    }
    mounts
}

fn lacks(library: &str) -> Failure {
    Failure::host(
        format!("this machine has no {library}.so of its driver's version"),
        "this container asks for it by NVIDIA_DRIVER_CAPABILITIES (unset, it is compute,utility)",
    )
    .remedy("install it, or correct driver.root")
}

fn musl() -> Failure {
    Failure::host(
        "this container's image has musl in place of glibc",
        "NVIDIA's driver libraries are built for glibc, and don't load there",
    )
    .remedy("use an image with glibc, such as Debian's, Ubuntu's or Red Hat's")
}

fn unseen(rootfs: Option<&Path>) -> Failure {
    let why = match rootfs {
        Some(path) => format!("there is nothing at {} yet", path.display()),
        None => "config.json names no root.path that leads there".to_owned(),
    };
    Failure::host("can't look at this container's root file system", why)
        .remedy("the driver's libraries go into each folder that its loader may search")
}
