//! The program as a person types it.

use std::path::{Path, PathBuf};
use std::process::Command;

fn fake_node(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fake-node"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn known(name: &str) -> PathBuf {
    fake_node::nodes_dir().join(name)
}

#[test]
fn a_node_goes_up_is_changed_and_goes_down() {
    let dir = std::env::temp_dir().join(format!("fake-node-command-{}", std::process::id()));
    let (dir, one, holes) = (dir.to_str().unwrap(), known("one-gpu.json"), known("holes.json"));
    let (up, said, error) = fake_node(&["up", one.to_str().unwrap(), dir]);
    assert!(up, "{error}");
    assert!(said.contains("1 GPUs, 3 MIG devices; --config "), "{said}");
    assert!(fake_node(&["set", dir, "first_touch_ms=5", "hang=nvmlInit_v2"]).0);
    let (again, said, error) = fake_node(&["up", "--again", holes.to_str().unwrap(), dir]);
    assert!(again && said.contains("3 GPUs, 5 MIG devices"), "{said}{error}");
    let faults = fake_node::Node::open(Path::new(dir))
        .unwrap()
        .state()
        .unwrap()
        .faults;
    assert_eq!(
        (faults.first_touch_ms, faults.hang.len()),
        (5, 1),
        "faults outlive a repartition"
    );
    assert!(fake_node(&["down", dir]).0);
    assert!(!Path::new(dir).exists());
    let (twice, _, error) = fake_node(&["down", dir]);
    assert!(!twice && error.contains("is no node that is up"), "{error}");
}

#[test]
fn a_node_is_everyones_to_read_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let dir = std::env::temp_dir().join(format!("fake-node-umask-{}", std::process::id()));
    let one = known("one-gpu.json");
    let up = format!(
        "umask 077; exec {:?} up {one:?} {dir:?}",
        env!("CARGO_BIN_EXE_fake-node")
    );
    assert!(Command::new("sh").args(["-c", &up]).status().unwrap().success());
    for (path, mode) in [
        (".", 0o755),
        ("dev/nvidia-caps", 0o755),
        ("proc/devices", 0o644),
        ("state.json", 0o644),
    ] {
        let found = std::fs::metadata(dir.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{path}");
    }
    assert!(fake_node(&["down", dir.to_str().unwrap()]).0);
}

#[test]
fn help_teaches_and_errors_are_one_line() {
    for (command, word) in [
        ("up", "tests/nodes/README.md"),
        ("set", "first_touch_ms=3000"),
        ("down", "Remove"),
    ] {
        let (ok, help, _) = fake_node(&[command, "--help"]);
        assert!(ok && help.contains(word), "{help}");
    }
    let (ok, _, error) = fake_node(&["up", "/nonexistent.json", "/nonexistent"]);
    assert!(
        !ok && error.lines().count() == 1 && error.contains("/nonexistent.json"),
        "{error}"
    );
}
