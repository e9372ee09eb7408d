//! oci-mig-runtime before a real runtime: what makes a container, and what ends one.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::documents::lease_of;
use crate::ground::{Ground, told};
use crate::judge::{Judge, Manner};
use crate::leases;
use crate::maker::{Call, Ended};
use crate::plan::Point;
use crate::support::bundle::Bundle;
use crate::support::process::{DEADLINE, holds_within, is_alive};
use crate::support::rootfs::SLEEP;
use crate::support::runtime::{Engine, Runtime};
use crate::trial::Stage;
use crate::watcher::Watcher;

/// A runtime behind oci-mig-runtime, and one bundle, which asks for all devices but the bystander's.
struct Place {
    ground: Ground,
    engine: Engine,
    bundle: Bundle,
    original: Vec<u8>,
}

impl Place {
    fn new(runtime: Runtime, script: &str) -> Self {
        let view = runtime.views()[0];
        let mut ground = Ground::new(view);
        let engine = Engine::new(runtime, view).interposed(&ground.machine);
        let bundle = Bundle::new()
            .annotation("mig.profile", "1g.10gb")
            .annotation("mig.count", &ground.devices().to_string())
            .script(script)
            .write();
        ground.keep();
        Self {
            original: fs::read(bundle.config_file()).expect("config.json"),
            ground,
            engine,
            bundle,
        }
    }

    fn dear(&self) -> Vec<PathBuf> {
        vec![self.ground.machine.ledger(), self.bundle.folder().to_owned()]
    }

    fn restore(&self) {
        self.ground.restore();
        fs::write(self.bundle.config_file(), &self.original).expect("config.json");
    }

    /// `oci-mig-runtime VERB ... ID`, traced.
    fn call(&self, words: &[&str], watcher: &mut dyn Watcher) -> Ended {
        let call = Call::with("");
        let folder = self.bundle.folder();
        let mut command = self.engine.command_through(&call.words(), folder);
        command.args(words).arg(self.bundle.id());
        call.run_traced(command, watcher)
    }

    fn make(&self, verb: &str, watcher: &mut dyn Watcher) -> Ended {
        let folder = self.bundle.folder().to_str().expect("a path of ours");
        self.call(&[verb, "--bundle", folder], watcher)
    }

    /// The container's process, as its lease has it.
    fn process(&self) -> i32 {
        let held = self
            .ground
            .leases()
            .into_iter()
            .find(|lease| lease["state"] == "held");
        held.map_or(0, |lease| leases::process(&lease) as i32)
    }

    fn has_container(&self) -> bool {
        self.engine.root().join(self.bundle.id()).exists()
    }

    /// Ends the container, if there is one, as an engine does, and waits for its end.
    fn clear(&self, process: i32) {
        if self.has_container() {
            self.engine.container(&self.bundle).delete(true);
        }
        holds_within(DEADLINE, || !is_alive(process));
    }

    /// config.json is as it was, or, where `may_be_edited`, the whole edited one; whether it is that.
    fn judge_config(&self, may_be_edited: bool, judge: &mut Judge) -> bool {
        let now = fs::read(self.bundle.config_file()).unwrap_or_default();
        if now == self.original {
            return false;
        }
        let edited = serde_json::from_slice::<Value>(&now);
        let is_whole = edited.is_ok_and(|edited| !lease_of(&edited).is_empty());
        judge.holds(is_whole && may_be_edited, || {
            format!(
                "config.json is neither the original nor to be this: {}",
                String::from_utf8_lossy(&now)
            )
        });
        true
    }
}

/// `create` and `run`.
pub struct Makes {
    place: Place,
    verb: &'static str,
}

impl Makes {
    pub fn create(runtime: Runtime) -> Self {
        Self {
            place: Place::new(runtime, SLEEP),
            verb: "create",
        }
    }

