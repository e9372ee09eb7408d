//! precreate's guard: a container that did not ask, and has a device of NVIDIA's all the same.

use std::path::PathBuf;

use serde_json::Value;

use crate::ground::Ground;
use crate::judge::Judge;
use crate::maker::{Call, Ended};
use crate::plan::Point;
use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::trial::Stage;
use crate::watcher::Watcher;

/// A device that no container may have that did not ask.
const CONTROL: &str = "/dev/nvidiactl";

pub struct Guard {
    ground: Ground,
    document: String,
}

impl Guard {
    pub fn new() -> Self {
        let ground = Ground::new(View::Host);
        ground.machine.configure("guard", "\"strip\"");
        let major = ground.machine.number("nvidia");
        let bundle = Bundle::new().device(CONTROL, major, 255, "rw");
        Self {
            document: bundle.config.to_string(),
            ground,
        }
    }
}

impl Stage for Guard {
    fn name(&self) -> String {
        "precreate --guard, strips".to_owned()
    }

    fn dear(&self) -> Vec<PathBuf> {
        vec![self.ground.machine.ledger()]
    }

    fn play(&self, watcher: &mut dyn Watcher, judge: &mut Judge, struck: Option<&Point>) -> Ended {
        self.ground.restore();
        let call = Call::with(&self.document);
        let mut command = self.ground.command(&call, "precreate");
        command.arg("--guard");
        let mut ended = call.run_traced(command, watcher);
        self.ground.judge(judge);
        if ended.code == 0 {
            // Nothing that fails opens the door.
            match serde_json::from_str::<Value>(&ended.stdout) {
                Ok(_) if !ended.stdout.contains(CONTROL) => {}
                _ => judge.wrong(format!("it handed on: {}", ended.stdout)),
            }
        }
        ended.end_maker();
        self.ground.judge_nothing_lost(judge, struck);
        ended
    }
}
