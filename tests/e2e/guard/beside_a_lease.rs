//! A container that asked is given its own device, and is refused with any other of NVIDIA's beside it.

use serde_json::json;

use crate::support::bundle::Bundle;
use crate::support::machine::Machine;
use crate::support::process::{Outcome, run};
use crate::support::runtime::{Engine, Runtime};
use crate::support::scratch::Scratch;

use super::guarded;

const ISOLATED: &str = "oci-mig-hook: this container can't be isolated: ";

fn create(machine: &Machine, bundle: Bundle) -> Outcome {
    machine.stand_before("/usr/bin/true".as_ref());
    let bundle = bundle.annotation("mig.profile", "1g.10gb").write();
    let outcome = run(machine
        .interposed()
        .args(["create", "-b"])
        .arg(bundle.folder())
        .arg("c"));
    assert_eq!(
        machine.leases(),
        usize::from(outcome.status.success()),
        "{outcome}"
    );
    outcome
}

/// Whatever `guard` says.
#[test]
fn other_nodes_of_any_nvidia_driver() {
    for mode in ["off", "strip"] {
        let machine = guarded(mode);
        let imex = machine.major("nvidia-caps-imex-channels").expect("a major");
        let others = [
            Bundle::new().rule(imex, 0, "rw"),
            Bundle::new().device("/dev/channel0", imex, 0, "rw"),
            Bundle::new().bind(&machine.dev().join("nvidia-caps"), "/caps"),
            Bundle::new().bind(&machine.dev().join("nvidia-caps/nvidia-cap1"), "/cap"),
        ];
        for bundle in others {
            let outcome = create(&machine, bundle).failed();
            assert!(outcome.stderr.starts_with(ISOLATED), "{outcome}");
            assert_eq!(outcome.code(), 1, "{outcome}");
        }
        // Its own GPU's nodes may be mounted or named by whoever likes to.
        let gpu = machine.major("nvidia").expect("a major");
        let own = Bundle::new().bind(&machine.dev().join("nvidia0"), "/gpu").device(
            "/dev/nvidiactl",
            gpu,
            255,
            "rw",
        );
        create(&machine, own).ok();
    }
}

#[test]
fn what_names_other_devices_where_there_is_a_guard() {
    let named = || {
        [
            Bundle::new().annotation("cdi.k8s.io/x", "nvidia.com/gpu=0"),
            Bundle::new().env("NVIDIA_IMEX_CHANNELS", "0"),
            Bundle::new().bind("/dev/null".as_ref(), "/var/run/nvidia-container-devices/all"),
        ]
    };
    for bundle in named() {
        create(&guarded("off"), bundle).ok();
    }
    for bundle in named() {
        let outcome = create(&guarded("warn"), bundle).failed();
        assert!(outcome.stderr.starts_with(ISOLATED), "{outcome}");
    }
}

/// NVIDIA's hook goes by the variable: ours, where it could be set; the image's, in a live container.
#[test]
fn nvidias_hook() {
    let folder = Scratch::new("nvidia");
    let (program, mark) = super::nvidias_hook(&folder);
    let machine = guarded("strip");
    create(&machine, Bundle::new().hook("prestart", &program, &["prestart"])).ok();
    let (runtime, view) = (Runtime::Runc, Runtime::Runc.views()[0]);
    for (mode, value, served) in [
        ("off", "all", false),
        ("off", "void", true),
        ("warn", "all", false),
        ("warn", "void", true),
    ] {
        let machine = guarded(mode);
        let bundle = machine.bundle().annotation("mig.profile", "1g.10gb");
        let bundle = bundle.env("NVIDIA_VISIBLE_DEVICES", value);
        let bundle = bundle.with(|config| {
            config["hooks"]["createContainer"] =
                json!([{"path": program, "args": ["x"], "env": ["PATH=/bin:/usr/bin"]}]);
        });
        let outcome = Engine::new(runtime, view).run(&bundle.write());
        assert_eq!(outcome.status.success(), served, "{mode} {value}: {outcome}");
        assert_eq!(
            std::fs::remove_file(&mark).is_ok(),
            served,
            "{mode} {value}: {outcome}"
        );
        machine.assert_free(mode);
    }
}
