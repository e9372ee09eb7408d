//! The guard's judgement from outside: what of a config.json is a door to NVIDIA's devices, and what closes it.

use std::path::Path;

use oci_mig_hook::edits::guard::{self, Door, Kind, Surroundings};
use oci_mig_hook::edits::spec;
use oci_mig_hook::oci::Spec;
use serde_json::{Value, json};

/// nvidia, nvidia-uvm, nvidia-caps, nvidia-caps-imex-channels.
const MAJORS: [u32; 4] = [195, 508, 237, 509];

/// A host with NVIDIA's nodes below /dev and below a driver container's root, and a link to one elsewhere.
fn device_at(path: &Path) -> Option<(u32, u32)> {
    match path.to_str()? {
        "/dev/nvidia0" | "/run/driver/dev/nvidia0" | "/srv/link" => Some((195, 0)),
        "/dev/nvidia-caps/nvidia-cap3" => Some((237, 3)),
        "/dev/nvidia-caps-imex-channels/channel0" => Some((509, 0)),
        "/dev/null" => Some((1, 3)),
        _ => None,
    }
}

fn around(majors: &[u32]) -> Surroundings<'_> {
    Surroundings {
        majors,
        dev: Path::new("/run/driver/dev"),
        device_at: &device_at,
        no_rule_holds: None,
        is_initial_user_namespace: true,
    }
}

fn doors(spec: &Value) -> Vec<Door> {
    guard::doors(Spec(spec), &around(&MAJORS), &[])
}

