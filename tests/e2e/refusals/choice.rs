//! Requests that this node, its leases or its limits don't allow. `tests/policy` tells of the choice itself; here its
//! words come out of the program, with the leases of containers that live.

use super::{ASKS, HOST, REFUSED, refuses, serves};
use crate::support::machine::Machine;

const PROFILE: &str = "mig.profile";
const HELD: &str = "wait with mig.wait=30s, or see 'oci-mig-hook status'";
const OFFERED: &str = "not created are 1g.10gb+me, 1g.20gb, 4g.40gb, 7g.80gb";

#[test]
fn all_are_held() {
    let machine = Machine::named("one-gpu");
    // Its owner is the engine that called: this test, which lives.
    serves(&machine);
    let line = format!("no free 1g.10gb: 1 of 1 held (gpu 0: 000000000000); {HELD}");
    refuses(&machine, ASKS, REFUSED, &line);
    let line = format!(
        "not enough free MIG devices: 3 asked for, 2 of 3 free, 1 held (gpu 0: 000000000000); {HELD}"
    );
    refuses(&machine, &[("mig.count", "3")], REFUSED, &line);
    assert_eq!(machine.leases(), 1, "the living one's is its own");
}

#[test]
fn the_node_has_none() {
    let machine = Machine::named("one-gpu");
    let device = "MIG-11111111-1111-5111-8111-111111111111";
    let gpu = "GPU-00000000-0000-0000-0000-000000000000";
    let (uuid, there) = (
        machine.devices().expect("devices")[0].gpu_uuid.clone(),
        "1 x 1g.10gb, 1 x 2g.20gb, 1 x 3g.40gb",
    );
    let cases: [(&[(&str, &str)], String); 7] = [
        (
            &[(PROFILE, "9g.90gb")],
            format!(
                "no 9g.90gb on this node: there are {there}; {OFFERED}; nearest is 3g.40gb (-6 slices, -50 gb); \
                 ask for one of those that there are"
            ),
        ),
        (
            &[(PROFILE, "1g.20gb"), ("mig.gpu", &uuid)],
            format!(
                "no 1g.20gb on {uuid}: there are {there}; {OFFERED}; \
                 create one with 'nvidia-smi mig -cgi 1g.20gb -C', or ask for another"
            ),
        ),
        (
            &[("mig.memory", "70GB")],
            "no MIG device of at least 70GB: nearest is 3g.40gb (40192 MiB), too small by 26566 MiB; \
             7g.80gb would do and are not created; ask for less, or create one with 'nvidia-smi mig -cgi 7g.80gb -C'"
                .to_owned(),
        ),
        (
            &[("mig.compute", "8")],
            "no MIG device of at least 8 compute slices: nearest is 3g.40gb (40192 MiB), \
             too small by 5 compute slices; ask for less"
                .to_owned(),
        ),
        (
            &[("mig.device", device)],
            format!("no {device}: this node has 3, and it is none of them; {HELD}"),
        ),
        (
            &[(PROFILE, "1g.10gb"), ("mig.gpu", gpu)],
            format!(
                "no GPU is {gpu}: there are gpu 0: NVIDIA A100-SXM4-80GB at 0000:07:00.0; change or remove mig.gpu"
            ),
        ),
        (
            &[(PROFILE, "1g.10gb"), ("mig.count", "2")],
            "not enough 1g.10gb: 2 asked for, 1 exist; ask for at most 1".to_owned(),
        ),
    ];
    for (annotations, line) in cases {
        refuses(&machine, annotations, REFUSED, &line);
    }
}

#[test]
fn more_than_the_limits_allow() {
    let machine = Machine::named("hgx-h100");
    let several = |count| [(PROFILE, "1g.10gb"), ("mig.count", count)];
    let line = "mig.count=9: one container may have 8 here (limits.devices); ask for at most 8, \
                or raise limits.devices in the configuration";
    refuses(&machine, &several("9"), REFUSED, line);
    machine.configure("limits.devices", "1");
    let line = "mig.count=2: one container may have 1 here (limits.devices); ask for at most 1, \
                or raise limits.devices in the configuration";
    refuses(&machine, &several("2"), REFUSED, line);
    serves(&machine);
}

#[test]
fn a_profile_that_the_limits_do_not_allow() {
    let machine = Machine::named("one-gpu");
    machine.configure("limits.profiles", r#"["2g.20gb", "1g.10gb"]"#);
    let remedy = "ask for one that is, or extend limits.profiles in the configuration";
    for (annotation, what) in [
        ((PROFILE, "3g.40gb"), "no 3g.40gb allowed here"),
        (
            ("mig.memory", "30GB"),
            "no MIG device of at least 30GB allowed here",
        ),
    ] {
        let line = format!("{what}: limits.profiles allows only 2g.20gb, 1g.10gb; {remedy}");
        refuses(&machine, &[annotation], REFUSED, &line);
    }
    serves(&machine);
    let machine = Machine::named("one-gpu");
    machine.configure("limits.profiles", "[]");
    let line = format!("no 1g.10gb allowed here: limits.profiles allows none; {remedy}");
    refuses(&machine, ASKS, REFUSED, &line);
    let machine = Machine::named("one-gpu");
    machine.configure("limits.profiles", r#"["large"]"#);
    let line = format!(
        "configuration file {}: limits.profiles: 'large' is not a profile like 1g.10gb, 1c.3g.40gb or 1g.10gb+me; \
         correct it; every key is explained in oci-mig-hook(1)",
        machine.config().display()
    );
    refuses(&machine, ASKS, HOST, &line);
}
