//! precreate of a container that waits for a device: its holder ends meanwhile.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::documents::asking;
use crate::ground::Ground;
use crate::judge::{Judge, Manner};
use crate::maker::{Call, Ended};
use crate::plan::Point;
use crate::stand_in::StandIn;
use crate::support::cgroups::View;
use crate::trial::Stage;
use crate::watcher::Watcher;

use super::precreate::judge_handed_on;

pub struct Waits {
    ground: Ground,
}

impl Waits {
    pub fn new() -> Self {
        Self {
            ground: Ground::new(View::Host),
        }
    }

    /// Ends the holder once somebody waits for it, or there is nothing to wait for any more.
    fn end_when_awaited(&self, mut holder: StandIn, is_over: &AtomicBool) {
        while self.ground.tickets() == 0 && !is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        // Long enough for it to fall asleep.
        thread::sleep(Duration::from_millis(30));
        holder.end();
    }
}

impl Stage for Waits {
    fn name(&self) -> String {
        "precreate, waits".to_owned()
    }

    fn dear(&self) -> Vec<PathBuf> {
        vec![self.ground.machine.ledger()]
    }

    fn manner(&self) -> Manner {
        Manner {
            waits: true,
            ..Manner::PLAIN
        }
    }

    fn play(&self, watcher: &mut dyn Watcher, judge: &mut Judge, struck: Option<&Point>) -> Ended {
        self.ground.restore();
        let holder = StandIn::new(View::Host);
        self.ground.serve(&holder, 1);
        let document = asking(self.ground.devices(), &[("mig.wait", "30s")]);
        let call = Call::with(&document.to_string());
        let command = self.ground.command(&call, "precreate");
        let is_over = AtomicBool::new(false);
        let mut ended = thread::scope(|scope| {
            scope.spawn(|| self.end_when_awaited(holder, &is_over));
            let ended = call.run_traced(command, watcher);
            is_over.store(true, Ordering::Relaxed);
            ended
        });
        self.ground.judge(judge);
        match ended.code {
            0 => judge_handed_on(&self.ground, &ended, judge),
            _ if ended.was_killed() => {}
            _ => self.ground.judge_nothing_kept(&ended, judge, struck),
        }
        ended.end_maker();
        self.ground.judge_nothing_lost(judge, struck);
        ended
    }
}
