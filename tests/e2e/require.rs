//! `NVIDIA_REQUIRE_*` in a container's environment, which is its image's: judged through every door before anything is
//! reserved, against what is remembered of the machine.

use fake_node::{GpuSpec, InstanceSpec, NodeSpec};
use serde_json::{Value, json};

use crate::refusals::config;
use crate::support::bundle::Bundle;
use crate::support::machine::Machine;
use crate::support::process::{Outcome, kill, run, start, until};
use crate::support::runtime::{Engine, Runtime, everywhere};

const ASKS: (&str, &str) = ("mig.memory", "9GB");

/// What the simulated driver 550 doesn't have, and how that is told.
const CUDA_13: &str = "NVIDIA_REQUIRE_CUDA=cuda>=13.0 brand=tesla,driver>=535,driver<536";
const TOLD: &str = "for this image: NVIDIA_REQUIRE_CUDA requires cuda>=13.0, and this machine's cuda is 12.4; none of its 2 \
                    alternatives holds; use an image for this machine, or set NVIDIA_DISABLE_REQUIRE=1 in the container's \
                    environment";

fn of_image(environment: &[&str]) -> Value {
    let mut config = config(&[ASKS]);
    config["process"]["env"] = json!(environment);
    config
}

fn precreate(machine: &Machine, environment: &[&str]) -> Outcome {
    machine.stage("precreate", &of_image(environment).to_string())
}

/// The node of the GPU that a served container got.
fn node_of(outcome: Outcome) -> String {
    let served: Value = serde_json::from_str(&outcome.ok().stdout).expect("config.json");
    let devices = served["linux"]["devices"].as_array().expect("devices").iter();
    let mut paths = devices.filter_map(|device| device["path"].as_str());
    let gpu = paths.find(|path| {
        let number = path.strip_prefix("/dev/nvidia");
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    });
    gpu.expect("a GPU's node").to_owned()
}

