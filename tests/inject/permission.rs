//! Whose control group it is, and containers to which every device is open.

use std::fs;
use std::process::{Child, Command, Stdio};

use oci_mig_hook::cgroup;
use oci_mig_hook::failure::Exit;
use oci_mig_hook::inject::{self, DeviceAccess, LiveContainer};
use oci_mig_hook::mig::Access;

use crate::live::{Devices, Story, at_create_runtime, inside};
use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::probe::{Answer, Probe, Seen};
use crate::support::runtime::{Engine, everywhere};
use crate::support::{rootfs, scratch};

const NODE: &str = "/dev/nvidia0";

fn devices() -> Devices {
    Devices::new().node(NODE, 0, Access::ReadWrite)
}

/// What stands for a container in its caller's control group (`--cgroups=disabled`): a process with a mount
/// namespace and nothing else.
struct Ungrouped(Child);

impl Ungrouped {
    fn start() -> Self {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            "echo ready; cat",
        ]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut ready)
            .expect("its first words");
        Self(child)
    }

    fn container(&self) -> LiveContainer {
        let pid = self.0.id() as i32;
        LiveContainer::open(pid, rootfs::shared().to_owned(), false).expect("a container")
    }
}

impl Drop for Ungrouped {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn a_container_without_a_group_of_its_own_is_refused_and_nothing_changes() {
    let edits = devices().edits();
    for view in [View::Host, View::V1, View::V2]
        .into_iter()
        .filter(|view| view.is_offered())
    {
        let process = Ungrouped::start();
        let container = process.container();
        let rules = || fs::read_to_string(view.path("/sys/fs/cgroup/devices/devices.list")).ok();
        let before = rules();
        let failure = inside(view, || inject::into(&container, &edits)).unwrap_err();
        // The tests themselves run in the root's group or in one like it.
        let said = failure.to_string();
        let isolated = failure.exit() == Exit::Refused && said.contains("every device is open to it");
        let shared = failure.exit() == Exit::Host && said.contains("not the container's own");
        assert!(isolated || shared, "{view}: {said}");
        assert_eq!(rules(), before, "{view}");
    }
}

#[test]
fn a_group_that_another_process_is_in_is_never_changed() {
    for (runtime, view) in everywhere() {
        let (who, edits) = (format!("{runtime} {view}"), devices().edits());
        let story = at_create_runtime(&Engine::new(runtime, view), Bundle::new(), |container| {
            let before = rules(view, container.pid());
            let guest = Guest::in_the_group_of(container.pid());
            let done = inject::into(container, &edits);
            assert_eq!(rules(view, container.pid()), before, "{who}");
            drop(guest);
            done
        });
        shared(story, &who);
    }
}

/// One `cgroupsPath`, as two runs of one bundle have it: the second's device would be the first's too.
#[test]
fn the_second_container_of_a_group_is_refused() {
    for (runtime, view) in everywhere() {
        let (who, edits) = (format!("{runtime} {view}"), devices().edits());
        let first = Bundle::new().args(["sleep", "60"]).write();
        let group = first.config["linux"]["cgroupsPath"].clone();
        let engine = Engine::new(runtime, view);
        let mut running = engine.container(&first);
        running.create().ok();
        running.start().ok();
        let second = Bundle::new().with(|config| config["linux"]["cgroupsPath"] = group);
        // What becomes of the first is the runtime's doing: runc ends all that is in the group of a failed container.
        let story = at_create_runtime(&engine, second, |container| {
            let before = rules(view, container.pid());
            let done = inject::into(container, &edits);
            assert_eq!(rules(view, container.pid()), before, "{who}");
            done
        });
        shared(story, &who);
    }
}

#[track_caller]
fn shared(story: Story, who: &str) {
    let exit = story.injected.as_ref().map_err(|failure| failure.exit());
    assert_eq!(exit, Err(Exit::Refused), "{who}");
    let why = story.refused();
    assert!(why.contains("other processes are in its cgroup"), "{who}: {why}");
    assert!(why.contains("another cgroupsPath"), "{who}: {why}");
}

/// A process that is no container's, in a container's groups.
struct Guest(Child);

impl Guest {
    fn in_the_group_of(pid: i32) -> Self {
        let guest = Self(Command::new("sleep").arg("60").spawn().expect("sleep"));
        let mounts = cgroup::Mounts::read().expect("mountinfo");
        for group in cgroup::of_process(pid).expect("its groups") {
            let decides = group.is_v2() || group.has_controller("devices");
            if let (true, Some(directory)) = (decides, mounts.directory(&group)) {
                fs::write(directory.join("cgroup.procs"), guest.0.id().to_string()).expect("its group");
            }
        }
        guest
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the container's own group holds now: v1's list, or the ids of v2's programs.
fn rules(view: View, pid: i32) -> String {
    use std::os::fd::AsFd;
    let mounts = cgroup::Mounts::read().expect("mountinfo");
    let mut found = String::new();
    for group in cgroup::of_process(pid).expect("its groups") {
        let Some(directory) = mounts.directory(&group) else {
            continue;
        };
        if group.has_controller("devices") {
            found += &fs::read_to_string(directory.join("devices.list")).expect("devices.list");
        }
        if group.is_v2() {
            let directory = fs::File::open(directory).expect("the group");
            found += &format!("{:?}", inject::bpf::attached(directory.as_fd()).expect("a query"));
        }
    }
    assert!(!found.is_empty(), "{view}");
    found
}

#[test]
fn a_container_that_has_every_device_is_told_apart() {
    for (runtime, view) in everywhere() {
        for privileged in [false, true] {
            let (who, edits) = (format!("{runtime} {view} {privileged}"), devices().edits());
            let bundle = Bundle::new().script(&Probe::new().writes(NODE).script());
            let bundle = if privileged { bundle.privileged() } else { bundle };
            let root = crate::live::rootfs(&bundle);
            let story = at_create_runtime(&Engine::new(runtime, view), bundle, |container| {
                let access = container.device_access()?;
                // A program doesn't say what it allows; the spec does, and is judged before.
                let told = privileged && has_v1_rules(container.pid());
                assert_eq!(access == DeviceAccess::Everything, told, "{who}");
                let done = inject::into(container, &edits);
                assert_eq!(done.is_err(), told, "{who}: {done:?}");
                let asked_for = LiveContainer::open(container.pid(), root.clone(), true)?;
                inject::into(&asked_for, &edits)
            });
            let seen = Seen::read(&story.ok());
            assert_eq!(seen.writes(NODE), Answer::NoDriver, "{who}");
        }
    }
}

fn has_v1_rules(pid: i32) -> bool {
    let mounts = cgroup::Mounts::read().expect("mountinfo");
    let groups = cgroup::of_process(pid).expect("its groups");
    groups
        .iter()
        .any(|group| group.has_controller("devices") && mounts.directory(group).is_some())
}

#[test]
fn no_rules_at_all_is_everything() {
    let process = Ungrouped::start();
    let container = process.container();
    let pid = container.pid();
    // The unified hierarchy's root has no program: what this process may do is decided in its own group and below.
    inside(View::V2, || {
        let mounts = cgroup::Mounts::read().expect("mountinfo");
        let groups = cgroup::of_process(pid).expect("its groups");
        let mut own = groups
            .into_iter()
            .find(|group| group.is_v2())
            .expect("a v2 group");
        own.path = format!("/{}-{}", scratch::name(), scratch::number());
        let directory = mounts.directory(&own).expect("v2 is mounted");
        fs::create_dir(&directory).expect("a group");
        fs::write(directory.join("cgroup.procs"), pid.to_string()).expect("its group");
        let access = container.device_access();
        drop(process);
        fs::remove_dir(&directory).expect("an empty group");
        assert_eq!(access.expect("an answer"), DeviceAccess::Everything);
    });
}
