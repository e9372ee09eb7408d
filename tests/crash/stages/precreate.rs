//! Podman's precreate: reserves for a container that is yet to be made, and edits its config.json.

use std::path::PathBuf;

use serde_json::Value;

use crate::documents::{config, devices_of, lease_of};
use crate::ground::{Ground, told};
use crate::judge::{Judge, Manner};
use crate::leases;
use crate::maker::{Call, Ended};
use crate::plan::Point;
use crate::support::cgroups::View;
use crate::trial::Stage;
use crate::watcher::Watcher;

/// A call of precreate's.
pub struct Precreate {
    name: &'static str,
    is_a_variant: bool,
    ground: Ground,
    document: String,
    manner: Manner,
}

impl Precreate {
    /// A container that asks for two devices, one of which is to be taken back first.
    pub fn reserves() -> Self {
        let ground = Ground::new(View::Host);
        let document = config(ground.devices()).to_string();
        Self::of("precreate, reserves", ground, document)
    }

    /// The first container since the machine started.
    pub fn reserves_first() -> Self {
        let ground = Ground::untouched(View::Host);
        let document = config(ground.devices()).to_string();
        Self::of("precreate, reserves as the first", ground, document)
    }

    /// One whose config.json was edited before, for a reservation that was taken back since.
    pub fn reserves_anew() -> Self {
        let ground = Ground::new(View::Host);
        let document = config(ground.devices()).to_string();
        let edited = ground.stage("precreate", &document).ok().stdout;
        Self {
            is_a_variant: true,
            ..Self::of("precreate, edited before, reserves anew", ground, edited)
        }
    }

    /// One that asks for more than is free.
    pub fn refuses() -> Self {
        let ground = Ground::new(View::Host);
        let document = config(ground.devices() + 1).to_string();
        let manner = Manner {
            alone: 1,
            struck: &[1, 3],
            ..Manner::PLAIN
        };
        Self {
            manner,
            is_a_variant: true,
            ..Self::of("precreate, refuses", ground, document)
        }
    }

    fn of(name: &'static str, ground: Ground, document: String) -> Self {
        Self {
            name,
            is_a_variant: false,
            ground,
            document,
            manner: Manner::PLAIN,
        }
    }
}

impl Stage for Precreate {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn dear(&self) -> Vec<PathBuf> {
        vec![self.ground.machine.ledger()]
    }

    fn manner(&self) -> Manner {
        self.manner
    }

    fn is_a_variant(&self) -> bool {
        self.is_a_variant
    }

    fn play(&self, watcher: &mut dyn Watcher, judge: &mut Judge, struck: Option<&Point>) -> Ended {
        self.ground.restore();
        let call = Call::with(&self.document);
        let command = self.ground.command(&call, "precreate");
        let mut ended = call.run_traced(command, watcher);
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

/// The config.json that was handed on names the one lease of its maker, which has the devices that it gives.
pub fn judge_handed_on(ground: &Ground, ended: &Ended, judge: &mut Judge) {
    let Ok(edited) = serde_json::from_str::<Value>(&ended.stdout) else {
        return judge.wrong(format!("no whole config.json: {:?}", ended.stdout));
    };
    let leases = ground.leases();
    let of_maker = |lease: &&Value| leases::process(lease) == i64::from(ended.maker());
    let ours: Vec<_> = leases.iter().filter(of_maker).collect();
    let is_right = |lease: &Value| {
        lease["id"] == lease_of(&edited)
            && lease["state"] == "pending"
            && leases::devices(lease) == devices_of(&edited)
    };
    judge.holds(matches!(ours[..], [lease] if is_right(lease)), || {
        format!("{edited} was handed on, and the leases are\n{}", told(&leases))
    });
}
