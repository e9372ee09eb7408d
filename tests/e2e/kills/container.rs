//! One container's life: it is made, perhaps somebody is killed, and nothing of it is left.

use std::thread;
use std::time::{Duration, Instant};

use super::Door;
use super::judge::{Judge, SCRIPT, Stand};
use super::victim::{Hunt, Victim};
use crate::support::bundle::Bundle;
use crate::support::process::{DEADLINE, Outcome, holds_within, quietly, start};

/// How one try went.
#[derive(Debug)]
pub enum Try {
    Ran,
    /// All devices were held.
    Refused,
    Killed(Victim),
    Failed(String),
}

/// What a container is like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub victim: Option<Victim>,
    /// Numbers that nobody knows before.
    pub random: [u64; 4],
}

impl Plan {
    /// The `number`th container's. Of four, one is left in peace.
    pub fn of(number: usize) -> Self {
        let mut state = number as u64;
        let random = [(); 4].map(|()| random(&mut state));
        let victims = [
            None,
            Some(Victim::Hook),
            Some(Victim::Runtime),
            Some(Victim::Init),
        ];
        Self {
            victim: victims[number % victims.len()],
            random,
        }
    }

    /// How many others try for a device while it has its own.
    fn others(&self) -> usize {
        4 + (self.random[0] / 4 % 8) as usize
    }

    fn hunt(&self) -> Option<Hunt> {
        let [_, when, grace, _] = self.random;
        self.victim.map(|victim| Hunt::new(victim, [when, grace]))
    }

    /// A bundle that asks for a device. A quarter share the host's process ids, and leave a process behind.
    fn bundle(&self, bundle: Bundle, stand: &Stand) -> Bundle {
        let bundle = bundle
            .annotation("mig.profile", "1g.10gb")
            .bind(stand.folder(), "/judge");
        let bundle = match self.random[0] % 4 {
            0 => bundle
                .script(&format!("{SCRIPT}\nsleep 0.1 &"))
                .without_pid_namespace(),
            _ => bundle.script(SCRIPT),
        };
        bundle.write()
    }
}

/// Makes a container as `plan` says, through this door.
pub fn live(door: &Door<'_>, plan: &Plan, judge: &Judge) -> Try {
    let bundle = door.bundle();
    let mut stand = Stand::new(bundle.id());
    let bundle = plan.bundle(bundle, &stand);
    let mut command = door.engine.command(bundle.folder());
    command
        .arg("run")
        .arg("--bundle")
        .arg(bundle.folder())
        .arg(bundle.id());
    judge.begins();
    let mut running = start(&mut command, None);
    let mut hunt = plan.hunt();
    let deadline = Instant::now() + DEADLINE;
    while running.is_running() && Instant::now() < deadline {
        judge.look(&mut stand, plan.others());
        if let Some(hunt) = &mut hunt {
            hunt.step(running.pid());
        }
        thread::sleep(Duration::from_millis(1));
    }
    let outcome = running.wait(Duration::ZERO);
    let has_claimed = judge.look(&mut stand, plan.others());
    let killed = hunt.filter(|hunt| hunt.has_killed).map(|hunt| hunt.victim);
    let end = match killed {
        Some(victim) => Try::Killed(victim),
        None if has_claimed && outcome.status.success() => Try::Ran,
        None if is_refusal(&outcome) => Try::Refused,
        None => Try::Failed(outcome.to_string()),
    };
    if killed.is_some() || stand.is_held() {
        clear(door, plan, &bundle, &mut stand, judge);
    }
    match holds_within(DEADLINE, || !stand.is_held()) {
        true => end,
        false => Try::Failed(format!("something of {} lives on", bundle.id())),
    }
}

/// Ends what lives on.
fn clear(door: &Door<'_>, plan: &Plan, bundle: &Bundle, stand: &mut Stand, judge: &Judge) {
    let [.., random] = plan.random;
    // Without its runtime it may come to its device only now.
    let until = Instant::now() + Duration::from_micros(random % 300_000);
    while Instant::now() < until {
        judge.look(stand, plan.others());
        thread::sleep(Duration::from_millis(1));
    }
    // Every other one is never deleted: its processes end, and nobody tells us.
    if random % 2 == 0 {
        let mut delete = door.engine.command(bundle.folder());
        quietly(delete.args(["delete", "--force", bundle.id()]));
    }
    let group = bundle.config["linux"]["cgroupsPath"].as_str();
    door.engine.view.clear(group.expect("a control group"));
}

/// runc passes our words on; crun 1.8 says no more than the hook's exit code.
fn is_refusal(outcome: &Outcome) -> bool {
    outcome.text().contains("7 of 7 held") || outcome.text().contains("(exit code: 1)")
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
