//! What a person calls: gc, and release of one lease.

use std::path::PathBuf;

use crate::ground::{Ground, told};
use crate::judge::Judge;
use crate::leases;
use crate::maker::{Call, Ended};
use crate::plan::Point;
use crate::support::cgroups::View;
use crate::trial::Stage;
use crate::watcher::Watcher;

pub struct ByHand {
    ground: Ground,
    words: Vec<String>,
}

impl ByHand {
    pub fn gc() -> Self {
        Self::of(&["gc"])
    }

    /// Of the device of the container that is gone.
    pub fn release() -> Self {
        let stale = Self::of(&["release"]);
        let leases = stale.ground.leases();
        let device = leases::devices(&leases[0])[0].to_owned();
        Self {
            words: vec!["release".to_owned(), device],
            ..stale
        }
    }

    fn of(words: &[&str]) -> Self {
        Self {
            ground: Ground::new(View::Host),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        }
    }
}

impl Stage for ByHand {
    fn name(&self) -> String {
        self.words[0].clone()
    }

    fn dear(&self) -> Vec<PathBuf> {
        vec![self.ground.machine.ledger()]
    }

    fn play(&self, watcher: &mut dyn Watcher, judge: &mut Judge, struck: Option<&Point>) -> Ended {
        self.ground.restore();
        let call = Call::with("");
        let mut command = self.ground.command(&call, &self.words[0]);
        command.args(&self.words[1..]);
        let mut ended = call.run_traced(command, watcher);
        self.ground.judge(judge);
        let leases = self.ground.leases();
        // What could not be looked at stays for the next who looks.
        let may_leave = ended.code != 0 || struck.is_some_and(|point| !point.is_to_be_survived());
        judge.holds(may_leave || leases.is_empty(), || {
            format!("it succeeded, and left\n{}", told(&leases))
        });
        ended.end_maker();
        self.ground.judge_nothing_lost(judge, struck);
        ended
    }
}
