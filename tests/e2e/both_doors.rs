//! Both doors at once: Podman with precreate and with oci-mig-runtime, or with a createRuntime hook in hooks.d beside
//! what precreate wrote. A container still has one lease, and one set of edits in the config.json that the real runtime
//! gets.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::cgroups::View;
use crate::support::machine::{Machine, PROGRAM};
use crate::support::podman::Podman;
use crate::support::probe::Seen;
use crate::support::process::run;
use crate::support::runtime::Runtime;
use crate::support::scratch::Scratch;

const ASK: &str = "--annotation=mig.profile=2g.20gb";
const VARIABLE: &str = "NVIDIA_VISIBLE_DEVICES=";

/// The first of NVIDIA's majors; a container's usual devices have smaller ones.
const NVIDIA: i64 = 195;

/// Each runtime, and cgroup v1 and v2.
const PLACES: [(Runtime, View); 3] = [
    (Runtime::Runc, View::Host),
    (Runtime::Crun, View::V1),
    (Runtime::Crun, View::V2),
];

/// Ways into one container.
#[derive(Clone, Copy, Debug)]
struct Doors {
    precreate: bool,
    create_runtime: bool,
    interposed: bool,
}

const ALL: [Doors; 4] = [
    Doors {
        precreate: true,
        create_runtime: false,
        interposed: true,
    },
    Doors {
        precreate: true,
        create_runtime: true,
        interposed: false,
    },
    Doors {
        precreate: false,
        create_runtime: true,
        interposed: true,
    },
    Doors {
        precreate: true,
        create_runtime: true,
        interposed: true,
    },
];

impl Doors {
    fn podman(self, machine: &Machine, runtime: Runtime, view: View) -> Podman {
        let hooks_d = create_runtime(machine);
        let more: &[&Path] = if self.create_runtime {
            &[hooks_d.path()]
        } else {
            &[]
        };
        let podman = match self.precreate {
            true => machine.podman(runtime, view, more),
            false => Podman::new(runtime, view, more),
        };
        match self.interposed {
            true => podman.interposed(machine),
            false => podman,
        }
    }
}

/// A hooks folder as CRI-O's users have it: createRuntime and poststop.
fn create_runtime(machine: &Machine) -> Scratch {
    let folder = Scratch::new("hooks");
    for stage in ["createRuntime", "poststop"] {
        let hook = json!({
            "version": "1.0.0",
            "hook": {
                "path": PROGRAM,
                "args": ["oci-mig-hook", stage, "--config", machine.config()],
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            },
            "when": {"annotations": {r"^mig\.": ".*"}},
            "stages": [stage],
        });
        folder.file(&format!("{stage}.json"), &hook.to_string());
    }
    folder
}

/// A list's entries by what `name` calls them, with how often they are there.
fn counts(list: &Value, name: impl Fn(&Value) -> Option<String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in list.as_array().into_iter().flatten().filter_map(name) {
        *counts.entry(entry).or_default() += 1;
    }
    counts
}

/// What of our edits is not there exactly once, and how often it is.
fn not_once(config: &Value) -> BTreeMap<String, usize> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut found = counts(&config["process"]["env"], |entry| {
        text(entry)?.strip_prefix(VARIABLE).map(|_| VARIABLE.to_owned())
    });
    for stage in ["createRuntime", "poststop"] {
        found.extend(counts(&config["hooks"][stage], |hook| {
            (hook["path"] == PROGRAM).then(|| stage.to_owned())
        }));
    }
    let node = |path: &Value| text(path).filter(|path| path.starts_with("/dev/nvidia"));
    found.extend(counts(&config["linux"]["devices"], |device| {
        node(&device["path"])
    }));
    found.extend(counts(&config["linux"]["resources"]["devices"], |rule| {
        let is_exact = rule["allow"] == true && rule["major"].as_i64()? >= NVIDIA && rule["minor"].is_i64();
        is_exact.then(|| format!("rule {}:{}", rule["major"], rule["minor"]))
    }));
    // Nodes and rules: nvidiactl, uvm, uvm-tools, the GPU and two capabilities.
    let expected = [VARIABLE, "createRuntime", "poststop"].len() + 2 * 6;
    assert_eq!(found.len(), expected, "{found:?}");
    found.retain(|_, count| *count != 1);
    found
}

#[test]
fn one_lease_and_one_set_of_edits() {
    for (runtime, view) in PLACES
        .into_iter()
        .filter(|(runtime, view)| runtime.views().contains(view))
    {
        for doors in ALL {
            let who = format!("{runtime} {view} {doors:?}");
            let machine = Machine::named("one-gpu");
            let podman = doors.podman(&machine, runtime, view);
            let own = machine.device("2g.20gb");
            let probe = machine.probe(&own).script();
            let seen = Seen::read(&podman.run(&[ASK, "--cap-add=MKNOD"], &probe).ok().stdout);
            machine.assert_isolated(&seen, &own, true, &who);
            assert_eq!(seen.visible_devices(), Some(own.uuid.as_str()), "{who}");
            machine.assert_free(&who);

            let id = podman.sleeper(&[ASK]);
            assert_eq!(machine.leases(), 1, "{who}");
            let taken = machine.taken();
            assert_eq!(
                taken.get(&own.uuid),
                Some(&("held".to_owned(), id.clone())),
                "{who}: {taken:?}"
            );
            assert_eq!(not_once(&podman.config(&id)), BTreeMap::new(), "{who}");
            podman.call(&["restart", "--time=1", &id]).ok();
            assert_eq!(machine.taken(), taken, "{who}");
            assert_eq!(not_once(&podman.config(&id)), BTreeMap::new(), "{who} again");
            podman.call(&["rm", "--force", "--time=0", &id]).ok();
            machine.assert_free(&who);
        }
    }
}

/// The judge would see it.
#[test]
fn a_second_set_of_edits_is_seen() {
    let machine = Machine::named("one-gpu");
    let view = *Runtime::Runc.views().first().expect("a view");
    let podman = ALL[0].podman(&machine, Runtime::Runc, view);
    let mut config = podman.config(&podman.sleeper(&[ASK]));
    for list in [
        "/process/env",
        "/hooks/poststop",
        "/linux/devices",
        "/linux/resources/devices",
    ] {
        let list = config
            .pointer_mut(list)
            .and_then(Value::as_array_mut)
            .expect("a list");
        list.extend(list.clone());
    }
    assert_eq!(not_once(&config).len(), 1 + 1 + 6 + 6);
}

#[test]
fn a_failed_start_leaves_nothing() {
    for (runtime, view) in PLACES
        .into_iter()
        .filter(|(runtime, view)| runtime.views().contains(view))
    {
        for doors in ALL {
            let who = format!("{runtime} {view} {doors:?}");
            let machine = Machine::with(&["2g.20gb"]);
            let podman = doors.podman(&machine, runtime, view);
            let mut command = podman.container("run");
            run(command.args(["--rm", ASK, crate::support::podman::IMAGE, "no-such-program"])).failed();
            // What crun and Podman forget the next reservation takes back.
            podman.run(&[ASK], "true").ok();
            machine.assert_free(&who);
        }
    }
}
