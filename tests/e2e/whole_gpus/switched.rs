//! MIG mode that is switched under the ledger's feet: whoever has a GPU, or a part of it, has it until its end.

use fake_node::{GpuSpec, InstanceSpec, MigMode, NodeSpec};

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::container::Container;
use crate::support::machine::Machine;
use crate::support::process::run;
use crate::support::rootfs::SLEEP;
use crate::support::runtime::{Engine, Runtime};

/// One A100 in that mode; cut in two where it is on.
fn node(mig: MigMode) -> NodeSpec {
    let halves = || InstanceSpec {
        profile: "3g.40gb".to_owned(),
        ..Default::default()
    };
    NodeSpec {
        gpus: vec![GpuSpec {
            mig: Some(mig),
            instances: match mig {
                MigMode::Enabled => vec![halves(), halves()],
                _ => Vec::new(),
            },
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn asking(machine: &Machine, profile: &str, script: &str) -> Bundle {
    let bundle = machine.bundle().annotation("mig.profile", profile);
    bundle.script(script).write()
}

#[track_caller]
fn living<'a>(engine: &'a Engine, bundle: &'a Bundle) -> Container<'a> {
    let mut container = engine.container(bundle);
    container.create().ok();
    container.start().ok();
    container
}

#[test]
fn a_gpu_that_is_held_whole_is_not_given_in_parts() {
    let machine = Machine::of(&node(MigMode::Disabled));
    let engine = Engine::new(Runtime::Runc, View::Host);
    let (whole, part) = (
        asking(&machine, "gpu", SLEEP),
        asking(&machine, "3g.40gb", "true"),
    );
    let holder = living(&engine, &whole);
    machine
        .repartition(&node(MigMode::Pending))
        .expect("MIG on, after a reset");
    let refused = engine.run(&part).failed();
    assert!(
        refused
            .text()
            .contains("no usable GPU: left out: GPU 0 (MIG mode is being switched on"),
        "{refused}"
    );
    machine.repartition(&node(MigMode::Enabled)).expect("MIG on");
    let refused = engine.run(&part).failed();
    assert!(
        refused.text().contains("no free 3g.40gb: 2 of 2 held (gpu 0: "),
        "{refused}"
    );
    let text = run(&mut machine.program("status")).ok().stdout;
    assert_eq!(
        text.matches(" held ").count(),
        3,
        "two parts, and the whole that is gone: {text}"
    );
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(words.windows(2).any(|pair| pair == ["gone", "gpu"]), "{text}");
    holder.delete(true).ok();
    engine.run(&part).ok();
    machine.assert_free("a part");
}

#[test]
fn a_gpu_that_is_held_in_parts_is_not_given_whole() {
    let machine = Machine::of(&node(MigMode::Enabled));
    let engine = Engine::new(Runtime::Runc, View::Host);
    let (part, whole) = (
        asking(&machine, "3g.40gb", SLEEP),
        asking(&machine, "gpu", "true"),
    );
    let holder = living(&engine, &part);
    machine.repartition(&node(MigMode::Disabled)).expect("MIG off");
    let refused = engine.run(&whole).failed();
    assert!(
        refused.text().contains("no free whole GPU: 1 of 1 held (gpu 0: "),
        "{refused}"
    );
    assert_eq!(machine.status()["gpus"][0]["devices"][0]["state"], "held");
    holder.delete(true).ok();
    engine.run(&whole).ok();
    machine.assert_free("the whole");
}

/// `release` and `gc` name it as they name a MIG device, and `refresh` says what became of it.
#[test]
fn people_are_told_of_it_by_its_name() {
    let machine = Machine::of(&node(MigMode::Disabled));
    let uuid = machine.whole_gpu(0).uuid;
    let text = run(&mut machine.program("refresh")).ok().stdout;
    assert_eq!(text, "0 MIG devices and 1 whole GPU on 1 GPU, driver 550.54.15\n");
    let engine = Engine::new(Runtime::Runc, View::Host);
    let bundle = asking(&machine, "gpu", SLEEP);
    let holder = living(&engine, &bundle);
    let refused = run(machine.program("release").arg(&uuid)).failed();
    let stays = format!("oci-mig-hook: {uuid} (gpu) stays with container ");
    assert!(refused.stderr.starts_with(&stays), "{refused}");
    let released = run(machine.program("release").args([&uuid, "--force", "--json"])).ok();
    let released: serde_json::Value = serde_json::from_str(&released.stdout).expect("JSON");
    assert_eq!(released[0]["devices"][0], uuid, "{released}");
    holder.delete(true).ok();
    machine.repartition(&node(MigMode::Enabled)).expect("MIG on");
    let text = run(&mut machine.program("refresh")).ok().stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "2 MIG devices on 1 GPU, driver 550.54.15", "{text}");
    assert_eq!(lines[1], format!("- gpu {uuid} on GPU 0"), "{text}");
    assert!(lines[2].starts_with("+ 3g.40gb MIG-"), "{text}");
    assert_eq!(machine.leases(), 0);
}
