//! Hierarchies that aren't mounted, any more or not in whole. In a thread with a mount namespace of its own.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use oci_mig_hook::cgroup::Mounts;
use oci_mig_hook::lease::Process;
use oci_mig_hook::lease::liveness::Here;
use oci_mig_hook::lease::transition::CgroupState::{self, Empty, Unknown};

use super::group::Group;
use super::spawn;

/// Runs this where mounting changes nothing for anybody else.
fn in_a_mount_namespace<T: Send>(story: impl FnOnce() -> T + Send) -> T {
    let apart = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&Path>, "/", None::<&Path>, private, None::<&Path>).unwrap();
        story()
    };
    std::thread::scope(|scope| scope.spawn(apart).join().unwrap())
}

/// Where the group's hierarchy is mounted.
fn point(group: &Group) -> PathBuf {
    let below = group.group.path.trim_start_matches('/');
    let depth = Path::new(below).components().count();
    let point = group.directory.ancestors().nth(depth).unwrap();
    assert!(point.join("cgroup.procs").exists() && !point.parent().unwrap().join("cgroup.procs").exists());
    point.to_owned()
}

fn ended() -> Process {
    let (child, process) = spawn("true", &[]);
    drop(child);
    process
}

#[test]
fn a_group_whose_hierarchy_was_unmounted_is_not_judged() {
    for group in Group::everywhere("unmounted") {
        let gone = ended();
        let seen: [CgroupState; 3] = in_a_mount_namespace(|| {
            let before = Here::look().unwrap();
            let mounted = group.seen_by(&before, gone);
            umount2(&point(&group), MntFlags::MNT_DETACH).unwrap();
            // By one who had looked where it is mounted, and by one who looks now.
            [mounted, group.seen_by(&before, gone), group.seen_of(gone)]
        });
        assert_eq!(seen, [Empty, Unknown, Unknown], "{:?}", group.group);
        assert_eq!(group.seen_of(gone), Empty, "out here it is still mounted");
    }
}

/// In v1 a process can be moved in one hierarchy alone: one that can't be seen may be where it is.
#[test]
fn one_hierarchy_of_several_that_is_unmounted_is_enough_not_to_judge() {
    let mut groups = Group::everywhere("several");
    let unmounted = groups.pop().unwrap();
    let mut container = crate::node::container_of("c", ended());
    container.cgroups = groups.iter().map(|group| group.group.clone()).collect();
    container.cgroups.push(unmounted.group.clone());
    let lease = crate::node::lease_of(container, oci_mig_hook::lease::LeaseState::Held);
    let seen = || {
        Here::look()
            .unwrap()
            .evidence(&lease, std::time::Duration::from_secs(120))
            .cgroup
    };
    assert_eq!(seen(), Empty);
    let without = in_a_mount_namespace(|| {
        umount2(&point(&unmounted), MntFlags::MNT_DETACH).unwrap();
        seen()
    });
    assert_eq!(without, Unknown);
}

/// The part has the same device as the whole, and none of the other groups.
#[test]
fn a_part_of_the_hierarchy_that_is_mounted_over_the_whole_shows_no_group_as_empty() {
    for group in Group::everywhere("part") {
        let (_child, process) = spawn("sleep", &["100"]);
        group.add(process.pid);
        let parts = Group::everywhere("over");
        let part = parts
            .iter()
            .find(|part| part.group.controllers == group.group.controllers)
            .unwrap();
        let gone = ended();
        let (before, after) = in_a_mount_namespace(|| {
            let here = Here::look().unwrap();
            let looked = Mounts::read().unwrap();
            let before = group.seen_by(&here, gone);
            let none = None::<&Path>;
            mount(
                Some(&part.directory),
                &point(&group),
                none,
                MsFlags::MS_BIND,
                none,
            )
            .unwrap();
            assert!(!group.directory.exists() && looked.directory(&group.group).is_some());
            (before, [group.seen_by(&here, gone), group.seen_of(gone)])
        });
        assert_eq!(before, CgroupState::Populated, "{:?}", group.group);
        assert_eq!(after, [Unknown, Unknown], "{:?}", group.group);
    }
}
