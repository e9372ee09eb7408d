//! Cgroup v2's device programs: all of them are replaced, in one step each, or none is.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use oci_mig_hook::cgroup::{CgroupPath, Mounts, of_process};
use oci_mig_hook::inject::bpf::{self, ALLOW_MULTI, Instruction};
use oci_mig_hook::inject::cgroup_v2::Group;
use oci_mig_hook::inject::{self, LiveContainer};
use oci_mig_hook::mig::Access;

use crate::live::{Devices, at_create_runtime, inside};
use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::probe::{Answer, Probe, Seen};
use crate::support::process::until;
use crate::support::runtime::{Engine, Runtime};
use crate::support::{rootfs, scratch};

const NODE: &str = "/dev/nvidia0";
const EXIT: Instruction = instruction(0x95, 0, 0, 0);

const fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers,
        offset,
        immediate,
    }
}

fn answer(value: i32) -> [Instruction; 2] {
    [instruction(0xb7, 0, 0, value), EXIT]
}

/// Denies everything of one major and allows all else.
fn denies_major(major: u32) -> Vec<Instruction> {
    let load_major = instruction(0x61, 0x12, 4, 0);
    let past_the_no = instruction(0x55, 2, 2, major as i32);
    [
        vec![load_major, past_the_no],
        answer(0).to_vec(),
        answer(1).to_vec(),
    ]
    .concat()
}

/// Allows everything, after asking the kernel who calls.
fn with_a_call() -> Vec<Instruction> {
    const GET_CURRENT_UID_GID: i32 = 15;
    [
        vec![instruction(0x85, 0, 0, GET_CURRENT_UID_GID)],
        answer(1).to_vec(),
    ]
    .concat()
}

fn devices() -> Devices {
    Devices::new().node(NODE, 0, Access::ReadWrite)
}

fn group_of(pid: i32) -> File {
    let groups = of_process(pid).expect("its groups");
    let v2 = groups.iter().find(|group| group.is_v2()).expect("a v2 group");
    File::open(
        Mounts::read()
            .expect("mountinfo")
            .directory(v2)
            .expect("v2 is mounted"),
    )
    .expect("the group")
}

fn attach(group: &File, program: &[Instruction], flags: u32) -> OwnedFd {
    let program = bpf::load(program).expect("a program that the kernel takes");
    bpf::attach(group.as_fd(), &program, flags, 0).expect("attaching it");
    program
}

#[test]
fn every_attached_program_is_replaced() {
    for runtime in [Runtime::Runc, Runtime::Crun] {
        let devices = devices();
        let (edits, major) = (devices.edits(), devices.major);
        let bundle = Bundle::new().script(&Probe::new().writes(NODE).writes("/dev/null").script());
        let story = at_create_runtime(&Engine::new(runtime, View::V2), bundle, |container| {
            let group = group_of(container.pid());
            attach(&group, &denies_major(major), ALLOW_MULTI);
            let before = bpf::attached(group.as_fd()).expect("a query").ids;
            inject::into(container, &edits)?;
            let after = bpf::attached(group.as_fd()).expect("a query").ids;
            assert_eq!((before.len(), after.len()), (2, 2), "{runtime}");
            assert!(
                before.iter().all(|id| !after.contains(id)),
                "{runtime}: {before:?} {after:?}"
            );
            Ok(())
        });
        let seen = Seen::read(&story.ok());
        assert_eq!(seen.writes(NODE), Answer::NoDriver, "{runtime}");
        assert_eq!(seen.writes("/dev/null"), Answer::Done, "{runtime}");
    }
}

#[test]
fn a_program_that_calls_the_kernel_is_refused_and_all_stay() {
    for runtime in [Runtime::Runc, Runtime::Crun] {
        let edits = devices().edits();
        let story = at_create_runtime(&Engine::new(runtime, View::V2), Bundle::new(), |container| {
            let group = group_of(container.pid());
            attach(&group, &with_a_call(), ALLOW_MULTI);
            let before = bpf::attached(group.as_fd()).expect("a query").ids;
            let done = inject::into(container, &edits);
            assert_eq!(
                bpf::attached(group.as_fd()).expect("a query").ids,
                before,
                "{runtime}"
            );
            done
        });
        let why = story.refused();
        assert!(
            why.contains("can't be changed safely") && why.contains("a call"),
            "{runtime}: {why}"
        );
    }
}

