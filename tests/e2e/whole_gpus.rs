//! Whole GPUs (`mig.profile=gpu`), on a node that has MIG devices too: a container has its own and no other, whichever
//! engine makes it, and it comes back.

mod choice;
mod switched;

use std::path::Path;

use serde_json::json;

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::docker;
use crate::support::driver_proc::{LIST, installer};
use crate::support::machine::{INTERPOSED, Machine};
use crate::support::probe::Seen;
use crate::support::process::{DEADLINE, run, until};
use crate::support::rootfs::SLEEP;
use crate::support::runtime::{Engine, Runtime, everywhere};
use crate::support::scratch::Scratch;

const ASK: (&str, &str) = ("mig.profile", "gpu");

/// The smaller of the two of `mixed` that are not in MIG mode, a T4: what goes first.
const FIRST: u32 = 6;

/// The other one, an H100.
const LARGER: u32 = 5;

#[test]
fn on_each_runtime() {
    for (runtime, view) in everywhere() {
        for interposed in [false, true] {
            let machine = Machine::named("mixed");
            let who = format!("{runtime} {view}, interposed: {interposed}");
            let own = machine.whole_gpu(FIRST);
            let bundle = match interposed {
                false => machine.bundle(),
                true => Bundle::new().env("NVIDIA_VISIBLE_DEVICES", "all"),
            };
            let bundle = bundle.annotation(ASK.0, ASK.1).makes_nodes();
            let bundle = bundle.script(&machine.probe_whole(&own).script()).write();
            let engine = Engine::new(runtime, view);
            let engine = match interposed {
                false => engine,
                true => engine.interposed(&machine),
            };
            // Twice: the second time config.json has what edits the first made.
            for _ in 0..2 {
                let seen = Seen::read(&engine.run(&bundle).ok().stdout);
                machine.assert_has_whole(&seen, &own, true, &who);
                if interposed {
                    assert_eq!(seen.visible_devices(), Some(own.uuid.as_str()), "{who}");
                }
                machine.assert_free(&who);
            }
        }
    }
}

#[test]
fn on_podman() {
    for (runtime, view) in everywhere() {
        let machine = Machine::named("mixed");
        let podman = machine.podman(runtime, view, &[]);
        let own = machine.whole_gpu(FIRST);
        let who = format!("podman {runtime} {view}");
        let options = [
            "--annotation=mig.profile=gpu",
            "--env=NVIDIA_VISIBLE_DEVICES=all",
            "--cap-add=MKNOD",
        ];
        let seen = Seen::read(
            &podman
                .run(&options, &machine.probe_whole(&own).script())
                .ok()
                .stdout,
        );
        machine.assert_has_whole(&seen, &own, true, &who);
        assert_eq!(seen.visible_devices(), Some(own.uuid.as_str()), "{who}");
        machine.assert_free(&who);
    }
}

#[test]
fn on_docker() {
    for (runtime, view) in docker::everywhere() {
        let machine = Machine::named("mixed");
        let docker = machine.docker(runtime, view);
        let own = machine.whole_gpu(FIRST);
        let who = format!("docker {runtime} {view}");
        let ask = docker.ask("profile", "gpu");
        let options = [
            ask.as_str(),
            "--env=NVIDIA_VISIBLE_DEVICES=all",
            "--cap-add=MKNOD",
        ];
        let seen = Seen::read(
            &docker
                .run(&options, &machine.probe_whole(&own).script())
                .ok()
                .stdout,
        );
        machine.assert_has_whole(&seen, &own, true, &who);
        assert_eq!(seen.visible_devices(), Some(own.uuid.as_str()), "{who}");
        machine.assert_free(&who);
    }
}

#[test]
fn on_containerd() {
    for (runtime, view) in everywhere() {
        let machine = Machine::named("mixed");
        let containerd = machine.containerd(runtime, view).start();
        let one = containerd.namespace("one", Path::new(INTERPOSED));
        let own = machine.whole_gpu(FIRST);
        let who = format!("containerd {runtime} {view}");
        let options = [
            "--annotation=mig.profile=gpu",
            "--env=NVIDIA_VISIBLE_DEVICES=all",
            "--cap-add=CAP_MKNOD",
        ];
        let seen = Seen::read(&one.run(&options, &machine.probe_whole(&own).script()).ok().stdout);
        machine.assert_has_whole(&seen, &own, true, &who);
        assert_eq!(seen.visible_devices(), Some(own.uuid.as_str()), "{who}");
        machine.assert_free(&who);
    }
}

/// Of /proc/driver/nvidia it sees its own GPU's entry, and no capability.
#[test]
fn others_are_not_in_its_proc() {
    let (machine, folder) = (Machine::named("mixed"), Scratch::new("hook"));
    let hook = installer(&machine, &folder);
    let bundle = machine.bundle().annotation(ASK.0, ASK.1).script(LIST);
    let bundle = bundle.with(|config| {
        let entry =
            json!({"path": hook, "args": ["install-driver"], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]});
        let hooks = config["hooks"]["createRuntime"].as_array_mut().expect("hooks");
        hooks.insert(0, entry);
    });
    let engine = Engine::new(Runtime::Runc, View::Host);
    let said = engine.run(&bundle.write()).ok().stdout;
    let pci = machine.status()["gpus"][5]["pci"]
        .as_str()
        .expect("a bus id")
        .to_owned();
    assert_eq!(
        said,
        format!("./gpus/{pci}/information\n./params\n./version\nModifyDeviceFiles: 0\n")
    );
    machine.assert_free("proc");
}

