//! The edits that the interposed runtime makes: the same whichever way a container asked, however often its bundle is
//! used, and whichever other doors it passes. That they give it its device and no other is told in own_device.rs.

use serde_json::Value;

use super::{Place, asking, somewhere, with_each_runtime};
use crate::support::bundle::Bundle;
use crate::support::machine::PROGRAM;

fn config(bundle: &Bundle) -> Value {
    let text = std::fs::read(bundle.config_file()).expect("config.json");
    serde_json::from_slice(&text).expect("JSON")
}

/// The entries of our own in a config.json.
fn ours(config: &Value) -> [usize; 3] {
    let count = |pointer: &str, is_ours: &dyn Fn(&Value) -> bool| {
        let entries = config.pointer(pointer).and_then(Value::as_array);
        entries
            .into_iter()
            .flatten()
            .filter(|entry| is_ours(entry))
            .count()
    };
    let hook = |entry: &Value| entry["path"] == PROGRAM;
    [
        count("/hooks/createRuntime", &hook),
        count("/hooks/poststop", &hook),
        count("/linux/devices", &|entry| {
            entry["path"]
                .as_str()
                .is_some_and(|path| path.starts_with("/dev/nvidia"))
        }),
    ]
}

#[test]
fn one_set_of_edits_however_often_a_bundle_is_used() {
    with_each_runtime(1, |place| {
        let bundle = asking("true").write();
        for _ in 0..3 {
            place.engine.run(&bundle).ok();
            assert_eq!(ours(&config(&bundle)), [1, 1, 6], "{}", place.who);
        }
        place.machine.assert_free(&place.who);
    });
}

/// Hooks of ours in the bundle, as plain runc users have them: oci-mig-runtime serves, they confirm and release.
#[test]
fn hooks_of_an_administrators_beside_it() {
    with_each_runtime(1, |place| {
        let bundle = place.machine.bundle();
        let bundle = bundle
            .annotation("mig.profile", super::PROFILE)
            .script("echo $NVIDIA_VISIBLE_DEVICES; ls /dev/nvidia-caps | wc -l");
        let said = place.engine.run(&bundle.write()).ok().stdout;
        let (variable, nodes) = said.trim().split_once('\n').expect("two lines");
        assert!(variable.starts_with("MIG-"), "{}: {said}", place.who);
        assert_eq!(nodes.trim(), "2", "{}", place.who);
        place.machine.assert_free(&place.who);
    });
}

#[test]
fn a_variable_of_the_containers_asks_where_the_configuration_lets_it() {
    let place = somewhere(2);
    let bundle = Bundle::new().env("MIG_PROFILE", "1g.10gb").env("MIG_COUNT", "2");
    let bundle = bundle.script("echo ${NVIDIA_VISIBLE_DEVICES-none}").write();
    assert_eq!(place.engine.run(&bundle).ok().stdout, "none\n");
    place.machine.configure("requests.environment", "true");
    let both = place.engine.run(&bundle).ok().stdout;
    assert_eq!(both.matches("MIG-").count(), 2, "{both}");
    place.machine.assert_free("asked by its environment");
}

/// An image sets its environment: it can't make more of a request than its annotations say.
#[test]
fn an_annotation_is_never_overridden_by_the_environment() {
    let place = somewhere(2);
    place.machine.configure("requests.environment", "true");
    let bundle = asking("echo $NVIDIA_VISIBLE_DEVICES")
        .env("MIG_COUNT", "2")
        .env("MIG_PROFILE", "7g.80gb");
    let one = place.engine.run(&bundle.write()).ok().stdout;
    assert_eq!(one.matches("MIG-").count(), 1, "{one}");
}

/// The engine's file keeps its owner and mode, and nothing is left beside it.
#[test]
fn config_json_keeps_its_owner_and_mode() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let place: Place = somewhere(1);
    let bundle = asking("true").write();
    let file = bundle.config_file();
    chown(&file, Some(4711), Some(4712)).expect("chown");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("chmod");
    place.engine.run(&bundle).ok();
    let found = std::fs::metadata(&file).expect("config.json");
    assert_eq!(
        (found.uid(), found.gid(), found.mode() & 0o7777),
        (4711, 4712, 0o640)
    );
    assert_eq!(std::fs::read_dir(bundle.folder()).expect("the bundle").count(), 1);
}
