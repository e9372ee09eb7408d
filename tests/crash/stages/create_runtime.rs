//! createRuntime of a container that was served before: confirms its lease.

use std::path::PathBuf;

use serde_json::Value;

use crate::documents::{config, hook_arguments, lease_of, state};
use crate::ground::{Ground, told};
use crate::judge::Judge;
use crate::leases;
use crate::maker::{Call, Ended};
use crate::plan::Point;
use crate::stand_in::StandIn;
use crate::support::cgroups::View;
use crate::trial::Stage;
use crate::watcher::Watcher;

pub struct Confirms {
    ground: Ground,
}

impl Confirms {
    pub fn new() -> Self {
        Self {
            ground: Ground::new(View::Host),
        }
    }

    /// The reservation, with its maker.
    fn reserve(&self) -> (Ended, Value) {
        let call = Call::with(&config(self.ground.devices()).to_string());
        let command = self.ground.command(&call, "precreate");
        let reserved = call.run(command);
        let edited = serde_json::from_str(&reserved.stdout).expect("config.json");
        (reserved, edited)
    }
}

impl Stage for Confirms {
    fn name(&self) -> String {
        "createRuntime, confirms".to_owned()
    }

    fn dear(&self) -> Vec<PathBuf> {
        vec![self.ground.machine.ledger()]
    }

    fn play(&self, watcher: &mut dyn Watcher, judge: &mut Judge, struck: Option<&Point>) -> Ended {
        self.ground.restore();
        let (mut reserved, edited) = self.reserve();
        let mut container = StandIn::new(View::Host);
        let call = Call::with(&state(&edited, "creating", container.pid()));
        let command = self.ground.hook(&call, &hook_arguments(&edited, "createRuntime"));
        let mut ended = call.run_traced(command, watcher);
        self.ground.judge(judge);
        if ended.code == 0 {
            self.judge_held(&edited, &container, judge);
            self.ground.judge_nothing_free(judge);
        }
        // A runtime ends a container whose hook failed, and no poststop need be called.
        container.end();
        ended.end_maker();
        reserved.end_maker();
        self.ground.judge_nothing_lost(judge, struck);
        ended
    }
}

impl Confirms {
    fn judge_held(&self, edited: &Value, container: &StandIn, judge: &mut Judge) {
        let leases = self.ground.leases();
        let is_held = |lease: &Value| {
            lease["id"] == lease_of(edited)
                && lease["state"] == "held"
                && leases::process(lease) == i64::from(container.pid())
        };
        judge.holds(leases.iter().any(is_held), || {
            format!("its hook succeeded and its lease is not held:\n{}", told(&leases))
        });
    }
}
