//! Images that want more than their own files: whatever stands in the way of a node, nothing outside the root
//! filesystem is made, changed or removed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use oci_mig_hook::mig::Access;
use serde_json::json;

use crate::live::{Devices, inject, listing};
use crate::support::bundle::{Bundle, FIRST_ID};
use crate::support::probe::{Answer, Probe, Seen};
use crate::support::process::run;
use crate::support::rootfs;
use crate::support::runtime::{Engine, Runtime, everywhere};
use crate::support::scratch::Scratch;

const CAP: &str = "/dev/nvidia-caps/nvidia-cap12";

/// Files of the host that no container may reach.
fn victim() -> Scratch {
    let folder = Scratch::new("victim");
    folder.file("nvidia-cap12", "a file of the host");
    folder.file("secret", "another");
    folder
}

/// A container whose /dev is the image's own folder: what is planted there is what the injection meets.
fn without_dev(image: &Scratch) -> Bundle {
    Bundle::new().rootfs(image.path()).with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| {
            !mount["destination"]
                .as_str()
                .is_some_and(|path| path.starts_with("/dev"))
        });
    })
}

/// As an engine unpacks an image for a user namespace.
fn belongs_to_the_containers_root(image: &Scratch) {
    let owner = format!("{FIRST_ID}:{FIRST_ID}");
    run(Command::new("chown").args(["-hR", &owner]).arg(image.path())).ok();
}