/// Rules that only a group above the container's has are not the container's to change.
#[test]
fn rules_of_a_group_above_are_not_changed() {
    let edits = devices().edits();
    inside(View::V2, || {
        let parent = OwnGroup::new();
        let below = parent.directory.join("below");
        std::fs::create_dir(&below).expect("a group");
        let _program = attach(&parent.handle(), &answer(1), ALLOW_MULTI);
        let mut process = Command::new("unshare");
        process
            .args(["--mount", "--propagation", "private", "cat"])
            .stdin(Stdio::piped());
        let mut process = process.spawn().expect("unshare");
        let pid = process.id() as i32;
        std::fs::write(below.join("cgroup.procs"), pid.to_string()).expect("its group");
        until("its namespace", || {
            let link = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/mnt")).expect("a link");
            link(&pid.to_string()) != link("thread-self")
        });
        let image = rootfs::own();
        let container = LiveContainer::open(pid, image.path().to_owned(), false).expect("a container");
        let why = inject::into(&container, &edits).unwrap_err().to_string();
        drop(process.stdin.take());
        process.wait().expect("its status");
        assert!(why.contains("only groups above it have device rules"), "{why}");
        std::fs::remove_dir(&below).expect("an empty group");
    });
}

/// A group of a test's own on v2.
struct OwnGroup {
    directory: PathBuf,
}

impl OwnGroup {
    fn new() -> Self {
        let group = CgroupPath {
            controllers: String::new(),
            path: format!("/{}-{}", scratch::name(), scratch::number()),
        };
        let directory = Mounts::read()
            .expect("mountinfo")
            .directory(&group)
            .expect("v2 is mounted");
        std::fs::create_dir(&directory).expect("a group");
        Self { directory }
    }

    fn handle(&self) -> File {
        File::open(&self.directory).expect("the group")
    }

    fn ids(&self) -> Vec<u32> {
        bpf::attached(self.handle().as_fd()).expect("a query").ids
    }
}

impl Drop for OwnGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(self.directory.join("below"));
        let _ = std::fs::remove_dir(&self.directory);
    }
}

#[test]
fn a_group_that_takes_one_program_only_keeps_its_mode() {
    const ALLOW_OVERRIDE: u32 = 1;
    for flags in [0, ALLOW_OVERRIDE] {
        inside(View::V2, || {
            let group = OwnGroup::new();
            attach(&group.handle(), &answer(0), flags);
            let before = group.ids();
            let open = Group::open(&group.directory).expect("a query").expect("programs");
            open.allow(&devices().edits().nodes).expect("the change");
            let after = bpf::attached(group.handle().as_fd()).expect("a query");
            assert_eq!((before.len(), after.ids.len(), after.flags), (1, 1, flags));
            assert_ne!(before, after.ids);
        });
    }
}

/// The second of three programs vanishes while they are replaced: the first is put back.
#[test]
fn a_failure_half_way_puts_back_what_was_replaced() {
    inside(View::V2, || {
        let group = OwnGroup::new();
        let handle = group.handle();
        let [_first, second, _third] = [0, 0, 0].map(|value| attach(&handle, &answer(value), ALLOW_MULTI));
        let open = Group::open(&group.directory).expect("a query").expect("programs");
        let other = bpf::load(&answer(1)).expect("a program");
        bpf::replace(handle.as_fd(), &second, &other, ALLOW_MULTI).expect("replacing it");
        let before = group.ids();
        let why = open.allow(&devices().edits().nodes).unwrap_err().to_string();
        assert!(why.contains("bpf(PROG_ATTACH)"), "{why}");
        assert_eq!(group.ids(), before);
    });
}
