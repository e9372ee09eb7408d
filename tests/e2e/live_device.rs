//! Hooks in config.json, as `hooks/runc/config-fragment.json` has them, under plain runc and crun on cgroup v1 and v2:
//! the device comes into a container that exists already. What this set-up can't do is told here too.

mod hostile_image;
mod in_the_way;

use std::fs;
use std::path::Path;
use std::process::Command;

use fake_node::NodeSpec;
use serde_json::{Value, json};

use crate::support::bundle::Bundle;
use crate::support::machine::{Machine, PROGRAM};
use crate::support::probe::{Answer, Probe, Seen};
use crate::support::process::{Outcome, run, until};
use crate::support::runtime::{Engine, Runtime, everywhere};
use crate::support::scratch::Scratch;

const PROFILE: &str = "2g.20gb";

/// The fragment's hooks as an administrator copies them, those of createRuntime under the name `stage`.
fn hooks(machine: &Machine, stage: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks/runc/config-fragment.json");
    let text = fs::read_to_string(path).expect("the fragment");
    let fragment: Value = serde_json::from_str(&text).expect("JSON");
    let entries = |name: &str, word: &str| {
        let mut entries = fragment["hooks"][name].clone();
        for entry in entries.as_array_mut().expect("a list of hooks") {
            entry["path"] = json!(PROGRAM);
            entry["args"] = json!(["oci-mig-hook", word, "--config", machine.config()]);
        }
        entries
    };
    json!({stage: entries("createRuntime", stage), "poststop": entries("poststop", "poststop")})
}

/// A container that asks and may make any node, so that the rules on opening are all that is judged.
fn bundle(machine: &Machine, stage: &str) -> Bundle {
    let bundle = Bundle::new().annotation("mig.profile", PROFILE).makes_nodes();
    bundle.with(|config| config["hooks"] = hooks(machine, stage))
}

/// The container of `bundle` runs, has its own device and no other, and gives it back.
fn isolated(machine: &Machine, engine: &Engine, bundle: Bundle, can_make: bool, who: &str) -> Seen {
    let own = machine.device(PROFILE);
    let bundle = bundle.script(&machine.probe(&own).script()).write();
    let seen = Seen::read(&engine.run(&bundle).ok().stdout);
    machine.assert_isolated(&seen, &own, can_make, who);
    machine.assert_free(who);
    seen
}

/// The container of `bundle` is refused in these words, and nothing stays reserved.
fn refused(machine: &Machine, engine: &Engine, bundle: Bundle, words: &str, who: &str) -> Outcome {
    let outcome = engine.run(&bundle.write()).failed();
    // crun keeps a hook's words to itself.
    if engine.runtime == Runtime::Runc {
        assert!(outcome.stderr.contains(words), "{who}: {outcome}");
    }
    machine.assert_free(who);
    outcome
}

#[test]
fn held_while_it_runs_and_free_afterwards() {
    for (runtime, view) in everywhere() {
        let (machine, engine) = (Machine::named("one-gpu"), Engine::new(runtime, view));
        let who = format!("{runtime} {view}");
        let own = machine.device(PROFILE);
        let script = format!("{}exec sleep 1000", machine.probe(&own).script());
        let bundle = bundle(&machine, "createRuntime").script(&script).write();
        let mut container = engine.container(&bundle);
        container.create().ok();
        let held = [(own.uuid.clone(), ("held".to_owned(), bundle.id().to_owned()))];
        assert_eq!(machine.taken(), held.clone().into(), "{who}: created");
        container.start().ok();
        until("the probe's end", || container.stdout().contains("probe|end"));
        machine.assert_isolated(&Seen::read(&container.stdout()), &own, true, &who);
        assert_eq!(machine.taken(), held.into(), "{who}: running");
        assert_eq!(machine.holding_process(), Some(container.pid()), "{who}");
        // Who enters it later has the device too.
        let opens = Probe::new().writes("/dev/nvidiactl").script();
        let seen = Seen::read(&container.exec(&["sh", "-c", &opens]).ok().stdout);
        assert_eq!(seen.writes("/dev/nvidiactl"), Answer::NoDriver, "{who}");
        container.kill("KILL").ok();
        container.await_status("stopped");
        container.delete(false).ok();
        machine.assert_free(&who);
    }
}

