//! precreate of a container whose config.json was edited before and whose reservation waits: it is bound to who makes
//! the container now.

use std::path::PathBuf;

use serde_json::Value;

use crate::documents::{config, lease_of};
use crate::ground::{Ground, told};
use crate::judge::Judge;
use crate::leases;
use crate::maker::{Call, Ended};
use crate::plan::Point;
use crate::support::cgroups::View;
use crate::trial::Stage;
use crate::watcher::Watcher;

pub struct PrecreateAgain {
    ground: Ground,
}

impl PrecreateAgain {
    pub fn new() -> Self {
        Self {
            ground: Ground::new(View::Host),
        }
    }

    fn precreate(&self, document: &str) -> (Call, std::process::Command) {
        let call = Call::with(document);
        let command = self.ground.command(&call, "precreate");
        (call, command)
    }
}

impl Stage for PrecreateAgain {
    fn name(&self) -> String {
        "precreate, edited before, bound anew".to_owned()
    }

    fn dear(&self) -> Vec<PathBuf> {
        vec![self.ground.machine.ledger()]
    }

    fn play(&self, watcher: &mut dyn Watcher, judge: &mut Judge, struck: Option<&Point>) -> Ended {
        self.ground.restore();
        let (call, command) = self.precreate(&config(self.ground.devices()).to_string());
        let mut earlier = call.run(command);
        let (call, command) = self.precreate(&earlier.stdout);
        let mut ended = call.run_traced(command, watcher);
        self.ground.judge(judge);
        if ended.code == 0 {
            judge_bound_anew(&self.ground, &earlier, &ended, judge);
        }
        earlier.end_maker();
        ended.end_maker();
        self.ground.judge_nothing_lost(judge, struck);
        ended
    }
}

fn judge_bound_anew(ground: &Ground, earlier: &Ended, ended: &Ended, judge: &mut Judge) {
    judge.holds(ended.stdout == earlier.stdout, || {
        format!("its config.json was to pass through: {}", ended.stdout)
    });
    let edited: Value = serde_json::from_str(&earlier.stdout).unwrap_or_default();
    let leases = ground.leases();
    let is_bound = |lease: &Value| {
        lease["id"] == lease_of(&edited) && leases::process(lease) == i64::from(ended.maker())
    };
    judge.holds(leases.iter().any(is_bound), || {
        format!("its lease is not bound to who makes it now:\n{}", told(&leases))
    });
}
