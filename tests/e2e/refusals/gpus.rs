//! GPUs in trouble, or without MIG. One GPU's trouble is no other GPU's, and why it was left out is said.

use fake_node::{GpuSpec, InstanceSpec, MigMode, NodeSpec};

use super::{ASKS, REFUSED, refuses, serves};
use crate::support::machine::Machine;

/// What brings a GPU back stands beside why it was left out.
#[test]
fn the_only_gpu_fails() {
    let machine = Machine::named("one-gpu");
    for (fault, reason) in [
        (
            "lost=0",
            "it has fallen off the bus (reset the machine; 'dmesg' tells why)",
        ),
        (
            "fail=nvmlDeviceGetMigMode:RESET_REQUIRED",
            "it needs a reset ('nvidia-smi --gpu-reset' while nothing uses it)",
        ),
        (
            "fail=nvmlDeviceGetUUID:999",
            "NVML: an internal driver error occurred",
        ),
        (
            "fail=nvmlDeviceGetMigDeviceHandleByIndex:999",
            "NVML: an internal driver error occurred",
        ),
    ] {
        machine.set(&[fault]).expect("a fault");
        let line = format!("no usable GPU: left out: GPU 0 ({reason}); see to what was left out");
        refuses(&machine, ASKS, REFUSED, &line);
        machine.set(&["lost=", "fail="]).expect("no fault");
    }
    // Its MIG devices, one by one.
    machine
        .set(&["fail=nvmlDeviceGetGpuInstanceById:NO_PERMISSION"])
        .expect("a fault");
    let left_out =
        [0, 1, 2].map(|at| format!("MIG device {at} of GPU 0 (NVML shows instances to root alone)"));
    let line = format!(
        "no 1g.10gb on this node: no MIG device can be used; not created are 1g.10gb, 1g.10gb+me, 1g.20gb, \
         2g.20gb, 3g.40gb, 4g.40gb, 7g.80gb; left out: {}; see to what was left out",
        left_out.join("; ")
    );
    refuses(&machine, ASKS, REFUSED, &line);
    machine.set(&["fail="]).expect("no fault");
    serves(&machine);
}

#[test]
fn no_gpu_at_all() {
    let machine = Machine::of(&NodeSpec::default());
    let line = "no usable GPU: the driver knows none; 'nvidia-smi -L' must list one first";
    refuses(&machine, ASKS, REFUSED, line);
}

#[test]
fn mig_is_off_everywhere() {
    let machine = Machine::named("mig-off");
    let line = "no GPU is in MIG mode: off on gpu 0, 1; turn it on with 'nvidia-smi -i 0 -mig 1' and create instances";
    refuses(&machine, ASKS, REFUSED, line);
}

fn gpu(mig: MigMode, profile: Option<&str>) -> GpuSpec {
    let instance = |profile: &str| InstanceSpec {
        profile: profile.to_owned(),
        ..Default::default()
    };
    GpuSpec {
        model: Some("a100-80gb".to_owned()),
        mig: Some(mig),
        instances: profile.into_iter().map(instance).collect(),
        ..Default::default()
    }
}

/// An excluded GPU, a lost one and one whose mode is about to change, beside two in good order.
#[test]
fn the_other_gpus_are_served() {
    let excluded = GpuSpec {
        excluded: true,
        ..gpu(MigMode::Enabled, None)
    };
    let lost = GpuSpec {
        lost: true,
        ..gpu(MigMode::Enabled, Some("2g.20gb"))
    };
    let pending = gpu(MigMode::Pending, None);
    let good = || gpu(MigMode::Enabled, Some("1g.10gb"));
    let machine = Machine::of(&NodeSpec {
        gpus: vec![good(), excluded, lost, pending, good()],
        ..Default::default()
    });
    let left_out = "left out: GPU 0000:0f:00.0 (the driver excludes it (NVreg_ExcludedGpus)); \
                    GPU 1 (it has fallen off the bus (reset the machine; 'dmesg' tells why)); \
                    GPU 2 (MIG mode is being switched on, pending a GPU reset ('nvidia-smi --gpu-reset' while \
                    nothing uses it))";
    let line = format!(
        "no 2g.20gb on this node: there are 2 x 1g.10gb; not created are 1g.10gb+me, 1g.20gb, 2g.20gb, 3g.40gb, \
         4g.40gb, 7g.80gb; {left_out}; create one with 'nvidia-smi mig -cgi 2g.20gb -C', or ask for another"
    );
    refuses(&machine, &[("mig.profile", "2g.20gb")], REFUSED, &line);
    let line = format!("not enough 1g.10gb: 3 asked for, 2 exist; {left_out}; ask for at most 2");
    refuses(
        &machine,
        &[("mig.profile", "1g.10gb"), ("mig.count", "3")],
        REFUSED,
        &line,
    );
    serves(&machine);
    serves(&machine);
    assert_eq!(machine.leases(), 2);
}
