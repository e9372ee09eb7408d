//! Edits into a live container: one whose runtime has set it up and waits for a createRuntime or prestart hook, before
//! its first process starts.
//!
//! By then its spec is spent, so what would have been edited there is done to the container itself: device nodes and the
//! driver's files in its mount namespace, permission in its control group. The environment of its process can't be changed any more.

#![deny(unsafe_code)]

mod bind;
#[allow(unsafe_code)]
pub mod bpf;
mod cgroup_v1;
pub mod cgroup_v2;
mod device_program;
mod file;
mod ground;
pub mod layout;
mod mask;
mod mountinfo;
mod namespace;
mod node;
mod permission;
mod rootfs;

use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::edits::ContainerEdits;
use crate::edits::driver::Layout;
use crate::failure::Failure;
use bind::{Handles, Tree};
use ground::Ground;
pub use mask::mask;
use namespace::Init;
use permission::Permission;
use rootfs::Rootfs;

/// A container that its runtime has created and not yet started, its init process held fast.
///
/// Open it before anything else is learned of that process by its number: whatever was learned since is about this
/// very process, as [`device_access`](LiveContainer::device_access) and [`into`] check last.
pub struct LiveContainer {
    init: Init,
    rootfs: PathBuf,
    may_have_everything: bool,
}

/// The remedy that does without live injection.
const BEFORE_CREATE: &str = "give the device before the container is created: by Podman's precreate";

/// What control groups leave of the devices to a live container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceAccess {
    /// Rules stand in between. On v2 they don't say what they allow: judge the spec's own rules too.
    Restricted,
    /// Every device is open to it, so also every MIG device of the node: it can't be isolated.
    Everything,
}

impl LiveContainer {
    /// Opens the container whose init process is `pid`, as the state on the hook's stdin names it: from here on that
    /// number can't come to mean another process unnoticed.
    ///
    /// `rootfs` is its root filesystem: absolute, as the runtime sees it (`root.path` of config.json, below the
    /// bundle). `may_have_everything`: whether a container that every device is open to is given its nodes all the
    /// same (`allow_privileged`).
    ///
    /// # Errors
    /// A host failure where the process is gone or shares this program's mount namespace.
    pub fn open(pid: i32, rootfs: PathBuf, may_have_everything: bool) -> Result<LiveContainer, Failure> {
        Ok(LiveContainer {
            init: Init::open(pid)?,
            rootfs,
            may_have_everything,
        })
    }

    /// The number of its init process.
    pub fn pid(&self) -> i32 {
        self.init.pid()
    }

    /// Where its root filesystem has its libraries.
    ///
    /// # Errors
    /// A host failure where that can't be looked at.
    pub fn layout(&self) -> Result<Layout, Failure> {
        let root = self.init.open_inside(&self.rootfs).map_err(|errno| {
            Failure::host(
                "can't look at this container's root file system",
                format!("openat2({}): {errno}", self.rootfs.display()),
            )
            .remedy("the driver's libraries go into each folder that its loader may search")
        })?;
        Ok(layout::look_in(root.as_fd()))
    }

    /// What it may do with devices. Changes nothing: to be asked before anything is reserved.
    ///
    /// # Errors
    /// A host failure where that can't be told, or the container has ended meanwhile.
    pub fn device_access(&self) -> Result<DeviceAccess, Failure> {
        let permission = Permission::of(self.pid());
        self.init.still_lives()?;
        Ok(match permission?.is_everything() {
            true => DeviceAccess::Everything,
            false => DeviceAccess::Restricted,
        })
    }
}

/// Puts the nodes and the files of `edits` into `container`, and allows exactly those nodes. Doing it twice is harmless.
///
/// An error leaves permissions as they were on v2; what else was put in stays, in a container that its runtime then
/// destroys. Environment and hooks are not looked at: they belong into a spec.
///
/// # Errors
/// A refusal where the container can't be isolated or shares its cgroup; a host failure else, also where the container
/// has ended since it was opened.
pub fn into(container: &LiveContainer, edits: &ContainerEdits) -> Result<(), Failure> {
    let init = &container.init;
    init.still_lives()?;
    let permission = Permission::of(init.pid())?;
    if permission.is_everything() && !container.may_have_everything {
        return Err(
            Failure::refused("this container can't be isolated", "every device is open to it").remedy(
                "run it without those rights, or set allow_privileged = true to trust every such container",
            ),
        );
    }
    let may_change = match permission.check() {
        Ok(()) => true,
        // Nothing stands between it and its devices: nothing needs to change.
        Err(_) if permission.is_everything() => false,
        Err(failure) => return Err(failure),
    };
    let ground = Ground::survey(init.pid(), &container.rootfs)?;
    let trees = trees(init, edits)?;
    let files: Vec<Tree> = edits.mounts.iter().map(Tree::of_file).collect::<Result<_, _>>()?;
    let handles = Handles::open()?;
    // All that was read about the process by its number was about this very process.
    init.still_lives()?;
    init.inside(|| {
        let rootfs = Rootfs::open(&container.rootfs, ground)?;
        let mut trees = trees.iter();
        edits
            .nodes
            .iter()
            .try_for_each(|node| node::place(&rootfs, node, trees.next(), &handles))?;
        let mut mounts = edits.mounts.iter().zip(&files);
        mounts.try_for_each(|(mount, tree)| file::place(&rootfs, mount, tree, &handles))
    })?;
    if may_change {
        permission.allow(&edits.nodes)
    } else {
        Ok(())
    }
}

/// The host's nodes, where the container's user namespace can't have its own.
fn trees(init: &Init, edits: &ContainerEdits) -> Result<Vec<Tree>, Failure> {
    if init.has_user_namespace() {
        edits.nodes.iter().map(Tree::of_node).collect()
    } else {
        Ok(Vec::new())
    }
}
