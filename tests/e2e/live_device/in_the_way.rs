//! What the runtime or an engine has put where our nodes go.

use std::fs;

use serde_json::{Value, json};

use super::{PROFILE, bundle, isolated, refused};
use crate::support::machine::Machine;
use crate::support::runtime::{Engine, Runtime, everywhere};
use crate::support::scratch::Scratch;

/// The spec's own devices are there before the hook runs. Those that stand where ours belong give way.
#[test]
fn a_wrong_node_in_a_nodes_place_is_replaced() {
    for (runtime, view) in everywhere() {
        let (machine, engine) = (Machine::named("one-gpu"), Engine::new(runtime, view));
        let own = machine.device(PROFILE);
        let wrong = |config: &mut Value, path: &str, mode: u32, (major, minor): (u32, u32)| {
            let node = json!({"path": path, "type": "c", "major": major, "minor": minor, "fileMode": mode,
                              "uid": 7, "gid": 7});
            match &mut config["linux"]["devices"] {
                Value::Array(list) => list.push(node),
                other => *other = json!([node]),
            }
        };
        let bundle = bundle(&machine, "createRuntime").with(|config| {
            for (path, major, minor, _) in machine.nodes_of(&own) {
                // Another number, and of the first the right number with another mode and owner.
                let number = if path == "/dev/nvidiactl" {
                    (major, minor)
                } else {
                    (1, 3)
                };
                wrong(config, &path, 0o600, number);
            }
        });
        isolated(&machine, &engine, bundle, true, &format!("{runtime} {view}"));
    }
}

#[test]
fn what_is_mounted_in_a_nodes_place_is_not_ours_to_take_away() {
    for (runtime, view) in everywhere() {
        let (machine, engine) = (Machine::named("one-gpu"), Engine::new(runtime, view));
        let folder = Scratch::new("volume");
        let file = folder.file("somebodys", "somebody's\n");
        let bundle = bundle(&machine, "createRuntime").bind(&file, "/dev/nvidiactl");
        let words = "can't put /dev/nvidiactl into the container: mount in ";
        let outcome = refused(&machine, &engine, bundle, words, &format!("{runtime} {view}"));
        if runtime == Runtime::Runc {
            let remedy =
                "something else is mounted there; take that mount out of the container's configuration";
            assert!(outcome.stderr.contains(remedy), "{outcome}");
        }
        assert_eq!(fs::read_to_string(&file).expect("the file"), "somebody's\n");
    }
}