/// What an engine gives to everyone, with these members besides.
fn container(members: Value) -> Value {
    let mut spec = json!({
        "process": {"env": ["PATH=/bin"], "capabilities": {"bounding": ["CAP_MKNOD"]}},
        "mounts": [
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/etc/hosts", "type": "bind", "source": "/run/hosts", "options": ["bind"]},
        ],
        "annotations": {"cdi.k8s.io/net": "vendor.com/net=eth0", "x": "nvidia.com/gpu=0"},
        "hooks": {"poststop": [{"path": "/usr/bin/true"}]},
        "linux": {
            "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}],
            "resources": {"devices": [
                {"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "access": "m"},
                {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
            ]},
        },
    });
    for (pointer, entry) in members.as_object().unwrap() {
        match spec.pointer_mut(pointer) {
            Some(Value::Array(list)) => list.push(entry.clone()),
            Some(Value::Object(object)) => object.extend(entry.as_object().unwrap().clone()),
            other => panic!("{pointer}: {other:?}"),
        }
    }
    spec
}

const DEVICES: &str = "/linux/devices";
const RULES: &str = "/linux/resources/devices";
const MOUNTS: &str = "/mounts";

fn bind(source: &str) -> Value {
    json!({"destination": "/x", "type": "bind", "source": source, "options": ["rbind"]})
}

#[test]
fn a_container_that_reaches_nothing_has_no_door() {
    for members in [
        json!({}),
        json!({DEVICES: {"path": "/dev/x", "type": "b", "major": 195, "minor": 0}}),
        json!({RULES: {"allow": true, "type": "c", "major": 195, "access": "m"}}),
        json!({RULES: {"allow": true, "type": "b", "major": 195, "access": "rwm"}}),
        // Its rules keep it from what stands in there.
        json!({MOUNTS: bind("/dev")}),
        json!({MOUNTS: bind("/")}),
        json!({MOUNTS: bind("/dev/null")}),
        json!({MOUNTS: {"destination": "/dev/nvidia0", "type": "tmpfs", "source": "/dev/nvidia0"}}),
        json!({MOUNTS: bind("/srv/nvidia0")}),
        json!({"/hooks": {"prestart": [{"path": "/usr/bin/nvidia"}, {}, null]}}),
    ] {
        let spec = container(members);
        assert_eq!(doors(&spec), [], "{spec}");
        assert_eq!(guard::voided(Spec(&spec)), None);
    }
    for nothing in [
        json!({}),
        json!(null),
        json!({"linux": null, "mounts": null, "hooks": null}),
    ] {
        assert_eq!(doors(&nothing), [], "{nothing}");
    }
}

/// Each door by itself: it is found, said, and closed, and nothing else is touched.
#[test]
fn every_door_is_found_and_closed() {
    for (members, kind, what) in [
        (
            json!({DEVICES: {"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0}}),
            Kind::Device,
            "the device {\"path\":\"/dev/nvidia0\"",
        ),
        // By its number, whatever its name; by its name, whatever its number.
        (
            json!({DEVICES: {"path": "/dev/innocent", "type": "u", "major": 509, "minor": 0}}),
            Kind::Device,
            "the device",
        ),
        (
            json!({DEVICES: {"path": "/dev/./nvidia-caps/x", "type": "c", "major": 77, "minor": 0}}),
            Kind::Device,
            "the device",
        ),
        (
            json!({RULES: {"allow": true, "type": "c", "major": 237, "minor": 3, "access": "r"}}),
            Kind::Device,
            "the device rule {\"allow\":true,\"type\":\"c\",\"major\":237",
        ),
        (
            json!({RULES: {"allow": true, "type": "c", "major": 508}}),
            Kind::Device,
            "the device rule",
        ),
        (
            json!({RULES: {"allow": true, "access": "rwm"}}),
            Kind::Device,
            "the device rule",
        ),
        (
            json!({RULES: {"allow": true, "type": "a", "major": 8, "minor": 1, "access": "m"}}),
            Kind::Device,
            "the device rule",
        ),
        (
            json!({MOUNTS: bind("/dev/nvidia0")}),
            Kind::Mount,
            "a mount of /dev/nvidia0",
        ),
        (
            json!({MOUNTS: bind("/dev/nvidia9")}),
            Kind::Mount,
            "a mount of /dev/nvidia9",
        ),
        (
            json!({MOUNTS: bind("/srv/link")}),
            Kind::Mount,
            "a mount of /srv/link",
        ),
        (
            json!({MOUNTS: bind("/dev/nvidia-caps")}),
            Kind::Mount,
            "a mount of /dev/nvidia-caps",
        ),
        (
            json!({MOUNTS: bind("/proc/../dev/nvidia-caps/")}),
            Kind::Mount,
            "a mount of /proc/../dev/nvidia-caps/",
        ),
        (
            json!({MOUNTS: bind("/dev/nvidia-caps-imex-channels")}),
            Kind::Mount,
            "a mount of /dev/nvidia-caps-imex-channels",
        ),
        (
            json!({MOUNTS: bind("/run/driver/dev/nvidiactl")}),
            Kind::Mount,
            "a mount of /run/driver/dev/nvidiactl",
        ),
        (
            json!({MOUNTS: {"destination": "/x", "source": "/dev/nvidia0", "options": ["ro", "bind"]}}),
            Kind::Mount,
            "a mount of /dev/nvidia0",
        ),
        (
            json!({MOUNTS: {"destination": "/var/run/nvidia-container-devices/all", "type": "bind", "source": "/dev/null"}}),
            Kind::Named,
            "a mount at /var/run/nvidia-container-devices/all",
        ),
        (
            json!({"/hooks": {"prestart": [{"path": "/usr/bin/nvidia-container-runtime-hook", "args": ["x", "prestart"]}]}}),
            Kind::Hook,
            "the prestart hook /usr/bin/nvidia-container-runtime-hook",
        ),
        (
            json!({"/hooks": {"createContainer": [{"path": "/opt/nvidia-cdi-hook"}]}}),
            Kind::Hook,
            "the createContainer hook /opt/nvidia-cdi-hook",
        ),
        (
            json!({"/annotations": {"cdi.k8s.io/gpu": "nvidia.com/gpu=0, runtime.nvidia.com/gpu=all"}}),
            Kind::Named,
            "the annotation cdi.k8s.io/gpu=nvidia.com/gpu=0",
        ),
        (
            json!({"/annotations": {"cdi.k8s.io/gpu": "oci-mig-hook.local/gpu=0:7:0"}}),
            Kind::Named,
            "the annotation cdi.k8s.io/gpu=oci-mig-hook.local/gpu=0:7:0",
        ),
        (
            json!({"/process": {"env": ["PATH=/bin", "NVIDIA_IMEX_CHANNELS=0,1"]}}),
            Kind::Named,
            "the variable NVIDIA_IMEX_CHANNELS=0,1",
        ),
    ] {
        let mut spec = container(members);
        let found = doors(&spec);
        assert_eq!(found.len(), 1, "{spec}: {found:?}");
        assert_eq!(found[0].kind, kind, "{found:?}");
        assert!(found[0].what.starts_with(what), "{found:?}");
        spec::change(&mut spec, found[0].close.as_ref().expect("it can be closed")).unwrap();
        assert_eq!(doors(&spec), [], "{spec}");
        // What is left is what everyone has, and rules that deny.
        let rules = spec[&"linux"]["resources"]["devices"].as_array_mut().unwrap();
        let allows_all = rules
            .iter()
            .position(|rule| rule["allow"] == true && rule["type"] != "c");
        if let Some(at) = allows_all {
            let denied: Vec<_> = rules.drain(at..).skip(1).collect();
            let deny = |major: &u32| json!({"allow": false, "type": "c", "major": major, "access": "rw"});
            assert_eq!(denied, MAJORS.iter().map(deny).collect::<Vec<_>>());
        }
        for stage in ["prestart", "createContainer"] {
            if let Some(hooks) = spec["hooks"].as_object_mut().unwrap().shift_remove(stage) {
                assert_eq!(hooks, json!([]));
            }
        }
        let env = spec["process"]["env"].as_array_mut().unwrap();
        env.retain(|entry| entry != "NVIDIA_IMEX_CHANNELS=void");
        assert_eq!(spec, container(json!({})));
    }
}

#[test]
fn several_doors_are_all_closed_and_twice_is_harmless() {
    let mut spec = container(json!({
        RULES: {"allow": true, "access": "rwm"},
        DEVICES: {"path": "/dev/nvidiactl", "type": "c", "major": 195, "minor": 255},
        MOUNTS: bind("/dev"),
        "/annotations": {"cdi.k8s.io/mixed": "vendor.com/net=1,nvidia.com/gpu=0"},
    }));
    for door in doors(&spec) {
        spec::change(&mut spec, &door.close.unwrap()).unwrap();
    }
    assert_eq!(doors(&spec), [], "{spec}");
    assert_eq!(spec["annotations"]["cdi.k8s.io/mixed"], "vendor.com/net=1");
    assert_eq!(spec["linux"]["devices"].as_array().unwrap().len(), 1);
}

/// cgroup v1 has no hole in such a rule, and others' devices are behind it too.
#[test]
fn a_door_to_more_than_nvidias_is_not_closed() {
    for rule in [
        json!({"allow": true, "type": "c", "access": "rw"}),
        json!({"allow": true, "type": "c", "major": -1, "minor": 254, "access": "rwm"}),
    ] {
        let found = doors(&container(json!({RULES: rule})));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].close, None, "{found:?}");
    }
}

/// Where no rule limits it, whatever node it has or makes is a door.
#[test]
fn without_rules_nodes_that_it_can_reach_are_doors() {
    let without_rules = |members: Value| {
        let mut spec = container(members);
        spec["linux"]["resources"] = json!(null);
        spec
    };
    let maker = without_rules(json!({}));
    assert_eq!(doors(&maker)[0].what, "no device rule, and CAP_MKNOD");
    let mut closed = maker.clone();
    spec::change(&mut closed, doors(&maker)[0].close.as_ref().unwrap()).unwrap();
    assert_eq!(
        closed["linux"]["resources"]["devices"].as_array().unwrap().len(),
        MAJORS.len()
    );
    // In a user namespace nodes can be made and not opened: its own, or the one that we are in.
    let rootless = Surroundings {
        is_initial_user_namespace: false,
        ..around(&MAJORS)
    };
    assert_eq!(guard::doors(Spec(&maker), &rootless, &[]), []);
    for source in ["/dev", "/", "/run/driver", "/dev/../dev/."] {
        let mut mounted = without_rules(json!({MOUNTS: bind(source)}));
        mounted["linux"]["namespaces"] = json!([{"type": "user"}]);
        let found = doors(&mounted);
        assert_eq!((found.len(), found[0].kind), (1, Kind::Mount), "{found:?}");
        // In a user namespace of ours no rule would hold.
        let found = guard::doors(Spec(&mounted), &rootless, &[]);
        assert_eq!((found.len(), &found[0].close), (1, &None), "{found:?}");
        let found = doors(&mounted);
        spec::change(&mut mounted, found[0].close.as_ref().unwrap()).unwrap();
        assert_eq!(doors(&mounted), [], "{mounted}");
    }
}

/// Without the driver there are no majors, and no devices either.
#[test]
fn without_a_driver_names_alone_count() {
    let privileged = container(json!({RULES: {"allow": true, "access": "rwm"}}));
    let unloaded = around(&[]);
    assert_eq!(guard::doors(Spec(&privileged), &unloaded, &[]), []);
    let named = container(json!({DEVICES: {"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0}}));
    assert_eq!(guard::doors(Spec(&named), &unloaded, &[]).len(), 1);
}

/// What a lease gave is no door.
#[test]
fn mounts_of_a_containers_own_nodes_are_none() {
    let spec = container(json!({MOUNTS: bind("/dev/nvidia-caps/nvidia-cap3")}));
    assert_eq!(guard::doors(Spec(&spec), &around(&MAJORS), &[(237, 3)]), []);
    assert_eq!(guard::doors(Spec(&spec), &around(&MAJORS), &[(237, 4)]).len(), 1);
}

#[test]
fn the_variable_is_voided_where_it_would_be_heeded() {
    let voided = |env: Value| {
        let mut spec = json!({"process": {"env": env}});
        let change = guard::voided(Spec(&spec))?;
        spec::change(&mut spec, &[change]).unwrap();
        assert_eq!(guard::voided(Spec(&spec)), None, "{spec}");
        Some(spec["process"]["env"].clone())
    };
    for value in [
        "all",
        "0",
        "MIG-1",
        "nvidia.com/gpu=all",
        "void,0",
        " void",
        "None",
    ] {
        let env = json!([format!("NVIDIA_VISIBLE_DEVICES={value}"), "A=b"]);
        assert_eq!(
            voided(env),
            Some(json!(["A=b", "NVIDIA_VISIBLE_DEVICES=void"])),
            "{value}"
        );
    }
    let twice = json!(["NVIDIA_VISIBLE_DEVICES=void", "NVIDIA_VISIBLE_DEVICES=all"]);
    assert_eq!(voided(twice), Some(json!(["NVIDIA_VISIBLE_DEVICES=void"])));
    // An old image gets everything where nothing is said.
    let old = json!(["CUDA_VERSION=8.0.61"]);
    assert_eq!(
        voided(old),
        Some(json!(["CUDA_VERSION=8.0.61", "NVIDIA_VISIBLE_DEVICES=void"]))
    );
    for none in [
        json!([]),
        json!(null),
        json!(["NVIDIA_VISIBLE_DEVICES="]),
        json!(["NVIDIA_VISIBLE_DEVICES=void"]),
        json!(["NVIDIA_VISIBLE_DEVICES=none", "CUDA_VERSION=8.0.61"]),
        json!(["CUDA_VERSION=12.4.1", "NVIDIA_REQUIRE_CUDA=cuda>=12.4"]),
        json!(["NVIDIA_VISIBLE_DEVICES", "XNVIDIA_VISIBLE_DEVICES=all"]),
    ] {
        assert_eq!(voided(none.clone()), None, "{none}");
    }
}
