//! What the ground carries without our hook: plain containers on every runtime and view that the other stories use.
//! When these fail, the machine or the test's own tools are at fault, not the product.
//!
//! Found with Debian 12's runc 1.1.5, crun 1.8.1 and Podman 4.3.1, on a hybrid machine whose root has no
//! CAP_SYS_RESOURCE:
//! - runc works in all three views, crun in v1 and v2; on v2 crun must be made to believe that it raised a limit
//!   (`support/rlimit.rs`).
//! - In a user namespace mknod of a device fails whatever the capabilities, and a node on a mount made there does not
//!   open (EACCES); a node bind-mounted from the host opens as the device rules say.

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::podman::{IMAGE, Podman};
use crate::support::probe::{Answer, Probe, Seen};
use crate::support::process::{is_alive, run, until};
use crate::support::rootfs::SLEEP;
use crate::support::runtime::{Engine, Runtime, everywhere};
use crate::support::scratch::Scratch;

/// A character major that no driver of this machine has, so that opening answers with what the device rules say.
fn free_major() -> u32 {
    let devices = std::fs::read_to_string("/proc/devices").expect("/proc/devices");
    let taken: Vec<u32> = devices
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    (240..255)
        .find(|major| !taken.contains(major))
        .expect("a free major of the experimental range")
}

/// A folder with the nodes `allowed` and `foreign`.
fn nodes(major: u32) -> Scratch {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let folder = Scratch::new("nodes");
    for (name, minor) in [("allowed", 1), ("foreign", 2)] {
        let path = folder.join(name);
        mknodat(
            CWD,
            &path,
            FileType::CharacterDevice,
            Mode::from(0o666),
            makedev(major, minor),
        )
        .expect("mknod");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("chmod");
    }
    folder
}

/// What an ordinary container must be able to do, and what it must not.
fn judge(seen: &Seen, uid: u32) {
    assert_eq!(seen.uid(), uid);
    assert_eq!(seen.visible_devices(), None);
    assert_eq!(seen.writes("/dev/allowed"), Answer::NoDriver, "{seen:?}");
}

#[test]
fn a_runtime_lets_a_container_open_its_device_and_no_other() {
    let major = free_major();
    for (runtime, view) in everywhere() {
        let probe = Probe::new().writes("/dev/allowed").makes("foreign", major, 2);
        let bundle = Bundle::new()
            .device("/dev/allowed", major, 1, "rw")
            .rule(major, 2, "m")
            .capability("CAP_MKNOD");
        let bundle = bundle.script(&probe.script()).write();
        let seen = Seen::read(&Engine::new(runtime, view).run(&bundle).ok().stdout);
        judge(&seen, 0);
        assert_eq!(
            seen.makes("foreign"),
            (Answer::Done, Answer::NotPermitted),
            "{runtime} {view}: {seen:?}"
        );
    }
}

#[test]
fn a_process_that_is_not_root_may_do_the_same() {
    let major = free_major();
    for (runtime, view) in everywhere() {
        let probe = Probe::new().writes("/dev/allowed").makes("foreign", major, 2);
        let bundle = Bundle::new()
            .device("/dev/allowed", major, 1, "rw")
            .rule(major, 2, "m");
        let bundle = bundle
            .user(1000)
            .capability("CAP_MKNOD")
            .script(&probe.script())
            .write();
        let seen = Seen::read(&Engine::new(runtime, view).run(&bundle).ok().stdout);
        judge(&seen, 1000);
        assert_eq!(
            seen.makes("foreign"),
            (Answer::Done, Answer::NotPermitted),
            "{runtime} {view}: {seen:?}"
        );
    }
}

#[test]
fn in_a_user_namespace_nodes_are_bind_mounts_and_mknod_fails() {
    let major = free_major();
    let folder = nodes(major);
    for (runtime, view) in everywhere() {
        let probe = Probe::new()
            .writes("/dev/allowed")
            .reads("/dev/foreign")
            .makes("own", major, 1);
        let bundle = Bundle::new()
            .user_namespace()
            .capability("CAP_MKNOD")
            .rule(major, 1, "rwm");
        let bundle = bundle
            .bind(&folder.join("allowed"), "/dev/allowed")
            .bind(&folder.join("foreign"), "/dev/foreign");
        let bundle = bundle.script(&probe.script()).write();
        let seen = Seen::read(&Engine::new(runtime, view).run(&bundle).ok().stdout);
        judge(&seen, 0);
        assert_eq!(
            seen.reads("/dev/foreign"),
            Answer::NotPermitted,
            "{runtime} {view}: {seen:?}"
        );
        assert_eq!(
            seen.makes("own").0,
            Answer::NotPermitted,
            "{runtime} {view}: {seen:?}"
        );
    }
}

#[test]
fn a_container_goes_through_create_start_kill_and_delete() {
    for (runtime, view) in everywhere() {
        let engine = Engine::new(runtime, view);
        let bundle = Bundle::new().script(&format!("echo began; {SLEEP}")).write();
        let mut container = engine.container(&bundle);
        container.create().ok();
        assert_eq!(container.status(), "created");
        assert!(
            !container.groups().is_empty(),
            "{runtime} {view}: no control group of its own"
        );
        container.start().ok();
        until("the container's first words", || container.stdout() == "began\n");
        assert_eq!(container.exec(&["echo", "here"]).ok().stdout, "here\n");
        container.kill("TERM").ok();
        container.await_status("stopped");
        container.delete(false).ok();
        assert_eq!(container.status(), "gone");
    }
}

