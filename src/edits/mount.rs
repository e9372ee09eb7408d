//! A file of the host's that is mounted into a container.

use std::path::PathBuf;

use serde_json::{Value, json};

/// One file of the host's, mounted into the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where the container has it: absolute. What stands there in the image is the image's: resolve it inside the rootfs.
    pub path: PathBuf,
    /// Where it really lies on the host: absolute, and no part of it a link.
    pub host_path: PathBuf,
    /// What it is.
    pub kind: MountKind,
}

/// What is mounted, and so what may be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A library, a program, firmware: read and run, never written.
    File,
    /// A socket, or a folder with sockets in it: spoken to, which takes the right to write, and never run.
    Socket,
}

impl MountKind {
    /// As an OCI spec's mount options have it. `private`, so that nothing that is mounted later shows on the other side.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            MountKind::File => &["bind", "ro", "nosuid", "nodev", "private"],
            MountKind::Socket => &["bind", "nosuid", "nodev", "noexec", "private"],
        }
    }
}

/// As config.json has it.
pub(super) fn entry(mount: &Mount) -> Value {
    json!({
        "destination": mount.path.to_string_lossy(),
        "type": "bind",
        "source": mount.host_path.to_string_lossy(),
        "options": mount.kind.options(),
    })
}
