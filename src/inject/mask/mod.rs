//! `/proc/driver/nvidia` covered in a live container, so that it sees the files about its own devices and nobody else's.
//!
//! ```text
//! procfs.rs    where the container has the driver's folder, by the kernel's own list of its mounts
//! contents.rs  what of the host's folder it is to see
//! cover.rs     the read-only tmpfs with that, put over the driver's folder
//! ```
//!
//! Neither the image's folders nor its links decide where anything is mounted: each procfs of the container is told by the
//! number of its mount, and what is mounted on is the handle that has that number.

#![forbid(unsafe_code)]

mod contents;
mod cover;
mod procfs;

use super::LiveContainer;
use crate::edits::ProcMask;
use crate::failure::Failure;
use contents::Contents;

/// Covers the driver's folder in every procfs of `container` with what `mask` shows. Does nothing where no driver shows
/// itself there.
///
/// # Errors
/// A host failure where it can't be covered: the container must not start.
pub fn mask(container: &LiveContainer, mask: &ProcMask) -> Result<(), Failure> {
    let init = &container.init;
    let places = procfs::places(init, &container.rootfs)?;
    if places.is_empty() {
        return init.still_lives();
    }
    let covers = places.into_iter().map(|place| Ok((place, Contents::read(mask)?)));
    let covers: Vec<_> = covers.collect::<Result<_, Failure>>()?;
    // All that was read about the process by its number was about this very process.
    init.still_lives()?;
    let owner = init.root_ids();
    init.inside(|| {
        covers
            .iter()
            .try_for_each(|(place, contents)| cover::put(place, contents, owner))
    })
}

/// A failure to cover it.
fn failed(call: &str, why: impl std::fmt::Display) -> Failure {
    let what = "can't hide other containers' devices in its /proc/driver/nvidia";
    Failure::host(what, format!("{call}: {why}")).remedy(
        "the engine must run this hook as root with all capabilities, on Linux 5.8 or later; mask_proc = false does without",
    )
}