    /// The container says how many capabilities it sees: two for each device.
    pub fn run(runtime: Runtime) -> Self {
        Self {
            place: Place::new(runtime, "ls /dev/nvidia-caps | wc -l"),
            verb: "run",
        }
    }

    fn judge_made(&self, ended: &Ended, judge: &mut Judge) {
        self.place.judge_config(true, judge);
        if self.verb == "run" {
            let expected = format!("{}\n", 2 * self.place.ground.devices());
            return judge.holds(ended.stdout == expected, || {
                format!("the container saw {:?} capabilities", ended.stdout)
            });
        }
        let leases = self.place.ground.leases();
        let process = self.place.process();
        judge.holds(leases.len() == 1 && is_alive(process), || {
            format!("a container was made, and the leases are\n{}", told(&leases))
        });
        self.place.ground.judge_nothing_free(judge);
        self.place.clear(process);
    }

    /// What was left edited is served again, by an engine that tries again.
    fn judge_again(&self, judge: &mut Judge) {
        let mut container = self.place.engine.container(&self.place.bundle);
        let outcome = container.create();
        judge.holds(outcome.status.success(), || {
            format!("the next create of what was left edited fails: {outcome}")
        });
        self.place.clear(self.place.process());
    }
}

impl Stage for Makes {
    fn name(&self) -> String {
        format!("oci-mig-runtime {}, {}", self.verb, self.place.engine.runtime)
    }

    fn dear(&self) -> Vec<PathBuf> {
        self.place.dear()
    }

    fn is_a_variant(&self) -> bool {
        (self.verb, self.place.engine.runtime) != ("create", Runtime::Runc)
    }

    fn play(&self, watcher: &mut dyn Watcher, judge: &mut Judge, struck: Option<&Point>) -> Ended {
        let ground = &self.place.ground;
        self.place.restore();
        let mut ended = self.place.make(self.verb, watcher);
        ground.judge(judge);
        if ended.code == 0 {
            self.judge_made(&ended, judge);
        } else {
            // The maker was this process itself.
            let may_be_edited = ended.was_killed() || struck.is_some_and(Point::persists);
            if self.place.judge_config(may_be_edited, judge) {
                self.judge_again(judge);
            }
            judge.holds(!self.place.has_container(), || {
                "it failed, and there is a container".to_owned()
            });
            self.place.clear(0);
        }
        ended.end_maker();
        ground.judge_nothing_lost(judge, struck);
        ended
    }
}

/// `delete --force` of a container that was made through it.
pub struct Deletes {
    place: Place,
}

impl Deletes {
    pub fn new(runtime: Runtime) -> Self {
        Self {
            place: Place::new(runtime, SLEEP),
        }
    }
}

impl Stage for Deletes {
    fn name(&self) -> String {
        format!("oci-mig-runtime delete, {}", self.place.engine.runtime)
    }

    fn dear(&self) -> Vec<PathBuf> {
        self.place.dear()
    }

    fn manner(&self) -> Manner {
        Manner {
            is_a_runtime: true,
            ..Manner::PLAIN
        }
    }

    fn is_a_variant(&self) -> bool {
        self.place.engine.runtime != Runtime::Runc
    }

    fn play(&self, watcher: &mut dyn Watcher, judge: &mut Judge, struck: Option<&Point>) -> Ended {
        let Place { ground, engine, .. } = &self.place;
        self.place.restore();
        let mut container = engine.container(&self.place.bundle);
        container.create().ok();
        let process = self.place.process();
        let mut ended = self.place.call(&["delete", "--force"], watcher);
        ground.judge(judge);
        let is_there = self.place.has_container();
        judge.holds(ended.code != 0 || !is_there, || {
            "it succeeded, and the container is there".to_owned()
        });
        if is_there && is_alive(process) {
            ground.judge_nothing_free(judge);
        }
        self.place.clear(process);
        ended.end_maker();
        ground.judge_nothing_lost(judge, struck);
        ended
    }
}
