//! What a live container may do with devices: which control group decides, whether it is the container's own to
//! change, and the change.
//!
//! The kernel asks both a v1 `devices` group and v2's programs, where there are any. On a hybrid host runtimes use v1;
//! where no v1 `devices` hierarchy is mounted they use v2.
//!
//! A group that is not the container's own (`--cgroups=disabled` leaves a container in its caller's; one `cgroupsPath`
//! can be given to two containers) is never changed: every process in it would be given the device, and nobody would
//! take it back. Nothing in it can be relied upon either, so such a container is refused, unless it has every device
//! anyway and is allowed to.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::cgroup_v1;
use super::cgroup_v2::Group;
use crate::cgroup::{self, CgroupPath, Mounts, Population};
use crate::edits::DeviceNode;
use crate::failure::Failure;

/// What decides about devices for one container.
pub struct Permission {
    /// The container's init process.
    pid: i32,
    mounts: Mounts,
    /// Its v1 `devices` group, where that is mounted.
    v1: Option<Place<PathBuf>>,
    /// Its v2 group, where that is mounted and the kernel runs programs for it.
    v2: Option<Place<Group>>,
    everything: bool,
}

struct Place<G> {
    group: G,
    path: CgroupPath,
    /// Whether it is neither the root's, nor the hook's or engine's, nor one above those.
    own: bool,
}

impl Permission {
    /// Looks at the groups of process `pid`.
    pub fn of(pid: i32) -> Result<Permission, Failure> {
        let failed = |why: String| {
            Failure::host("can't tell what the container may do with devices", why)
                .remedy("/proc must be mounted here and the container still alive: start it again")
        };
        let groups = cgroup::of_process(pid)
            .map_err(|error| failed(format!("read of /proc/{pid}/cgroup: {error}")))?;
        let others = cgroup::bystanders().map_err(|error| {
            failed(format!(
                "can't compare its cgroup with this program's and the engine's: {error}"
            ))
        })?;
        let mounts = Mounts::read().map_err(|error| failed(format!("read of mountinfo: {error}")))?;
        let find = |wanted: fn(&CgroupPath) -> bool| {
            let group = groups.iter().find(|group| wanted(group))?;
            Some((group, mounts.directory(group)?))
        };
        // A hierarchy that isn't mounted here was out of the runtime's reach too: it made no rules there.
        let v1 = find(|group| group.has_controller("devices"));
        let v1 = v1.map(|(group, directory)| Place::new(directory, group, &others));
        let v2 = match find(CgroupPath::is_v2) {
            Some((group, directory)) => Group::open(&directory)?.map(|open| Place::new(open, group, &others)),
            None => None,
        };
        if v1.is_none() && v2.is_none() {
            return Err(failed(
                "no cgroup hierarchy that decides about devices is mounted, or the kernel lacks CONFIG_CGROUP_BPF"
                    .to_owned(),
            )
            .remedy("mount cgroup2 at /sys/fs/cgroup, or v1's devices controller below it, where hooks run"));
        }
        let v1_everything = v1
            .as_ref()
            .map_or(Ok(true), |place| cgroup_v1::allows_everything(&place.group))?;
        let v2_everything = v2.as_ref().is_none_or(|place| place.group.allows_everything());
        Ok(Permission {
            pid,
            mounts,
            v1,
            v2,
            everything: v1_everything && v2_everything,
        })
    }

    /// Whether nothing keeps the container from any device. `false` is no proof of the contrary on v2, whose programs
    /// don't say what they allow: the spec's own rules do.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Fails where what decides is not the container's own to change.
    pub fn check(&self) -> Result<(), Failure> {
        self.v1
            .as_ref()
            .map_or(Ok(()), |place| self.is_the_containers(place))?;
        let Some(place) = self.restricting_v2() else {
            return Ok(());
        };
        self.is_the_containers(place)?;
        if place.group.has_own_rules() {
            return Ok(());
        }
        Err(place.refused("only groups above it have device rules, which are not the container's own"))
    }

    /// Allows exactly `nodes`. Nothing is changed if not all of it can be.
    pub fn allow(&self, nodes: &[DeviceNode]) -> Result<(), Failure> {
        self.check()?;
        // v2 first: it is the one that can fail half-way, and then takes itself back.
        self.restricting_v2()
            .map_or(Ok(()), |place| place.group.allow(nodes))?;
        self.v1
            .as_ref()
            .map_or(Ok(()), |place| cgroup_v1::allow(&place.group, nodes))
    }

    /// Only the container's init process may be in its group, or below: a runtime has nothing else there yet.
    fn is_the_containers<G>(&self, place: &Place<G>) -> Result<(), Failure> {
        if !place.own {
            return Err(place.refused("it is not the container's own"));
        }
        match self.mounts.population(&place.path, Some(self.pid)) {
            Population::Empty => Ok(()),
            Population::Populated => Err(place.shared()),
            Population::Unknown => Err(place.refused("can't tell which processes are in it").remedy(
                "hooks must see all of /sys/fs/cgroup, and a container's cgroup can't be a threaded one",
            )),
        }
    }

    fn restricting_v2(&self) -> Option<&Place<Group>> {
        self.v2.as_ref().filter(|place| !place.group.allows_everything())
    }
}

impl<G> Place<G> {
    fn new(group: G, path: &CgroupPath, others: &[Vec<CgroupPath>]) -> Place<G> {
        Place {
            group,
            path: path.clone(),
            own: cgroup::is_own(path, others),
        }
    }

    fn shared(&self) -> Failure {
        let why = format!(
            "other processes are in its cgroup {} and would get its device too",
            self.path.path
        );
        Failure::refused("can't give this container a device of its own", why).remedy(
            "give every container a cgroup of its own: another cgroupsPath, or none so that the engine picks one",
        )
    }

    fn refused(&self, why: &str) -> Failure {
        Failure::host(format!("can't allow devices in cgroup {}", self.path.path), why)
            .remedy("let the runtime give the container a control group (no --cgroups=disabled)")
    }
}
