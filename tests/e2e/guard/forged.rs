//! Annotations that claim what isn't so: they get nobody past the guard.

use crate::support::bundle::Bundle;
use crate::support::machine::{Machine, PROGRAM};
use crate::support::process::{Outcome, run, run_with};

use super::{REACHES, guarded};

fn with_device(machine: &Machine, annotations: &[(&str, &str)]) -> Bundle {
    let gpu = machine.major("nvidia").expect("a major");
    let bundle = Bundle::new().device("/dev/nvidia0", gpu, 0, "rwm");
    annotations
        .iter()
        .fold(bundle, |bundle, (key, value)| bundle.annotation(key, value))
}

fn precreate(machine: &Machine, bundle: &Bundle) -> Outcome {
    let mut command = machine.program("precreate");
    run_with(command.arg("--guard"), &bundle.config.to_string())
}

fn create(machine: &Machine, bundle: Bundle) -> Outcome {
    machine.stand_before("/usr/bin/true".as_ref());
    let bundle = bundle.write();
    run(machine
        .interposed()
        .args(["create", "-b"])
        .arg(bundle.folder())
        .arg("c"))
}

/// A sandbox gets nothing, and so has not asked; nor has a container that is asked for by another's name.
#[test]
fn who_is_not_served_is_judged() {
    for annotations in [
        &[
            ("io.kubernetes.cri.container-type", "sandbox"),
            ("mig.profile", "1g.10gb"),
        ][..],
        &[
            ("io.kubernetes.cri-o.ContainerType", "sandbox"),
            ("mig.profile", "1g.10gb"),
        ],
        &[
            ("io.kubernetes.cri.container-type", "container"),
            ("io.kubernetes.cri.container-name", "web"),
            ("mig.profile/db", "1g.10gb"),
        ],
        &[("mig.example.com/profile", "1g.10gb")],
        // Contradictions are nothing to who didn't ask.
        &[
            ("io.kubernetes.cri.container-type", "sandbox"),
            ("io.kubernetes.cri-o.ContainerType", "container"),
        ],
    ] {
        let machine = guarded("refuse");
        let bundle = with_device(&machine, annotations);
        let outcome = precreate(&machine, &bundle);
        assert!(outcome.stderr.contains(REACHES), "{annotations:?}: {outcome}");
        let outcome = create(&machine, bundle);
        assert!(outcome.stderr.contains(REACHES), "{annotations:?}: {outcome}");
        assert!(!machine.ledger().exists());
    }
}

#[test]
fn a_lease_that_nobody_gave() {
    let lease = ("mig.lease", "0123456789abcdef0123456789abcdef");
    let machine = guarded("refuse");
    let outcome = precreate(&machine, &with_device(&machine, &[lease]));
    assert!(outcome.stderr.contains(REACHES), "{outcome}");
    // The runtime's own door serves and guards in one: it is forged before anything else.
    let outcome = create(&machine, with_device(&machine, &[lease]));
    assert!(outcome.failed().stderr.contains("annotation mig.lease: "));
    // With hooks of ours beside it, as a bundle that was copied has them: they are taken out, and what is left is judged.
    let caps = machine.major("nvidia-caps").expect("a major");
    let edited = format!("/dev/nvidia-caps/nvidia-cap3={caps}:3:r");
    let config = machine.config();
    let uuid = "MIG-1a2b3c4d-0000-5000-8000-0123456789ab";
    let bundle = with_device(&machine, &[lease]).hook(
        "createRuntime",
        PROGRAM.as_ref(),
        &[
            "createRuntime",
            "--config",
            config.to_str().expect("a path of ours"),
            "--devices",
            uuid,
            "--nodes",
            &edited,
        ],
    );
    let outcome = create(&machine, bundle);
    assert!(outcome.stderr.contains(REACHES), "{outcome}");
}

/// A request that doesn't parse is no request: it stops here too, whether or not the other entry is there.
#[test]
fn a_request_that_is_none() {
    let machine = guarded("refuse");
    let outcome = precreate(&machine, &with_device(&machine, &[("mig.profile", "large")]));
    assert_eq!((outcome.code(), outcome.stdout.as_str()), (2, ""), "{outcome}");
}

/// The entry for every container echoes what it has nothing to say of, byte for byte.
#[test]
fn what_is_left_alone_comes_back_as_it_was() {
    let machine = guarded("strip");
    let documents = [
        with_device(&machine, &[("mig.profile", "1g.10gb")]).config.take(),
        Bundle::new().config.take(),
    ];
    for document in documents {
        let text = serde_json::to_string_pretty(&document).expect("JSON") + "\n";
        let outcome = run_with(machine.program("precreate").arg("--guard"), &text).ok();
        assert!(outcome.stdout == text && outcome.stderr.is_empty(), "{outcome}");
    }
    let machine = guarded("off");
    for document in ["", "not JSON"] {
        let mut command = machine.program("precreate");
        assert_eq!(run_with(command.arg("--guard"), document).ok().stdout, document);
    }
    let machine = guarded("warn");
    let outcome = run_with(machine.program("precreate").arg("--guard"), "not JSON");
    assert_eq!(outcome.code(), 3, "{outcome}");
}
