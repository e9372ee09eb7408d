//! createRuntime of a container that nobody served before: devices are reserved and put into the live container. A real
//! runtime waits at its hook meanwhile.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::ground::{Ground, told};
use crate::judge::Judge;
use crate::maker::{Call, Ended};
use crate::plan::Point;
use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::driver_proc::installer;
use crate::support::process::{DEADLINE, start, until};
use crate::support::runtime::{Engine, Runtime};
use crate::support::scratch::Scratch;
use crate::trial::Stage;
use crate::watcher::Watcher;

/// What the container says: its two capabilities for each device, and the GPUs and the instances' files that it sees.
const SCRIPT: &str =
    "ls /dev/nvidia-caps | wc -l; cd /proc/driver/nvidia; ls gpus | wc -l; find capabilities -type f | wc -l";

/// A runtime's hook: hands the state over, and ends as it is told.
const HOOK: &str = "#!/bin/sh
cat >\"${0%/*}/new\" && mv \"${0%/*}/new\" \"${0%/*}/state\"
read -r code <\"${0%/*}/answer\"
exit \"$code\"
";

pub struct Live {
    ground: Ground,
    engine: Engine,
    has_user_namespace: bool,
}

impl Live {
    pub fn new(view: View) -> Self {
        Self {
            ground: Ground::hiding(view),
            engine: Engine::new(Runtime::Runc, view),
            has_user_namespace: false,
        }
    }

    /// The container can't make nodes of its own: the host's are mounted.
    pub fn in_a_user_namespace(view: View) -> Self {
        Self {
            has_user_namespace: true,
            ..Self::new(view)
        }
    }

    fn bundle(&self, hook: &Scratch) -> Bundle {
        let bundle = Bundle::new()
            .annotation("mig.profile", "1g.10gb")
            .annotation("mig.count", &self.ground.devices().to_string())
            .hook("createRuntime", &installer(&self.ground.machine, hook), &[])
            .hook("createRuntime", &hook.program("hook", HOOK), &[])
            .script(SCRIPT);
        match self.has_user_namespace {
            true => bundle.user_namespace().write(),
            false => bundle.write(),
        }
    }

    fn judge_held(&self, state: &str, judge: &mut Judge) {
        let state: Value = serde_json::from_str(state).unwrap_or_default();
        let leases = self.ground.leases();
        let is_held = |lease: &Value| {
            let holder = &lease["holder"]["container"];
            lease["state"] == "held" && holder["process"]["pid"] == state["pid"]
        };
        judge.holds(leases.iter().any(is_held), || {
            format!("its hook succeeded and it has no lease:\n{}", told(&leases))
        });
    }
}

impl Stage for Live {
    fn name(&self) -> String {
        let (view, user) = (self.engine.view, self.has_user_namespace);
        let user = if user { ", user namespace" } else { "" };
        format!("createRuntime, serves a live container, cgroups {view}{user}")
    }

    fn dear(&self) -> Vec<PathBuf> {
        vec![self.ground.machine.ledger()]
    }

    fn is_a_variant(&self) -> bool {
        self.has_user_namespace || self.engine.view != View::V2
    }

    fn play(&self, watcher: &mut dyn Watcher, judge: &mut Judge, struck: Option<&Point>) -> Ended {
        self.ground.restore();
        let hook = Scratch::new("hook");
        let answer = hook.join("answer");
        nix::unistd::mkfifo(&answer, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        let bundle = self.bundle(&hook);
        let container = self.engine.container(&bundle);
        let mut command = container.command("run");
        command.arg("--bundle").arg(bundle.folder()).arg(container.id());
        let mut running = start(&mut command, None);
        until("the hook", || {
            hook.join("state").exists() || !running.is_running()
        });
        let state = fs::read_to_string(hook.join("state")).expect("a hook's state");

        let call = Call::with(&state);
        let command = self.ground.command(&call, "createRuntime");
        let mut ended = call.run_traced(command, watcher);
        self.ground.judge(judge);
        if ended.code == 0 {
            self.judge_held(&state, judge);
            self.ground.judge_nothing_free(judge);
        } else if !ended.was_killed() {
            judge.holds(
                self.ground.leases().len() <= 1 || struck.is_some_and(Point::persists),
                || format!("it failed and keeps something:\n{}", told(&self.ground.leases())),
            );
        }
        fs::write(&answer, format!("{}\n", ended.code)).expect("an answer");
        let outcome = running.wait(DEADLINE);
        let files = 2 * self.ground.devices();
        let expected = format!("{files}\n1\n{files}\n");
        let is_right = match ended.code {
            0 => outcome.status.success() && outcome.stdout == expected,
            _ => !outcome.status.success(),
        };
        judge.holds(is_right, || {
            format!("the hook ended with {}, and: {outcome}", ended.code)
        });
        drop(container);
        ended.end_maker();
        self.ground.judge_nothing_lost(judge, struck);
        ended
    }
}