/// The process' environment was fixed when its runtime read config.json, so it can't be given here, nor corrected.
#[test]
fn the_variable_can_not_be_given() {
    for (runtime, view) in everywhere() {
        let (machine, engine) = (Machine::named("one-gpu"), Engine::new(runtime, view));
        let who = format!("{runtime} {view}");
        let plain = bundle(&machine, "createRuntime");
        let seen = isolated(&machine, &engine, plain, true, &who);
        assert_eq!(seen.visible_devices(), None, "{who}");
        let of_the_image = bundle(&machine, "createRuntime").env("NVIDIA_VISIBLE_DEVICES", "all");
        let seen = isolated(&machine, &engine, of_the_image, true, &who);
        assert_eq!(seen.visible_devices(), Some("all"), "{who}");
    }
}

#[test]
fn prestart_instead_of_create_runtime() {
    for (runtime, view) in everywhere() {
        let (machine, engine) = (Machine::named("one-gpu"), Engine::new(runtime, view));
        let who = |what: &str| format!("{runtime} {view} prestart {what}");
        let bundle = || bundle(&machine, "prestart");
        isolated(&machine, &engine, bundle(), true, &who("root"));
        let user = bundle().user(1000).capability("CAP_MKNOD");
        isolated(&machine, &engine, user, true, &who("uid 1000"));
        let namespace = bundle().user_namespace();
        isolated(&machine, &engine, namespace, false, &who("user namespace"));
        let both = bundle().user_namespace().user(1000).capability("CAP_MKNOD");
        isolated(&machine, &engine, both, false, &who("uid 1000, user namespace"));
    }
}

