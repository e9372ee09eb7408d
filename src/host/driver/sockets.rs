//! Where the driver's daemons listen. A container may write there, so nothing counts whose place on the host others than
//! root could exchange: /tmp is everyone's, and a link there would lead a mount anywhere.

use std::path::Path;

use super::root::{Found, Root};
use super::table::Socket;
use crate::config::Daemon;
use crate::edits::driver::{Capability, DriverFile, Place};
use crate::failure::Failure;

/// Where clients look for MPS.
const MPS: &str = "/tmp/nvidia-mps";

/// The sockets of these daemons that are there now.
pub fn sockets(root: &Root, known: &[Socket], wanted: &[Daemon]) -> Vec<DriverFile> {
    let wanted = known.iter().filter(|socket| wanted.contains(&socket.daemon));
    let there = |socket: &Socket| {
        let found = root.find_guarded(&socket.path).filter(Found::is_socket)?;
        Some(DriverFile {
            for_any: socket.for_any,
            place: Place::Socket(socket.path.clone()),
            host_path: found.real_path()?,
        })
    };
    wanted.filter_map(there).collect()
}

/// The folder of the MPS daemon's pipes, on this machine whatever `driver.root` is.
///
/// # Errors
/// A host failure where it isn't there, or could be exchanged.
pub fn mps(folder: &Path) -> Result<DriverFile, Failure> {
    let root = Root::of_host()?;
    let found = root.find_guarded(folder).filter(Found::is_folder);
    let real = found.and_then(|found| found.real_path());
    let host_path = real.ok_or_else(|| {
        let why = "it isn't there, or others than root may write in a folder above it";
        Failure::host(
            format!(
                "driver.mps = \"{}\" can't be given to a container",
                folder.display()
            ),
            why,
        )
        .remedy("start the MPS daemon with CUDA_MPS_PIPE_DIRECTORY below /run, and name that folder")
    })?;
    Ok(DriverFile {
        for_any: [Capability::Compute].into_iter().collect(),
        place: Place::Socket(MPS.into()),
        host_path,
    })
}
