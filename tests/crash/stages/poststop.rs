//! poststop: gives back what a container held that has ended.

use std::path::PathBuf;

use serde_json::Value;

use crate::documents::{lease_of, state};
use crate::ground::{Ground, told};
use crate::judge::Judge;
use crate::maker::{Call, Ended};
use crate::plan::Point;
use crate::stand_in::StandIn;
use crate::support::cgroups::View;
use crate::trial::Stage;
use crate::watcher::Watcher;

pub struct Poststop {
    name: &'static str,
    ground: Ground,
    state: String,
    lease: String,
}

impl Poststop {
    /// The state names the lease.
    pub fn by_name() -> Self {
        Self::of("poststop, by the lease's name", |_| {})
    }

    /// Podman's own poststop knows the container alone.
    pub fn by_container() -> Self {
        Self::of("poststop, by the container", |annotations| {
            annotations
                .as_object_mut()
                .expect("annotations")
                .remove("mig.lease");
        })
    }

    fn of(name: &'static str, shown: impl FnOnce(&mut Value)) -> Self {
        let mut ground = Ground::new(View::Host);
        let mut container = StandIn::new(View::Host);
        let mut edited = ground.serve(&container, 1);
        container.end();
        ground.keep();
        let lease = lease_of(&edited).to_owned();
        shown(&mut edited["annotations"]);
        let mut state: Value = serde_json::from_str(&state(&edited, "stopped", 0)).expect("a state");
        state.as_object_mut().expect("a state").remove("pid");
        let state = state.to_string();
        Self {
            name,
            ground,
            state,
            lease,
        }
    }
}

impl Stage for Poststop {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn dear(&self) -> Vec<PathBuf> {
        vec![self.ground.machine.ledger()]
    }

    fn play(&self, watcher: &mut dyn Watcher, judge: &mut Judge, struck: Option<&Point>) -> Ended {
        self.ground.restore();
        let call = Call::with(&self.state);
        let command = self.ground.command(&call, "poststop");
        let mut ended = call.run_traced(command, watcher);
        self.ground.judge(judge);
        let leases = self.ground.leases();
        // What could not be looked at stays for the next who looks.
        let may_leave = ended.code != 0 || struck.is_some_and(|point| !point.is_to_be_survived());
        judge.holds(
            may_leave || leases.iter().all(|lease| lease["id"] != *self.lease),
            || format!("it succeeded and its lease is there:\n{}", told(&leases)),
        );
        ended.end_maker();
        self.ground.judge_nothing_lost(judge, struck);
        ended
    }
}