/// An image whose /dev holds everything but device nodes, where nodes belong.
fn planted(victim: &Path) -> Scratch {
    let image = rootfs::own();
    let dev = |name: &str| image.join("dev").join(name);
    symlink(victim.join("secret"), dev("nvidia0")).expect("a link");
    nix::unistd::mkfifo(&dev("nvidia1"), nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    fs::write(dev("nvidia2"), "a file").expect("a file");
    fs::create_dir(dev("nvidia3")).expect("a folder");
    symlink("nowhere", dev("nvidia4")).expect("a link");
    symlink("nvidia4", dev("nvidia5")).expect("a link");
    let up = "../".repeat(20);
    symlink(format!("{up}{}", victim.display()), dev("nvidia-caps")).expect("a link");
    image
}

fn all_planted() -> Devices {
    let one = |devices: Devices, at: u32| devices.node(&format!("/dev/nvidia{at}"), at, Access::ReadWrite);
    (0..6).fold(Devices::new(), one).node(CAP, 12, Access::Read)
}

fn probe_all() -> String {
    let one = |probe: Probe, at: u32| probe.writes(&format!("/dev/nvidia{at}"));
    (0..6).fold(Probe::new(), one).reads(CAP).script()
}

fn assert_all_open(said: &str, who: &str) {
    let seen = Seen::read(said);
    for at in 0..6 {
        assert_eq!(
            seen.writes(&format!("/dev/nvidia{at}")),
            Answer::NoDriver,
            "{who} {at}"
        );
    }
    assert_eq!(seen.reads(CAP), Answer::NoDriver, "{who}");
}

#[test]
fn whatever_is_planted_gives_way_and_leads_nowhere() {
    for (runtime, view) in everywhere() {
        let (who, victim) = (format!("{runtime} {view}"), victim());
        let (image, before) = (planted(victim.path()), listing(victim.path()));
        let bundle = without_dev(&image).script(&probe_all());
        assert_all_open(
            &inject(&Engine::new(runtime, view), bundle, &all_planted()).ok(),
            &who,
        );
        assert_eq!(listing(victim.path()), before, "{who}");
    }
}

#[test]
fn nor_does_it_with_a_user_namespace() {
    for (runtime, view) in everywhere() {
        let (who, victim) = (format!("{runtime} {view}"), victim());
        let (image, before) = (planted(victim.path()), listing(victim.path()));
        belongs_to_the_containers_root(&image);
        let bundle = without_dev(&image).user_namespace().script(&probe_all());
        assert_all_open(
            &inject(&Engine::new(runtime, view), bundle, &all_planted()).ok(),
            &who,
        );
        assert_eq!(listing(victim.path()), before, "{who}");
    }
}

/// Inside the root filesystem a link may lead to a folder of the host all the same: a volume.
#[test]
fn a_link_into_a_volume_is_refused() {
    for (runtime, view) in everywhere() {
        for user_namespace in [false, true] {
            let (who, victim, image) = (
                format!("{runtime} {view} {user_namespace}"),
                victim(),
                rootfs::own(),
            );
            symlink("/data", image.join("dev/nvidia-caps")).expect("a link");
            fs::create_dir(image.join("data")).expect("a folder");
            let before = listing(victim.path());
            belongs_to_the_containers_root(&image);
            let bundle = without_dev(&image).bind(victim.path(), "/data");
            let bundle = if user_namespace {
                bundle.user_namespace()
            } else {
                bundle
            };
            let devices = Devices::new().node(CAP, 12, Access::Read);
            let why = inject(&Engine::new(runtime, view), bundle, &devices).refused();
            assert!(
                why.contains("/dev/nvidia-caps is a directory of the host"),
                "{who}: {why}"
            );
            assert_eq!(listing(victim.path()), before, "{who}");
        }
    }
}

#[test]
fn a_folder_of_the_host_over_dev_is_left_alone() {
    for (runtime, view) in everywhere() {
        let (who, folder) = (format!("{runtime} {view}"), Scratch::new("dev"));
        let image = rootfs::own();
        let bundle = without_dev(&image).bind(folder.path(), "/dev");
        let why = inject(&Engine::new(runtime, view), bundle, &all_planted()).refused();
        assert!(why.contains("/dev is a directory of the host"), "{who}: {why}");
        assert!(!listing(folder.path()).contains("nvidia"), "{who}");
    }
}

#[test]
fn a_dev_that_is_a_link_is_followed_inside_only() {
    for (runtime, view) in everywhere() {
        let (who, image, victim) = (format!("{runtime} {view}"), rootfs::own(), victim());
        fs::remove_dir(image.join("dev")).expect("its own folder");
        symlink(
            format!("../../../..{}", victim.path().display()),
            image.join("dev"),
        )
        .expect("a link");
        let inside = image
            .path()
            .join(victim.path().strip_prefix("/").expect("an absolute path"));
        fs::create_dir_all(&inside).expect("a folder of the image");
        let bundle = without_dev(&image).script(&Probe::new().reads("/dev/nvidia0").script());
        let devices = Devices::new().node("/dev/nvidia0", 0, Access::Read);
        let story = inject(&Engine::new(runtime, view), bundle, &devices);
        story.injected.expect("injecting");
        assert!(inside.join("nvidia0").exists(), "{who}");
        // The runtimes are less careful: runc 1.1 makes its own links, /dev/stdin and the like, outside, and crun
        // then fails the container.
        assert!(!victim.join("nvidia0").exists(), "{who}");
        if runtime == Runtime::Runc {
            let seen = Seen::read(&story.outcome.ok().stdout);
            assert_eq!(seen.reads("/dev/nvidia0"), Answer::NoDriver, "{who}");
        }
    }
}

#[test]
fn what_is_in_the_way_and_not_ours_to_remove_is_named() {
    for (runtime, view) in everywhere() {
        let (who, image) = (format!("{runtime} {view}"), rootfs::own());
        fs::create_dir_all(image.join("dev/nvidia0/full")).expect("a folder");
        let devices = Devices::new().node("/dev/nvidia0", 0, Access::Read);
        let why = inject(&Engine::new(runtime, view), without_dev(&image), &devices).refused();
        assert!(
            why.contains("can't put /dev/nvidia0") && why.contains("unlinkat"),
            "{who}: {why}"
        );
        assert!(why.contains("not empty"), "{who}: {why}");

        let folder = Scratch::new("file");
        let file = folder.file("mounted", "of the host");
        let bundle = Bundle::new().bind(&file, "/dev/nvidia0");
        let why = inject(&Engine::new(runtime, view), bundle, &devices).refused();
        assert!(why.contains("something else is mounted there"), "{who}: {why}");
        assert_eq!(fs::read_to_string(&file).expect("a file"), "of the host", "{who}");
    }
}

/// Runtimes make a root filesystem or a mount read-only after their hooks: both are every well-kept container's.
#[test]
fn what_becomes_read_only_later_takes_its_nodes_now() {
    for (runtime, view) in everywhere() {
        let (who, image) = (format!("{runtime} {view}"), rootfs::own());
        let devices = Devices::new()
            .node("/dev/nvidia0", 0, Access::ReadWrite)
            .node(CAP, 12, Access::Read);
        let read_only = json!({
            "destination": "/dev/nvidia-caps", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "mode=755"],
        });
        let probe = Probe::new().writes("/dev/nvidia0").reads(CAP).makes("x", 1, 3);
        let bundle = without_dev(&image)
            .script(&format!("{}\n: > /new", probe.script()))
            .with(|config| {
                config["mounts"].as_array_mut().expect("mounts").push(read_only);
                config["root"]["readonly"] = json!(true);
            });
        let story = inject(&Engine::new(runtime, view), bundle, &devices);
        story.injected.expect("injecting");
        assert!(
            story.outcome.stderr.contains("Read-only file system"),
            "{who}: {}",
            story.outcome
        );
        let seen = Seen::read(&story.outcome.stdout);
        assert_eq!(
            [seen.writes("/dev/nvidia0"), seen.reads(CAP)],
            [Answer::NoDriver, Answer::NoDriver],
            "{who}"
        );
    }
}