/// No node can be made in a user namespace; one that somebody mounts there meets the same rules as anywhere.
#[test]
fn in_a_user_namespace_the_rules_keep_every_other_capability_away() {
    for (runtime, view) in everywhere() {
        let (machine, engine) = (Machine::named("one-gpu"), Engine::new(runtime, view));
        // Without it such mounts are refused before any rule is asked.
        machine.configure("allow_privileged", "true");
        let own = machine.device(PROFILE);
        let caps = machine.major("nvidia-caps").expect("a major");
        let foreign = machine.foreign(&own);
        // Open to all: the host's config and monitor already have a mode that keeps this root away.
        let folder = Scratch::new("nodes");
        for minor in &foreign {
            let mut mknod = Command::new("mknod");
            mknod.arg("--mode=666").arg(folder.join(minor.to_string()));
            run(mknod.args(["c", &caps.to_string(), &minor.to_string()])).ok();
        }
        for uid in [0, 1000] {
            let plain = bundle(&machine, "createRuntime").user_namespace();
            let plain = if uid == 0 { plain } else { plain.user(uid) };
            let targets = foreign
                .iter()
                .map(|minor| (minor.to_string(), format!("/dev/other{minor}")));
            let start = (plain, Probe::new().writes("/dev/nvidiactl"));
            let (bundle, probe) = targets.fold(start, |(bundle, probe), (name, target)| {
                (bundle.bind(&folder.join(name), &target), probe.reads(&target))
            });
            let seen = Seen::read(&engine.run(&bundle.script(&probe.script()).write()).ok().stdout);
            let who = format!("{runtime} {view} uid {uid}: {seen:?}");
            assert_eq!(seen.writes("/dev/nvidiactl"), Answer::NoDriver, "{who}");
            for minor in &foreign {
                assert_eq!(
                    seen.reads(&format!("/dev/other{minor}")),
                    Answer::NotPermitted,
                    "{minor}: {who}"
                );
            }
        }
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

/// Whoever has the hook in both stages, or in one twice, gets one device and not two.
#[test]
fn in_both_stages_it_is_one_device() {
    for (runtime, view) in everywhere() {
        let (machine, engine) = (Machine::with(&["2g.20gb", "2g.20gb"]), Engine::new(runtime, view));
        let twice = bundle(&machine, "createRuntime").with(|config| {
            config["hooks"]["prestart"] = hooks(&machine, "prestart")["prestart"].clone();
            let list = config["hooks"]["createRuntime"].as_array_mut().expect("hooks");
            list.extend(list.clone());
        });
        let bundle = twice.script("ls /dev/nvidia-caps | wc -l").write();
        let mut container = engine.container(&bundle);
        container.create().ok();
        assert_eq!(machine.taken().len(), 1, "{runtime} {view}");
        container.start().ok();
        container.await_status("stopped");
        assert_eq!(container.stdout().trim(), "2", "{runtime} {view}");
        container.delete(false).ok();
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

/// Eight GPUs whose minors are no indexes: the parent's node is the right one, and the other GPUs' do not open.
#[test]
fn on_a_node_of_eight_gpus() {
    for (runtime, view) in everywhere() {
        let path = fake_node::nodes_dir().join("dgx-a100.json");
        let mut spec = NodeSpec::read(&path).expect("a node of this repository");
        // One whose major is called nvidia.
        spec.driver = Some("550.54.15".to_owned());
        let (machine, engine) = (Machine::of(&spec), Engine::new(runtime, view));
        let who = format!("{runtime} {view}");
        let devices = machine.devices().expect("devices");
        let own = devices
            .iter()
            .rev()
            .find(|device| device.gpu != device.gpu_minor)
            .expect("a minor that is no index");
        let gpus = machine.major("nvidia").expect("a major");
        let others = || (0..8).filter(|minor| *minor != own.gpu_minor);
        let probe = others().fold(machine.probe(own), |probe, minor| {
            probe.makes(&format!("gpu{minor}"), gpus, minor)
        });
        let bundle = bundle(&machine, "createRuntime").with(|config| {
            config["annotations"] = json!({"mig.device": own.uuid});
        });
        let seen = Seen::read(&engine.run(&bundle.script(&probe.script()).write()).ok().stdout);
        machine.assert_isolated(&seen, own, true, &who);
        for minor in others() {
            let answer = seen.makes(&format!("gpu{minor}"));
            assert_eq!(
                answer,
                (Answer::Done, Answer::NotPermitted),
                "{who}: gpu{minor}: {seen:?}"
            );
        }
        machine.assert_free(&who);
    }
}

#[test]
fn a_privileged_container_is_refused_unless_allowed() {
    for (runtime, view) in everywhere() {
        let (machine, engine) = (Machine::named("one-gpu"), Engine::new(runtime, view));
        let who = format!("{runtime} {view}");
        let privileged = || bundle(&machine, "createRuntime").privileged();
        refused(
            &machine,
            &engine,
            privileged(),
            "this container can't be isolated: it has CAP_SYS_ADMIN",
            &who,
        );
        let all_devices = || {
            bundle(&machine, "createRuntime").with(|config| {
                config["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
            })
        };
        let words = "this container can't be isolated: its device rules allow every device";
        refused(&machine, &engine, all_devices(), words, &who);

        machine.configure("allow_privileged", "true");
        for bundle in [privileged(), all_devices()] {
            let own = machine.device(PROFILE);
            let bundle = bundle.script(&machine.probe(&own).script()).write();
            let mut container = engine.container(&bundle);
            container.create().ok();
            assert_eq!(
                machine.taken().len(),
                1,
                "{who}: it holds its device like any other"
            );
            container.start().ok();
            container.await_status("stopped");
            let seen = Seen::read(&container.stdout());
            for (path, ..) in machine.nodes_of(&own) {
                assert!(
                    seen.nodes().contains_key(path.as_str()),
                    "{who}: no {path}: {seen:?}"
                );
            }
            // The whole node is open to it: that is what allow_privileged accepts.
            assert_eq!(seen.makes("cap1"), (Answer::Done, Answer::NoDriver), "{who}");
            container.delete(false).ok();
            machine.assert_free(&who);
        }
    }
}
