//! Leases that are not the container's: written by hand, copied, taken back meanwhile, or another's.

use serde_json::{Value, json};

use super::{ASKS, HOST, REFUSED, USAGE, assert_says, config, ledger, refuses_document, serves, state};
use crate::support::machine::{Machine, PROGRAM};
use crate::support::process::{Outcome, Running, run_with, start};

const NOBODYS: &str = "0123456789abcdef0123456789abcdef";
const REMOVE_IT: &str = "remove it: it is written by oci-mig-hook alone";
const ANEW: &str = "start it anew from its engine; mig.lease is never set by hand";
const GONE: &str = "this container's reservation is gone: its engine was gone, it took longer than lease.pending to \
                    come into being, or somebody released it; start it again; if it happens again, raise lease.pending";

/// A container that precreate has served, about to exist.
struct Served {
    spec: Value,
    process: Running,
}

impl Served {
    fn new(machine: &Machine) -> Self {
        // What stands for the container's process here has no control group of its own.
        if !std::fs::read_to_string(machine.config())
            .expect("config.toml")
            .contains("allow_privileged")
        {
            machine.configure("allow_privileged", "true");
        }
        Self {
            spec: serves(machine),
            process: start(std::process::Command::new("sleep").arg("1000"), None),
        }
    }

    fn lease(&self) -> &str {
        self.spec["annotations"]["mig.lease"].as_str().expect("a lease")
    }

    fn id(&self) -> &str {
        let path = self.spec["linux"]["cgroupsPath"].as_str().expect("a path");
        path.rsplit_once("libpod-").expect("Podman's").1
    }

    fn state(&self) -> Value {
        json!({"ociVersion": "1.0.2-dev", "id": self.id(), "status": "creating", "pid": self.process.pid(),
               "bundle": "/no/such/bundle", "annotations": self.spec["annotations"]})
    }

    /// The hook that precreate wrote for this stage, called with `state`.
    fn call(&self, stage: &str, state: &Value) -> Outcome {
        let hook = &self.spec["hooks"][stage][0];
        assert_eq!(hook["path"], PROGRAM);
        let args = hook["args"].as_array().expect("arguments").iter().skip(1);
        let mut command = std::process::Command::new(PROGRAM);
        command.args(args.map(|arg| arg.as_str().expect("text")));
        run_with(&mut command, &state.to_string())
    }

    /// That call fails so, and changes nothing.
    #[track_caller]
    fn is_refused(&self, machine: &Machine, state: &Value, code: i32, line: &str) {
        let before = ledger(machine);
        assert_says(&self.call("createRuntime", state), code, line);
        assert!(ledger(machine) == before, "the ledger has changed");
    }
}

#[test]
fn precreate_with_a_lease_that_nobody_wrote() {
    let machine = Machine::named("one-gpu");
    let line = format!(
        "annotation mig.lease: this container's config has it without our hooks beside it; {REMOVE_IT}"
    );
    let no_id = format!("annotation mig.lease: 'x' is not a lease id (32 hex digits); {REMOVE_IT}");
    for (annotations, line) in [
        (&[("mig.lease", NOBODYS)][..], &line),
        (&[ASKS[0], ("mig.lease", NOBODYS)], &line),
        (&[ASKS[0], ("mig.lease", "x")], &no_id),
    ] {
        refuses_document(&machine, &config(annotations), USAGE, line);
        let mut document = config(annotations);
        document["hooks"] =
            json!({"createRuntime": [{"path": "/usr/bin/true", "args": ["oci-mig-hook", "createRuntime"]}]});
        refuses_document(&machine, &document, USAGE, line);
    }
    // A living lease's id, found out somehow, is no better.
    let served = Served::new(&machine);
    let annotations = [("mig.profile", "2g.20gb"), ("mig.lease", served.lease())];
    refuses_document(&machine, &config(&annotations), USAGE, &line);
}

#[test]
fn create_runtime_with_a_lease_that_nobody_wrote() {
    let machine = Machine::named("one-gpu");
    let served = Served::new(&machine);
    let before = ledger(&machine);
    let forged = |why: &str| (USAGE, format!("annotation mig.lease: {why}; {REMOVE_IT}"));
    for (lease, (code, line)) in [
        ("x", forged("'x' is not a lease id (32 hex digits)")),
        (
            "../../../etc/passwd",
            forged("'../../../etc/passwd' is not a lease id (32 hex digits)"),
        ),
        (served.lease(), forged("that lease is another container's")),
        (NOBODYS, (HOST, GONE.to_owned())),
    ] {
        let state = state(&[ASKS[0], ("mig.lease", lease)]);
        for stage in ["createRuntime", "prestart"] {
            assert_says(&machine.stage(stage, &state.to_string()), code, &line);
        }
        // Nothing is given back on its word.
        machine.stage("poststop", &state.to_string()).ok();
        assert!(ledger(&machine) == before, "{lease}: the ledger has changed");
    }
}