#[test]
fn a_hook_gets_the_state_with_the_annotations_and_its_failure_fails_the_container() {
    for (runtime, view) in everywhere() {
        let folder = Scratch::new("hook");
        let hook = folder.program(
            "hook",
            "#!/bin/sh\ncat >\"$1\"\n[ -z \"$2\" ] || { echo hook says no >&2; exit 7; }\n",
        );
        let state = folder.join("state.json");
        let argv = [state.to_str().expect("a path of ours")];
        let bundle = Bundle::new()
            .annotation("mig.profile", "1g.10gb")
            .hook("createRuntime", &hook, &argv)
            .write();
        Engine::new(runtime, view).run(&bundle).ok();
        let said: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&state).expect("the hook ran")).expect("a state in JSON");
        assert_eq!(
            said["annotations"]["mig.profile"], "1g.10gb",
            "{runtime} {view}: {said}"
        );
        assert_eq!(said["id"], bundle.id(), "{runtime} {view}: {said}");

        let bundle = Bundle::new()
            .hook("createRuntime", &hook, &[argv[0], "fail"])
            .write();
        let outcome = Engine::new(runtime, view).run(&bundle).failed();
        // crun keeps the hook's words to itself.
        assert_eq!(
            outcome.text().contains("hook says no"),
            runtime == Runtime::Runc,
            "{outcome}"
        );
    }
}

#[test]
fn a_dropped_container_leaves_nothing_behind() {
    for (runtime, view) in everywhere() {
        let engine = Engine::new(runtime, view);
        let bundle = Bundle::new().script("sleep 1000").write();
        let mut container = engine.container(&bundle);
        container.create().ok();
        let pid = container.pid();
        drop(container);
        let groups = engine.container(&bundle).groups();
        assert_eq!(groups, Vec::<std::path::PathBuf>::new(), "{runtime} {view}");
        assert!(!is_alive(pid), "{runtime} {view}");
    }
}

/// Podman with `--device` of a host node below /dev would need one there; a bind mount and a rule say the same.
fn podman_story(runtime: Runtime, view: View) {
    let major = free_major();
    let folder = nodes(major);
    let podman = Podman::new(runtime, view, &[]);
    let device = format!("{}:/dev/allowed:rw", folder.join("allowed").display());
    let probe = Probe::new()
        .writes("/dev/allowed")
        .makes("foreign", major, 2)
        .script();
    let rule = format!("--device-cgroup-rule=c {major}:2 m");

    let options = ["--device", &device, "--cap-add=MKNOD", &rule];
    let seen = Seen::read(&podman.run(&options, &probe).ok().stdout);
    judge(&seen, 0);
    assert_eq!(
        seen.makes("foreign"),
        (Answer::Done, Answer::NotPermitted),
        "{runtime} {view}: {seen:?}"
    );

    let seen = Seen::read(
        &podman
            .run(&["--device", &device, "--user=1000"], &probe)
            .ok()
            .stdout,
    );
    judge(&seen, 1000);
    assert_eq!(
        seen.makes("foreign").0,
        Answer::NotPermitted,
        "{runtime} {view}: {seen:?}"
    );
}

/// In a user namespace Podman 4.3 leaves every device rule out, the caller's own too: runc then allows only the usual
/// null and zero, crun all that its own group may have; Podman 5.4 keeps them. What keeps other devices away in any
/// case is that no node can be made. So whoever gives such a container a device gives it bind mount and rules.
fn podman_user_namespace_story(runtime: Runtime, view: View) {
    let major = free_major();
    let folder = nodes(major);
    let podman = Podman::new(runtime, view, &[]);
    let [uids, gids] = Podman::user_namespace();
    let mount = format!("--volume={}:/dev/allowed", folder.join("allowed").display());
    let rule = format!("--device-cgroup-rule=c {major}:1 rwm");
    let probe = Probe::new()
        .writes("/dev/allowed")
        .makes("own", major, 1)
        .script();
    let options = [&uids, &gids, &mount, &rule, "--cap-add=MKNOD"];
    let seen = Seen::read(&podman.run(&options, &probe).ok().stdout);
    let opened = [Answer::NoDriver, Answer::NotPermitted];
    assert!(
        opened.contains(&seen.writes("/dev/allowed")),
        "{runtime} {view}: {seen:?}"
    );
    assert_eq!(
        seen.makes("own").0,
        Answer::NotPermitted,
        "{runtime} {view}: {seen:?}"
    );
}

/// Through the API, a container that runs and one that can't be created; the service outlives both.
fn podman_service_story(runtime: Runtime, view: View) {
    let podman = Podman::new(runtime, view, &[]);
    let mut service = podman.service();
    let container = |program: &str| {
        let mut command = service.command("run");
        command.args(["--rm", "--network=none", "--pids-limit=0", "--cgroup-parent"]);
        command
            .arg(format!("/{}", crate::support::scratch::name()))
            .args([IMAGE, program]);
        run(&mut command)
    };
    container("true").ok();
    container("no-such-program").failed();
    assert!(service.process.is_running());
}

#[test]
fn podman_with_runc() {
    for view in Runtime::Runc.views() {
        podman_story(Runtime::Runc, view);
        podman_user_namespace_story(Runtime::Runc, view);
        podman_service_story(Runtime::Runc, view);
    }
}

#[test]
fn podman_with_crun() {
    for view in Runtime::Crun.views() {
        podman_story(Runtime::Crun, view);
        podman_user_namespace_story(Runtime::Crun, view);
        podman_service_story(Runtime::Crun, view);
    }
}
