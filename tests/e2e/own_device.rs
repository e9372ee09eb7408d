//! A container that asks has its own MIG device, all of it and no other: on every runtime, on cgroup v1 and v2, as
//! root and as another user, with a user namespace and without.

use std::os::unix::fs::symlink;

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::machine::Machine;
use crate::support::podman::Podman;
use crate::support::probe::Seen;
use crate::support::rootfs;
use crate::support::runtime::{Engine, Runtime, everywhere};
use crate::support::scratch::Scratch;

const PROFILE: &str = "2g.20gb";

/// How a container gets its device: by hooks in config.json, or by oci-mig-runtime.
#[derive(Clone, Copy, Debug)]
enum Door {
    Hooks,
    Interposed,
}

impl Door {
    fn bundle(self, machine: &Machine) -> Bundle {
        let bundle = match self {
            Door::Hooks => machine.bundle(),
            // An image or a user may have set the variable: ours replaces it.
            Door::Interposed => Bundle::new().env("NVIDIA_VISIBLE_DEVICES", "all"),
        };
        bundle.annotation("mig.profile", PROFILE).makes_nodes()
    }

    fn engine(self, machine: &Machine, runtime: Runtime, view: View) -> Engine {
        let engine = Engine::new(runtime, view);
        match self {
            Door::Hooks => engine,
            Door::Interposed => engine.interposed(machine),
        }
    }
}

/// Nodes and rules reach the container either way; the variable can't by hooks.
fn story(what: &str, can_make: bool, change: impl Fn(Bundle) -> Bundle) {
    for (runtime, view) in everywhere() {
        for door in [Door::Hooks, Door::Interposed] {
            let machine = Machine::named("one-gpu");
            let who = format!("{runtime} {view} {door:?} {what}");
            let own = machine.device(PROFILE);
            let script = machine.probe(&own).script();
            let bundle = change(door.bundle(&machine)).script(&script).write();
            let engine = door.engine(&machine, runtime, view);
            // Twice: the second time config.json has what edits the first made.
            for _ in 0..2 {
                let seen = Seen::read(&engine.run(&bundle).ok().stdout);
                machine.assert_isolated(&seen, &own, can_make, &who);
                if let Door::Interposed = door {
                    assert_eq!(seen.visible_devices(), Some(own.uuid.as_str()), "{who}");
                }
                machine.assert_free(&who);
            }
        }
    }
}

#[test]
fn a_root_process() {
    story("root", true, |bundle| bundle);
}

#[test]
fn a_process_that_is_not_root() {
    story("uid 1000", true, |bundle| {
        bundle.user(1000).capability("CAP_MKNOD")
    });
}

#[test]
fn a_user_namespace() {
    story("user namespace", false, Bundle::user_namespace);
}

#[test]
fn a_process_that_is_not_root_in_a_user_namespace() {
    story("uid 1000 in a user namespace", false, |bundle| {
        bundle.user_namespace().user(1000).capability("CAP_MKNOD")
    });
}

/// Podman's precreate: the variable too.
fn podman_story(runtime: Runtime, view: View) {
    let machine = Machine::named("one-gpu");
    let podman = machine.podman(runtime, view, &[]);
    let own = machine.device(PROFILE);
    let probe = machine.probe(&own).script();
    let [uids, gids] = Podman::user_namespace();
    let cases: [(&str, bool, &[&str]); 4] = [
        ("root", true, &["--cap-add=MKNOD"]),
        ("uid 1000", true, &["--cap-add=MKNOD", "--user=1000"]),
        ("user namespace", false, &["--cap-add=MKNOD", &uids, &gids]),
        (
            "uid 1000 in a user namespace",
            false,
            &["--cap-add=MKNOD", &uids, &gids, "--user=1000"],
        ),
    ];
    for (what, can_make, options) in cases {
        let who = format!("podman {runtime} {view} {what}");
        // An image or a user may have set the variable: ours replaces it.
        let asks: &[&str] = &[
            "--annotation=mig.profile=2g.20gb",
            "--env=NVIDIA_VISIBLE_DEVICES=all",
        ];
        let options = [asks, options].concat();
        let seen = Seen::read(&podman.run(&options, &probe).ok().stdout);
        machine.assert_isolated(&seen, &own, can_make, &who);
        assert_eq!(seen.visible_devices(), Some(own.uuid.as_str()), "{who}");
        machine.assert_free(&who);
    }
}

#[test]
fn podman_with_runc() {
    Runtime::Runc
        .views()
        .into_iter()
        .for_each(|view| podman_story(Runtime::Runc, view));
}

#[test]
fn podman_with_crun() {
    Runtime::Crun
        .views()
        .into_iter()
        .for_each(|view| podman_story(Runtime::Crun, view));
}

/// A root filesystem that means harm: where our nodes go it has a link out of the container, a link to a folder
/// outside, a file, and a node of another device. The container gets its nodes all the same, and nothing outside is
/// touched.
#[test]
fn a_hostile_root_filesystem() {
    for (runtime, view) in everywhere() {
        let machine = Machine::named("one-gpu");
        let who = format!("{runtime} {view}");
        let own = machine.device(PROFILE);
        let outside = Scratch::new("outside");
        let precious = outside.file("precious", "as it was");
        let root = rootfs::own();
        let dev = root.join("dev");
        let up = "../".repeat(12);
        symlink(format!("{up}{}", precious.display()), dev.join("nvidia-uvm")).expect("a link");
        symlink(outside.path(), dev.join("nvidia-caps")).expect("a link");
        std::fs::write(dev.join("nvidiactl"), "a file").expect("a file");
        rootfs::make_node(&dev.join("nvidia0"), 1, 3);
        let bundle = Door::Hooks
            .bundle(&machine)
            .rootfs(root.path())
            .script(&machine.probe(&own).script());
        let bundle = bundle.with(|config| {
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|mount| mount["destination"] != "/dev");
        });
        let seen = Seen::read(&Engine::new(runtime, view).run(&bundle.write()).ok().stdout);
        machine.assert_isolated(&seen, &own, true, &who);
        assert_eq!(
            std::fs::read_to_string(&precious).expect("the file outside"),
            "as it was",
            "{who}"
        );
        assert_eq!(
            std::fs::read_dir(outside.path())
                .expect("the folder outside")
                .count(),
            1,
            "{who}"
        );
        machine.assert_free(&who);
    }
}
