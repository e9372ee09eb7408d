//! What a container's life asks of the driver, once the node is known: the same on every node.

use fake_node::{GpuSpec, InstanceSpec, NodeSpec, TraceLine};

use crate::support::bundle::Bundle;
use crate::support::machine::Machine;
use crate::support::process::{run, until};
use crate::support::runtime::{Engine, Runtime};

/// As many H100 of seven devices each.
fn node(gpus: usize) -> Machine {
    let seven = InstanceSpec {
        profile: "1g.10gb".to_owned(),
        ..Default::default()
    };
    let gpu = GpuSpec {
        model: Some("h100-80gb".to_owned()),
        instances: vec![seven; 7],
        ..Default::default()
    };
    Machine::of(&NodeSpec {
        gpus: vec![gpu; gpus],
        ..Default::default()
    })
}

/// The calls of NVML from create to delete, in order.
fn calls(machine: &Machine) -> Vec<TraceLine> {
    run(&mut machine.program("refresh")).ok();
    until("the end of what asked NVML", || machine.asking_nvml().is_empty());
    machine.start_trace().expect("a trace");
    let engine = Engine::new(Runtime::Runc, Runtime::Runc.views()[0]).interposed(machine);
    let bundle = Bundle::new()
        .annotation("mig.profile", "1g.10gb")
        .script("true")
        .write();
    let mut container = engine.container(&bundle);
    // Its createRuntime hook confirms.
    container.create().ok();
    let created = machine.trace().expect("a trace");
    container.start().ok();
    until("the container's end", || container.status() == "stopped");
    container.delete(false).ok();
    assert_eq!(
        machine.trace().expect("a trace"),
        created,
        "start and delete ask for nothing"
    );
    let asker = created.first().expect("a call").pid;
    assert!(
        created.iter().all(|line| line.pid == asker),
        "one process asks: {created:?}"
    );
    machine.assert_free("after delete");
    created
}

#[test]
fn a_reservation_asks_the_same_on_every_node() {
    let functions = |calls: &[TraceLine]| calls.iter().map(|line| line.function.clone()).collect::<Vec<_>>();
    let (one, eight) = (calls(&node(1)), calls(&node(8)));
    assert_eq!(functions(&one), functions(&eight));
    for calls in [one, eight] {
        let mut gpus: Vec<u32> = calls.iter().filter_map(|line| line.gpu).collect();
        gpus.dedup();
        assert_eq!(gpus.len(), 1, "one GPU is touched: {gpus:?}");
    }
}