/// It is there when another ends, however that one ends.
#[test]
fn who_waits_gets_the_one_that_comes_free() {
    for (runtime, view) in everywhere() {
        let machine = Machine::named("mixed");
        let engine = Engine::new(runtime, view).interposed(&machine);
        let asks = || Bundle::new().annotation(ASK.0, ASK.1);
        let holds = asks().annotation("mig.count", "2").script(SLEEP).write();
        let mut holder = engine.container(&holds);
        holder.create().ok();
        assert_eq!(machine.taken().len(), 2, "both");
        let waits = asks()
            .annotation("mig.gpu", "*H100*")
            .annotation("mig.wait", "5m")
            .script("true")
            .write();
        let mut creates = engine.container(&waits).begin_create();
        until("the wait is told", || {
            creates
                .stderr()
                .contains(" waits: no free whole GPU that is *H100*: 1 of 1 held (gpu 5: ")
        });
        holder.kill("KILL").ok();
        creates.wait(DEADLINE).ok();
        engine.container(&waits).delete(true).ok();
        holder.delete(true).ok();
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

/// A container of a killed Podman gives its GPU back to the next who asks.
#[test]
fn it_comes_back_when_its_container_is_killed() {
    let machine = Machine::named("mixed");
    let podman = machine.podman(Runtime::Runc, View::Host, &[]);
    let options = ["--annotation=mig.profile=gpu", "--annotation=mig.count=2"];
    let holder = podman.sleeper(&options);
    let refused = podman.run(&options[..1], "true").failed();
    assert!(
        refused.text().contains("no free whole GPU: 2 of 2 held"),
        "{refused}"
    );
    podman.call(&["kill", &holder]).ok();
    podman.run(&options, "true").ok();
    podman.call(&["rm", "--force", &holder]).ok();
    machine.assert_free("killed");
}

/// `status` shows who has which, beside the MIG devices of the others.
#[test]
fn status_shows_it_and_its_holder() {
    let machine = Machine::named("mixed");
    let engine = Engine::new(Runtime::Runc, View::Host);
    let bundle = machine.bundle().annotation(ASK.0, ASK.1).script(SLEEP).write();
    let mut container = engine.container(&bundle);
    container.create().ok();
    let (own, other) = (machine.whole_gpu(FIRST), machine.whole_gpu(LARGER));
    let text = run(&mut machine.program("status")).ok().stdout;
    let short: String = container.id().chars().take(12).collect();
    let row = |index: &str| {
        let mut rows = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let found = rows.find(|words| words.first() == Some(&index));
        found.unwrap_or_else(|| panic!("no row of GPU {index}: {text}"))
    };
    assert_eq!(row("6")[..4], ["6", "gpu", &own.uuid, &short], "{text}");
    assert_eq!(row("5"), ["5", "gpu", &other.uuid, "-", "free"], "{text}");
    assert!(
        text.contains("left out: GPU 4: MIG mode is being switched on"),
        "{text}"
    );
    assert!(
        text.lines()
            .all(|line| line.starts_with("left out") || line.len() <= 80),
        "{text}"
    );
    let json = machine.status();
    let gpu = &json["gpus"][5];
    assert_eq!(
        (&gpu["index"], &gpu["mig"]),
        (&6.into(), &"unsupported".into()),
        "{json}"
    );
    let device = &gpu["devices"][0];
    assert_eq!(device["uuid"], own.uuid, "{json}");
    assert_eq!(
        (&device["profile"], &device["memory_mib"], &device["state"]),
        (&"gpu".into(), &15_360.into(), &"held".into())
    );
    assert!(
        device.get("gi").is_none() && device.get("ci").is_none(),
        "{device}"
    );
    container.delete(true).ok();
    machine.assert_free("status");
}

/// One that asked and brings another GPU's node, or a rule on it, is refused.
#[test]
fn another_gpus_node_beside_it_is_refused() {
    let machine = Machine::named("mixed");
    machine.stand_before("/usr/bin/true".as_ref());
    let major = machine.number("nvidia");
    for (bundle, what) in [
        (Bundle::new().device("/dev/nvidia5", major, 5, "rw"), "5"),
        (Bundle::new().rule(major, 0, "rw"), "0"),
        (
            Bundle::new().bind(&machine.dev().join("nvidia5"), "/gpu"),
            "nvidia5",
        ),
    ] {
        let bundle = bundle.annotation(ASK.0, ASK.1).write();
        let mut command = machine.interposed();
        let outcome = run(command.args(["create", "-b"]).arg(bundle.folder()).arg("c")).failed();
        let begins = "oci-mig-hook: this container can't be isolated: ";
        assert!(
            outcome.stderr.starts_with(begins) && outcome.stderr.contains(what),
            "{outcome}"
        );
        assert_eq!(outcome.code(), 1);
        machine.assert_free(what);
    }
    // Its own may be named by whoever likes to.
    let own = Bundle::new().device("/dev/nvidia6", major, 6, "rw");
    let bundle = own.annotation(ASK.0, ASK.1).write();
    let mut command = machine.interposed();
    run(command.args(["create", "-b"]).arg(bundle.folder()).arg("c")).ok();
}
