//! An entry point that meets our own mounts takes exactly those out, or leaves them where they are right.

use serde_json::{Value, json};

use super::{SCRIPT, assert_usual, bundle, engine, machine, mounted};
use crate::support::driver::Layout;
use crate::support::rootfs;
use crate::support::runtime::Runtime;
use crate::support::scratch::Scratch;

fn mounts(config: &Value) -> Vec<Value> {
    config["mounts"].as_array().expect("mounts").clone()
}

#[test]
fn a_bundle_that_is_run_again_has_each_mount_once() {
    let (machine, root) = (machine(), Layout::Multiarch.rootfs());
    let bundle = bundle(root.path(), SCRIPT).write();
    for _ in 0..3 {
        let outcome = engine(&machine).run(&bundle).ok();
        assert_usual(Layout::Multiarch, &outcome, "again");
    }
}

#[test]
fn a_bundle_that_does_not_ask_any_more_loses_them_and_nothing_else() {
    let (machine, root) = (machine(), Layout::Multiarch.rootfs());
    let own = json!({"destination": "/usr/lib/x86_64-linux-gnu/libcuda.so.1", "type": "bind", "source": "/etc/hostname",
                     "options": ["bind", "ro"]});
    let mut bundle = bundle(root.path(), SCRIPT);
    bundle.config["mounts"]
        .as_array_mut()
        .expect("mounts")
        .push(own.clone());
    let before = mounts(&bundle.config);
    let bundle = bundle.write();
    engine(&machine).run(&bundle).ok();
    let read = || -> Value {
        let text = std::fs::read_to_string(bundle.config_file()).expect("config.json");
        serde_json::from_str(&text).expect("JSON")
    };
    let mut edited = read();
    assert!(mounts(&edited).len() > before.len() + 20);
    assert_eq!(mounts(&edited)[..before.len()], before);
    edited["annotations"]
        .as_object_mut()
        .expect("annotations")
        .remove("mig.profile");
    std::fs::write(bundle.config_file(), edited.to_string()).expect("config.json");
    let outcome = engine(&machine).run(&bundle).ok();
    assert_eq!(mounted(&outcome.stdout).len(), 0, "{outcome}");
    assert_eq!(mounts(&read()), before);
}

/// Podman's precreate, and then oci-mig-runtime as Podman's runtime.
#[test]
fn both_doors_give_them_once() {
    let (machine, root, folder) = (machine(), Layout::Multiarch.rootfs(), Scratch::new("image"));
    let runtime = Runtime::Crun;
    let podman = machine
        .podman(runtime, runtime.views()[0], &[])
        .interposed(&machine);
    let archive = rootfs::pack(root.path(), &folder);
    let image = "localhost/driver-files";
    crate::support::process::run(podman.command("import").arg("--quiet").arg(archive).arg(image)).ok();
    let outcome = podman
        .run_image(image, &["--annotation=mig.profile=1g.10gb"], SCRIPT)
        .ok();
    assert_usual(Layout::Multiarch, &outcome, "both doors");
    machine.assert_free("both doors");
}
