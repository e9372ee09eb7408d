//! `refresh`: what it says of a node, and of what changed on it.

use fake_node::NodeSpec;
use serde_json::Value;

use crate::{cut, instance, node, ok, program, remembered, up};

fn refresh(node: &fake_node::Scratch) -> Value {
    serde_json::from_str(&ok(&mut program(node, &["refresh", "--json"]))).expect("JSON")
}

#[test]
fn it_says_what_there_is() {
    let node = node("excluded-lost");
    let text = ok(&mut program(&node, &["refresh"]));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "4 MIG devices on 2 GPUs, driver 550.54.15", "{text}");
    assert!(
        lines.contains(&"left out: GPU 1: it has fallen off the bus (reset the machine; 'dmesg' tells why)"),
        "{text}"
    );
    assert!(
        text.contains("\nleft out: GPU 0000:07:00.0: the driver excludes it (NVreg_ExcludedGpus)\n"),
        "{text}"
    );
    assert!(!text.contains("not remembered"), "{text}");
}

#[test]
fn it_says_what_changed() {
    let node = up(&cut(["2g.20gb", "1g.20gb", "1g.10gb"].map(instance).to_vec()));
    let uuids: Vec<String> = node
        .devices()
        .expect("devices")
        .into_iter()
        .map(|device| device.uuid)
        .collect();
    let first = refresh(&node);
    assert_eq!(first["new"], Value::Array(vec![]), "nothing was remembered");
    node.repartition(&cut(["1g.20gb", "2g.20gb", "3g.40gb"].map(instance).to_vec()))
        .expect("a repartition");
    let text = ok(&mut program(&node, &["refresh"]));
    let new = node.devices().expect("devices")[0].uuid.clone();
    let expected = [
        "3 MIG devices on 1 GPU, driver 550.54.15".to_owned(),
        format!("- 1g.10gb {} on GPU 0", uuids[2]),
        format!("+ 3g.40gb {new} on GPU 0"),
        format!("~ 1g.20gb {} on GPU 0, was 2g.20gb", uuids[0]),
        format!("~ 2g.20gb {} on GPU 0, was 1g.20gb", uuids[1]),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let devices = remembered(&node).expect("an inventory").devices().count();
    assert_eq!(devices, 3);
    assert_eq!(
        ok(&mut program(&node, &["refresh"])).lines().count(),
        1,
        "nothing changed since"
    );
}

#[test]
fn json_is_for_scripts() {
    let node = node("hgx-h100");
    let found = refresh(&node);
    assert_eq!(
        (&found["devices"], &found["gpus"], &found["remembered"]),
        (&56.into(), &8.into(), &true.into())
    );
    node.repartition(&NodeSpec::default()).expect("a repartition");
    let found = refresh(&node);
    assert_eq!(found["gone"].as_array().map(Vec::len), Some(56));
    assert_eq!(found["devices"], 0);
}

#[test]
fn without_a_driver_it_fails() {
    let node = node("one-gpu");
    ok(&mut program(&node, &["refresh"]));
    std::fs::remove_file(node.proc().join("driver/nvidia/version")).expect("no driver");
    let output = program(&node, &["refresh"])
        .output()
        .expect("the program under test");
    assert_eq!(output.status.code(), Some(3));
    let line = String::from_utf8(output.stderr).expect("text");
    assert!(
        line.starts_with("oci-mig-hook: the NVIDIA driver is not loaded: "),
        "{line}"
    );
    assert_eq!(remembered(&node), None);
}