/// An A100 at minor 0, an H100 at minor 1.
fn mixed() -> Machine {
    let gpu = |model: &str| GpuSpec {
        model: Some(model.to_owned()),
        instances: vec![InstanceSpec {
            profile: "1g.10gb".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    Machine::of(&NodeSpec {
        gpus: vec![gpu("a100-80gb"), gpu("h100-80gb")],
        ..Default::default()
    })
}

#[test]
fn a_container_whose_image_requires_more_is_refused_and_nothing_is_reserved() {
    let machine = Machine::named("one-gpu");
    let refused = precreate(&machine, &[CUDA_13]);
    assert_eq!(refused.code(), 1, "{refused}");
    assert_eq!(
        refused.stderr,
        format!("oci-mig-hook: no MIG device of at least 9GB {TOLD}\n")
    );
    machine.assert_free("refused");
    for environment in [
        &[CUDA_13, "NVIDIA_DISABLE_REQUIRE=1"][..],
        &[
            "NVIDIA_REQUIRE_CUDA=cuda>=12.4 brand=tesla",
            "NVIDIA_REQUIRE_B=arch=8.0,brand=nvidia",
        ],
        &[CUDA_13, "NVIDIA_REQUIRE_CUDA=driver>=550"],
    ] {
        let served = precreate(&machine, environment);
        assert!(served.status.success(), "{environment:?}: {served}");
    }
}

#[test]
fn one_that_does_not_parse_is_named() {
    let machine = Machine::named("one-gpu");
    let refused = precreate(&machine, &["NVIDIA_REQUIRE_CUDA=cuda>=12.4 driver=>470"]);
    assert_eq!(refused.code(), 2, "{refused}");
    assert_eq!(
        refused.stderr,
        "oci-mig-hook: can't read NVIDIA_REQUIRE_CUDA: 'driver=>470': the operators are = != < <= > >=; correct the image's \
         or container's variable, or set NVIDIA_DISABLE_REQUIRE=1 in its environment\n"
    );
    machine.assert_free("refused");
}

#[test]
fn on_a_mixed_node_it_gets_a_gpu_that_meets_it() {
    let machine = mixed();
    assert_eq!(
        node_of(precreate(&machine, &["NVIDIA_REQUIRE_ARCH=arch>=9.0"])),
        "/dev/nvidia1"
    );
    // The only one that does is held now.
    let refused = precreate(&machine, &["NVIDIA_REQUIRE_ARCH=arch>=9.0"]);
    assert_eq!(refused.code(), 1, "{refused}");
    assert!(refused.stderr.contains("1 of 1 held (gpu 1: "), "{refused}");
    assert_eq!(
        node_of(precreate(&machine, &["NVIDIA_REQUIRE_ARCH=arch<9"])),
        "/dev/nvidia0"
    );
}

/// Judging asks the driver nothing beyond what the reservation asks anyway.
#[test]
fn it_is_judged_from_memory() {
    let calls = |environment: &[&str]| {
        let machine = Machine::named("one-gpu");
        run(&mut machine.program("refresh")).ok();
        machine.start_trace().expect("a trace");
        precreate(&machine, environment).ok();
        until("the end of what asked NVML", || machine.asking_nvml().is_empty());
        let calls = machine.trace().expect("a trace").into_iter();
        calls.map(|line| line.function).collect::<Vec<_>>()
    };
    let judged = calls(&["NVIDIA_REQUIRE_X=arch>=8.0,brand=nvidia,cuda>=12,driver>=550"]);
    assert_eq!(judged, calls(&[]));
    assert!(
        !judged
            .iter()
            .any(|call| call.contains("Cuda") || call.contains("Brand")),
        "{judged:?}"
    );
}

/// One who waits for the H100, because the image requires it, is in nobody's way on the A100.
#[test]
fn nothing_that_it_can_not_use_is_kept_for_a_waiter() {
    let machine = mixed();
    let hopper = "NVIDIA_REQUIRE_ARCH=arch>=9.0";
    precreate(&machine, &[hopper]).ok();
    let mut waits = of_image(&[hopper]);
    waits["annotations"]["mig.wait"] = json!("10m");
    let mut waiter = start(&mut machine.program("precreate"), Some(&waits.to_string()));
    let queue = || machine.status()["waiting"].clone();
    until("a place in the queue", || {
        queue().as_array().is_some_and(|queue| queue.len() == 1)
    });
    assert_eq!(
        queue()[0]["request"],
        json!({"mig.memory": "9GB", "mig.wait": "10m"})
    );
    assert_eq!(node_of(precreate(&machine, &[])), "/dev/nvidia0");
    assert!(waiter.is_running());
    kill(waiter.pid());
}

/// With every runtime, at createRuntime and through the interposed one.
#[test]
fn through_every_door() {
    for (runtime, view) in everywhere() {
        let (machine, engine) = (Machine::named("one-gpu"), Engine::new(runtime, view));
        let who = format!("{runtime} {view}");
        let image = |bundle: Bundle, value: &str| {
            bundle
                .annotation(ASKS.0, ASKS.1)
                .env("NVIDIA_REQUIRE_CUDA", value)
                .write()
        };
        let bundle = || machine.bundle().makes_nodes();
        let (_, value) = CUDA_13.split_once('=').expect("a variable");
        let refused = engine.run(&image(bundle(), value)).failed();
        // crun keeps a hook's words to itself.
        if runtime == Runtime::Runc {
            assert!(refused.stderr.contains(TOLD), "{who}: {refused}");
        }
        machine.assert_free(&who);
        engine.run(&image(bundle(), "cuda>=12.4")).ok();
        machine.assert_free(&who);
        let interposed = engine.interposed(&machine);
        let refused = interposed.run(&image(Bundle::new(), value)).failed();
        assert!(refused.text().contains(TOLD), "{who}: {refused}");
        machine.assert_free(&who);
        interposed.run(&image(Bundle::new(), "cuda>=12.4")).ok();
        machine.assert_free(&who);
    }
}
