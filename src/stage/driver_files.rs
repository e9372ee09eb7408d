//! The driver's files for a container that asked for a device: what its environment asks of them, what this machine has,
//! and where its root file system has room for them.

use std::path::Path;

use super::{Voice, host};
use crate::config::{Config, Files};
use crate::edits::Mount;
use crate::edits::driver::{self, Capabilities, DriverFile, Layout, Libc};
use crate::failure::Failure;
use crate::inject::layout;
use crate::oci::Spec;

/// The driver's files that a container is to have, before it is known where.
pub struct DriverFiles {
    files: Vec<DriverFile>,
    asked: Capabilities,
}

impl DriverFiles {
    /// What `spec` asks for, and this machine has. None of them where the configuration says so.
    ///
    /// # Errors
    /// A usage failure where its environment asks for what there isn't; a host failure where this machine has no driver, or
    /// no library of its version.
    pub fn of(config: &Config, spec: Spec<'_>) -> Result<DriverFiles, Failure> {
        if config.driver.files == Files::None {
            return Ok(DriverFiles {
                files: Vec::new(),
                asked: Capabilities::default(),
            });
        }
        let asked = Capabilities::asked(spec.environment())?;
        let files = host(config).driver_files()?;
        Ok(DriverFiles { files, asked })
    }

    /// The mounts for a container whose root file system is, or will be, at `rootfs`.
    pub fn mounts(&self, rootfs: Option<&Path>, voice: Voice<'_>) -> Vec<Mount> {
        if self.files.is_empty() {
            return Vec::new();
        }
        let layout = rootfs.and_then(layout::look).unwrap_or_else(|| {
            (voice.warn)(&unseen(rootfs));
            Layout::unknown()
        });
        self.mounts_in(&layout, voice)
    }

    fn mounts_in(&self, layout: &Layout, voice: Voice<'_>) -> Vec<Mount> {
        let mounts = driver::mounts(&self.files, self.asked, layout);
        if layout.libc == Libc::Musl && !mounts.is_empty() {
            (voice.warn)(&musl());
        }
        mounts
    }
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