/// Whoever takes the annotation out of an edited config.json leaves the device in.
#[test]
fn create_runtime_without_the_lease_that_was_written() {
    let machine = Machine::named("one-gpu");
    let served = Served::new(&machine);
    let mut state = served.state();
    state["annotations"] = json!({"mig.profile": "1g.10gb"});
    let line = "this container's reservation is gone: its config.json has our edits, and no annotation mig.lease; \
                start it anew from its engine";
    served.is_refused(&machine, &state, HOST, line);
    state["annotations"] = json!(null);
    served.is_refused(&machine, &state, HOST, line);
}

/// Its device rules would hold for whoever shares its control group, or not at all.
#[test]
fn confirm_of_a_container_without_a_control_group() {
    let machine = Machine::named("one-gpu");
    let served = Served::new(&machine);
    let text = std::fs::read_to_string(machine.config()).expect("config.toml");
    let without = text.replace("allow_privileged = true\n", "");
    std::fs::write(machine.config(), without).expect("config.toml");
    let line = "this container can't be isolated: it has no cgroup of its own, so no device rule holds; \
                run it without those rights, or set allow_privileged = true to trust every such container";
    served.is_refused(&machine, &served.state(), REFUSED, line);
}

#[test]
fn confirm_without_a_lease() {
    let machine = Machine::named("one-gpu");
    let served = Served::new(&machine);
    let file = machine.ledger().join(format!("leases/{}.json", served.lease()));
    std::fs::remove_file(file).expect("no lease");
    served.is_refused(&machine, &served.state(), HOST, GONE);
}

/// A process that stands in for a container has no mount namespace in which anything could be hidden from it.
fn without_mask(machine: &Machine) {
    machine.configure("mask_proc", "false");
}

/// It was taken back because it waited too long, and another has the device.
#[test]
fn confirm_of_a_lease_that_was_taken_back() {
    let machine = Machine::with(&["1g.10gb"]);
    machine.configure("lease.pending", "\"100ms\"");
    without_mask(&machine);
    let late = Served::new(&machine);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let next = Served::new(&machine);
    late.is_refused(&machine, &late.state(), HOST, GONE);
    next.call("createRuntime", &next.state()).ok();
    late.call("poststop", &late.state()).ok();
    assert_eq!(machine.leases(), 1, "a late end is not the next one's");
}

#[test]
fn confirm_of_anothers_lease() {
    let machine = Machine::with(&["1g.10gb"; 2]);
    without_mask(&machine);
    let (one, other) = (Served::new(&machine), Served::new(&machine));
    let own = |why: String| format!("this container's reservation is not its own: {why}; {ANEW}");
    let lease = one.lease();

    let mut stranger = one.state();
    stranger["id"] = json!("lone");
    let holder: String = one.id().chars().take(12).collect();
    one.is_refused(
        &machine,
        &stranger,
        HOST,
        &own(format!("lease {lease} is container {holder}'s")),
    );

    // Its own lease, with the devices of another in its config.
    let why = own(format!(
        "lease {lease} is for other devices than this container was given"
    ));
    other.is_refused(&machine, &one.state(), HOST, &why);

    // Twice is harmless; another process under the same id is an earlier run's successor.
    one.call("createRuntime", &one.state()).ok();
    let held = ledger(&machine);
    one.call("createRuntime", &one.state()).ok();
    assert!(ledger(&machine) == held, "the second call changed something");
    let mut again = one.state();
    again["pid"] = json!(other.process.pid());
    one.is_refused(
        &machine,
        &again,
        HOST,
        &own(format!("lease {lease} is held by an earlier run of it")),
    );

    // The end of another is not this one's.
    one.call("poststop", &stranger).ok();
    assert!(ledger(&machine) == held, "another's end gave it back");
}

/// A bundle that was copied from a container that had been served: what we wrote there is taken out again, and the copy
/// gets a device of its own.
#[test]
fn a_copied_config_is_served_anew() {
    let machine = Machine::with(&["1g.10gb"; 2]);
    let served = Served::new(&machine);
    let mut copy = served.spec.clone();
    copy["linux"]["cgroupsPath"] = config(ASKS)["linux"]["cgroupsPath"].clone();
    let outcome = machine.stage("precreate", &copy.to_string()).ok();
    let anew: Value = serde_json::from_str(&outcome.stdout).expect("config.json");
    assert_ne!(anew["annotations"]["mig.lease"], copy["annotations"]["mig.lease"]);
    assert_ne!(anew["process"]["env"], copy["process"]["env"]);
    for list in [
        "/hooks/createRuntime",
        "/hooks/poststop",
        "/linux/devices",
        "/linux/resources/devices",
    ] {
        let length = |spec: &Value| spec.pointer(list).and_then(Value::as_array).map(Vec::len);
        assert_eq!(length(&anew), length(&copy), "{list}");
    }
    assert_eq!(machine.leases(), 2);
    // Called twice for one container, it changes nothing.
    let again = machine.stage("precreate", &served.spec.to_string()).ok();
    assert_eq!(again.stdout, served.spec.to_string());
    assert_eq!(machine.leases(), 2);
}
