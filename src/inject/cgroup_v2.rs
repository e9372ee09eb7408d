//! Device permissions on cgroup v2: the programs that decide for a group are replaced by the same programs with our
//! devices allowed ahead.
//!
//! A device must be allowed by every program attached to the group, so each is replaced, each in one step: at no
//! moment does the container have more than it should. Programs of groups above decide too and are not ours to
//! change; where one of those denies the device, the container gets EPERM.
//!
//! What the kernel holds is changed here behind the runtime's back: `runc update` with device rules, or systemd's
//! `daemon-reload` under the systemd cgroup driver, puts the old rules back.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::BEFORE_CREATE;
use super::bpf;
use super::device_program;
use crate::edits::DeviceNode;
use crate::failure::Failure;

/// One group, and what decides about devices in it.
pub struct Group {
    directory: File,
    /// The group's own programs, in the order in which they are attached.
    own: bpf::Attached,
    /// Whether groups above have programs too.
    restricted_above: bool,
}

/// A program that has taken another's place.
struct Replaced {
    old: OwnedFd,
    new: OwnedFd,
}

impl Group {
    /// Asks the kernel about the group at `directory`; `None` where it knows no device programs at all.
    pub fn open(directory: &Path) -> Result<Option<Group>, Failure> {
        let failed = |call: &str, error: io::Error| {
            let why = format!("{call} on {}: {error}", directory.display());
            Failure::host("can't tell what the container may do with devices", why)
                .remedy("this needs root's full capabilities")
        };
        let file = File::open(directory).map_err(|error| failed("open", error))?;
        let own = match bpf::attached(file.as_fd()) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => {
                return Ok(None);
            }
            own => own.map_err(|error| failed("bpf(PROG_QUERY)", error))?,
        };
        let all = bpf::effective(file.as_fd()).map_err(|error| failed("bpf(PROG_QUERY)", error))?;
        Ok(Some(Group {
            restricted_above: all.iter().any(|id| !own.ids.contains(id)),
            own,
            directory: file,
        }))
    }

    /// Whether nothing at all restricts devices in this group.
    pub fn allows_everything(&self) -> bool {
        self.own.ids.is_empty() && !self.restricted_above
    }

    /// Whether the group has programs of its own, which alone can be changed.
    pub fn has_own_rules(&self) -> bool {
        !self.own.ids.is_empty()
    }

    /// Allows exactly `nodes` beside what the group's programs allow. All of them are changed or none.
    pub fn allow(&self, nodes: &[DeviceNode]) -> Result<(), Failure> {
        let prepared: Result<Vec<Replaced>, Failure> =
            self.own.ids.iter().map(|id| prepare(*id, nodes)).collect();
        let prepared = prepared?;
        for (at, program) in prepared.iter().enumerate() {
            if let Err(error) = self.swap(&program.old, &program.new) {
                let failure = failed("bpf(PROG_ATTACH)", self.own.ids[at], &error);
                return Err(self.take_back(&prepared[..at], failure));
            }
        }
        Ok(())
    }

    fn swap(&self, old: &OwnedFd, new: &OwnedFd) -> io::Result<()> {
        bpf::replace(self.group(), old, new, self.own.flags)
    }

    fn take_back(&self, swapped: &[Replaced], mut failure: Failure) -> Failure {
        for program in swapped.iter().rev() {
            if let Err(error) = self.swap(&program.new, &program.old) {
                failure = failure.and(
                    &Failure::host("can't put back a device program", error)
                        .remedy("remove the container: its cgroup, and what it was allowed, go with it"),
                );
            }
        }
        failure
    }

    fn group(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Loads the program that is to take the place of program `id`.
fn prepare(id: u32, nodes: &[DeviceNode]) -> Result<Replaced, Failure> {
    let old = bpf::program(id).map_err(|error| failed("bpf(PROG_GET_FD_BY_ID)", id, &error))?;
    let (original, maps) =
        bpf::instructions(old.as_fd()).map_err(|error| failed("bpf(OBJ_GET_INFO_BY_FD)", id, &error))?;
    if maps > 0 {
        return Err(unknown(id, "it uses maps"));
    }
    let patched = device_program::allow_first(nodes, &original).map_err(|why| unknown(id, &why))?;
    let new = bpf::load(&patched).map_err(|error| failed("bpf(PROG_LOAD)", id, &error))?;
    Ok(Replaced { old, new })
}

fn failed(call: &str, id: u32, error: &io::Error) -> Failure {
    let what = format!("can't change device program {id} of the container's cgroup");
    Failure::host(what, format!("{call}: {error}")).remedy(BEFORE_CREATE)
}

fn unknown(id: u32, why: &str) -> Failure {
    let what = format!("device program {id} of the container's cgroup can't be changed safely");
    Failure::host(what, why).remedy(BEFORE_CREATE)
}
