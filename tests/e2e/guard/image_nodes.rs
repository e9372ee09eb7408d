//! Nodes that an image brings in its layers, and what a link leads to: nothing but device rules stands in their way, and
//! Podman writes none for a container with a user namespace. crun then opens everything, unless somebody says otherwise.

use std::os::unix::fs::symlink;

use super::podman::Place;
use super::{REACHES, with_each_runtime};
use crate::support::podman::Podman;
use crate::support::probe::{Answer, Probe, Seen};
use crate::support::rootfs;
use crate::support::scratch::Scratch;

const IMAGE: &str = "localhost/nodes";

/// An image with a GPU's node and that of the right to configure every GPU.
fn import(place: &Place) {
    let (root, folder) = (rootfs::own(), Scratch::new("nodes"));
    for (name, module, minor) in [("gpu", "nvidia", 0), ("config", "nvidia-caps", 1)] {
        rootfs::make_node(
            &root.join(name),
            place.machine.major(module).expect("a major"),
            minor,
        );
    }
    let archive = rootfs::pack(root.path(), &folder);
    place
        .podman
        .call(&[
            "import",
            "--quiet",
            archive.to_str().expect("a path of ours"),
            IMAGE,
        ])
        .ok();
}

fn look(place: &Place, options: &[&str]) -> Seen {
    let probe = Probe::new()
        .reads("/gpu")
        .reads("/config")
        .reads("/dev/null")
        .reads("/linked/nvidiactl");
    let outcome = place.podman.run_image(IMAGE, options, &probe.script());
    Seen::read(&outcome.ok().stdout)
}

#[test]
fn of_a_container_in_a_user_namespace_that_did_not_ask() {
    for mode in ["refuse", "strip"] {
        with_each_runtime(|runtime, view| {
            let place = Place::with(mode, runtime, view, false);
            import(&place);
            let (folder, [uids, gids]) = (Scratch::new("link"), Podman::user_namespace());
            let link = folder.join("dev");
            symlink(place.machine.dev(), &link).expect("a link of ours");
            let volume = format!("--volume={}:/linked:dev", link.display());
            let seen = look(&place, &[&uids, &gids, &volume]);
            let answers = ["/gpu", "/config", "/linked/nvidiactl"].map(|path| seen.reads(path));
            assert_eq!(
                answers,
                [const { Answer::NotPermitted }; 3],
                "{runtime} {view} {mode}: {seen:?}"
            );
            assert_eq!(seen.reads("/dev/null"), Answer::Done, "{runtime} {view} {mode}");
        });
    }
}

#[test]
fn of_a_container_in_a_user_namespace_that_asked() {
    with_each_runtime(|runtime, view| {
        let place = Place::with("off", runtime, view, false);
        import(&place);
        let own = place.machine.device("1g.10gb");
        let [uids, gids] = Podman::user_namespace();
        // A node whose driver no machine has, given to it like any other device.
        let folder = Scratch::new("other");
        rootfs::make_node(&folder.join("node"), 240, 7);
        let other = format!("--volume={}:/dev/other:dev", folder.join("node").display());
        let options = [&uids, &gids, "--annotation=mig.profile=1g.10gb", &other];
        let seen = look(&place, &options);
        let who = format!("{runtime} {view}: {seen:?}");
        let answers = (seen.reads("/config"), seen.reads("/dev/null"));
        assert_eq!(answers, (Answer::NotPermitted, Answer::Done), "{who}");
        let outcome = place
            .podman
            .run(&options, &place.machine.probe(&own).reads("/dev/other").script());
        let seen = Seen::read(&outcome.ok().stdout);
        place.machine.assert_isolated(&seen, &own, false, &who);
        assert_eq!(
            seen.reads("/dev/other"),
            Answer::NoDriver,
            "its own other device: {who}"
        );
        place.machine.assert_free(&who);
    });
}

/// crun on cgroup v2 cuts numbers down to 32 bits: 4294967296 and a major is that major.
#[test]
fn by_a_rule_whose_number_can_not_be() {
    with_each_runtime(|runtime, view| {
        let place = Place::with("refuse", runtime, view, false);
        import(&place);
        let major = 4_294_967_296 + u64::from(place.machine.major("nvidia-caps").expect("a major"));
        let rule = format!("--device-cgroup-rule=c {major}:* rwm");
        let said = place.podman.run_image(IMAGE, &[&rule], "true").failed().stderr;
        assert!(said.contains(REACHES), "{runtime} {view}: {said}");
        let asks = [&rule, "--annotation=mig.profile=1g.10gb"];
        let said = place.podman.run_image(IMAGE, &asks, "true").failed().stderr;
        assert!(
            said.contains("this container can't be isolated"),
            "{runtime} {view}: {said}"
        );
        place.machine.assert_free("afterwards");
    });
}

#[test]
fn of_a_container_without_a_cgroup() {
    with_each_runtime(|runtime, view| {
        for mode in ["refuse", "strip"] {
            let place = Place::with(mode, runtime, view, false);
            import(&place);
            let mut command = place.podman.command("run");
            command.args([
                "--rm",
                "--network=none",
                "--pids-limit=0",
                "--cgroups=disabled",
                IMAGE,
                "true",
            ]);
            let said = crate::support::process::run(&mut command).failed().stderr;
            let line = format!(
                "{REACHES}: it has no cgroup (--cgroups=disabled?), and so no device rule that holds"
            );
            // Podman itself refuses it over a runtime that it doesn't know for this.
            let is_podmans = said.contains("NoCgroups");
            assert!(
                said.contains(&line) || is_podmans,
                "{runtime} {view} {mode}: {said}"
            );
        }
    });
}
