//! Which whole GPU, and what who gets none is told, in the program's own words.

use fake_node::{GpuSpec, MigMode, NodeSpec};

use super::{FIRST, LARGER};
use crate::refusals::{Annotations, config, refuses};
use crate::support::machine::Machine;

const GPU: (&str, &str) = ("mig.profile", "gpu");
const WAIT: &str = "wait with mig.wait=30s, or see 'oci-mig-hook status'";

/// The value of the variable that a container with these annotations gets.
#[track_caller]
fn gets(machine: &Machine, annotations: Annotations) -> String {
    let outcome = machine.stage("precreate", &config(annotations).to_string()).ok();
    let config: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("config.json");
    let env = config["process"]["env"].as_array().expect("an environment");
    let mut values = env
        .iter()
        .filter_map(|entry| entry.as_str()?.strip_prefix("NVIDIA_VISIBLE_DEVICES="));
    values.next().expect("the variable").to_owned()
}

#[test]
fn by_memory_by_gpu_by_name_and_two_at_once() {
    let whole = |machine: &Machine, index| machine.whole_gpu(index).uuid;
    let of = |annotations: Annotations| {
        let machine = Machine::named("mixed");
        let uuid = gets(&machine, annotations);
        let [first, larger] = [FIRST, LARGER].map(|index| whole(&machine, index));
        uuid.replace(&first, "first").replace(&larger, "larger")
    };
    let larger = whole(&Machine::named("mixed"), LARGER);
    assert_eq!(of(&[GPU]), "first");
    assert_eq!(of(&[GPU, ("mig.memory", "15GiB")]), "first");
    assert_eq!(of(&[GPU, ("mig.memory", "17GB")]), "larger");
    assert_eq!(of(&[GPU, ("mig.gpu", "*H100*")]), "larger");
    assert_eq!(of(&[GPU, ("mig.gpu", &larger)]), "larger");
    assert_eq!(of(&[("mig.device", &larger)]), "larger");
    assert_eq!(of(&[GPU, ("mig.count", "2")]), "first,larger");
}

#[test]
fn what_can_not_be_had_is_said() {
    let machine = Machine::named("mixed");
    let in_mode = machine.devices().expect("devices")[0].gpu_uuid.clone();
    let pending = "left out: GPU 4 (MIG mode is being switched on, pending a GPU reset ('nvidia-smi --gpu-reset' while \
                   nothing uses it))";
    let cases: [(Annotations, String); 5] = [
        (
            &[GPU, ("mig.memory", "90GB")],
            format!(
                "no whole GPU of at least 90GB: nearest is gpu 5 (NVIDIA H100 80GB HBM3, 81559 MiB), too small by \
                 4272 MiB; {pending}; ask for less"
            ),
        ),
        (
            &[GPU, ("mig.count", "3")],
            format!("not enough whole GPUs: 3 asked for, 2 exist; {pending}; ask for at most 2"),
        ),
        (
            &[GPU, ("mig.gpu", "*A30*")],
            format!(
                "no whole GPU that is *A30*: MIG mode is on on gpu 3; {pending}; ask for a MIG device, or turn MIG mode \
                 off with 'nvidia-smi -i 3 -mig 0'"
            ),
        ),
        (
            &[("mig.device", &in_mode)],
            format!(
                "{in_mode} can't be had whole: MIG mode is on on gpu 0; ask for one of its MIG devices with \
                 mig.gpu={in_mode}, or turn MIG mode off with 'nvidia-smi -i 0 -mig 0'"
            ),
        ),
        (
            &[("mig.device", "GPU-11111111-1111-4111-8111-111111111111")],
            format!(
                "no GPU-11111111-1111-4111-8111-111111111111: this node has 2, and it is none of them; {pending}; see \
                 'oci-mig-hook status'"
            ),
        ),
    ];
    for (annotations, line) in cases {
        refuses(&machine, annotations, 1, &line);
    }
}

#[test]
fn held_and_used_ones_are_told_by_whom() {
    let machine = Machine::named("mig-off");
    gets(&machine, &[GPU]);
    let user = std::process::id();
    let second = machine.whole_gpu(1).uuid;
    machine
        .set(&[&format!("process={second}:{user}")])
        .expect("a process");
    let name = std::fs::read_to_string("/proc/self/comm").expect("a name");
    let used = format!("process {user} ({}) outside any lease", name.trim_end());
    refuses(
        &machine,
        &[GPU],
        1,
        &format!("no free whole GPU: 2 of 2 held (gpu 0: 000000000000; gpu 1: {used}); {WAIT}"),
    );
    let status = machine.status();
    assert_eq!(status["gpus"][1]["devices"][0]["state"], "in_use", "{status}");
    machine.configure("unmanaged", "\"ignore\"");
    assert_eq!(gets(&machine, &[GPU]), second);
}

#[test]
fn all_are_in_mig_mode_or_kept_from_everybody() {
    let machine = Machine::named("one-gpu");
    let line = "no whole GPU: MIG mode is on on gpu 0; ask for a MIG device, or turn MIG mode off with 'nvidia-smi -i 0 \
                -mig 0'";
    refuses(&machine, &[GPU], 1, line);
    let machine = Machine::named("mig-off");
    machine.configure("limits.profiles", "[\"1g.10gb\"]");
    let line = "no whole GPU allowed here: limits.profiles allows only 1g.10gb; ask for one that is, or extend \
                limits.profiles in the configuration";
    refuses(&machine, &[GPU], 1, line);
    machine.configure("limits.devices", "1");
    let line = "mig.count=2: one container may have 1 here (limits.devices); ask for at most 1, or raise limits.devices \
                in the configuration";
    refuses(&machine, &[GPU, ("mig.count", "2")], 1, line);
}

/// A GPU without MIG on a driver that knows nothing of it: no capabilities are needed for it.
#[test]
fn a_driver_without_capabilities_serves_it() {
    let machine = Machine::of(&NodeSpec {
        gpus: vec![GpuSpec {
            name: Some("Tesla T4".to_owned()),
            mig: Some(MigMode::Unsupported),
            ..Default::default()
        }],
        ..Default::default()
    });
    let devices = machine.proc().join("devices");
    let text = std::fs::read_to_string(&devices).expect("devices");
    let without: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("nvidia-caps"))
        .collect();
    std::fs::write(&devices, without.join("\n") + "\n").expect("devices");
    assert_eq!(gets(&machine, &[GPU]), machine.whole_gpu(0).uuid);
}

/// Its node is missing: it is told which and how it comes back, and nothing is given.
#[test]
fn a_gpu_without_its_node_is_passed_over() {
    let machine = Machine::named("mig-off");
    std::fs::remove_file(machine.dev().join("nvidia0")).expect("a node");
    assert_eq!(gets(&machine, &[GPU]), machine.whole_gpu(1).uuid);
    let outcome = machine.stage("precreate", &config(&[GPU]).to_string()).failed();
    assert_eq!(outcome.code(), 3, "{outcome}");
    assert!(
        outcome.stderr.contains("nvidia0 is not the device ")
            && outcome
                .stderr
                .contains("make the driver's nodes with 'nvidia-modprobe -u -c0'"),
        "{outcome}"
    );
}
