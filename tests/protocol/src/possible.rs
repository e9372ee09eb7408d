//! What can happen in a state, and what comes of it.

mod attempt;

use oci_mig_hook::lease::LeaseState;

use crate::action::{Action, Killed};
use crate::cast::MOST;
use crate::machine::{Attempt, State};
use crate::plant::Plant;
use crate::sight::View;
use crate::stage::{Plan, Stages};

/// An action and the state after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What happens.
    pub action: Action,
    /// What is then.
    pub next: State,
}

/// All that can happen in one state.
pub struct Possible<'a> {
    stages: Stages<'a>,
    steps: &'a mut Vec<Step>,
}

impl<'a> Possible<'a> {
    /// Adds every step from the state of `stages` to `steps`.
    pub fn find(stages: Stages<'a>, steps: &'a mut Vec<Step>) {
        let mut possible = Possible { stages, steps };
        for who in stages.sight.cast.attempts() {
            possible.of_attempt(who);
        }
        for lease in 0..MOST {
            possible.of_lease(lease);
            if possible.stages.sight.plant != Some(Plant::NobodyLooks) {
                possible.is_looked_at(lease);
            }
        }
        possible.of_machine();
        possible.or_stuck();
    }

    fn or_stuck(&mut self) {
        let goes_on = self.steps.iter().any(|step| !step.action.disturbs());
        if !goes_on && !self.stages.sight.state.is_over() {
            self.changes(Action::Stop, |next| next.stuck = true);
        }
    }

    fn of_lease(&mut self, id: usize) {
        let state = self.stages.sight.state;
        let Some(lease) = state.files.leases[id] else {
            return;
        };
        let in_time = |state, is_late: bool| state == LeaseState::Pending && !is_late;
        let mut records = state.files.records_of(id);
        if in_time(lease.state, lease.is_late) || records.any(|it| in_time(it.state, it.is_late)) {
            self.changes(Action::TimeIsUp(id), |next| next.time_is_up(id));
        }
        if lease.is_readable && self.stages.sight.cast.rot {
            self.changes(Action::Rot(id), |next| {
                next.lease(id, |lease| lease.is_readable = false)
            });
        }
    }

    /// Somebody looks at a lease, from anywhere.
    fn is_looked_at(&mut self, id: usize) {
        let mut seen: Vec<Plan> = Vec::with_capacity(2);
        for view in [View::Home, View::OtherPids, View::OtherPidsAndCgroups] {
            let plan = self.stages.look(id, view);
            if !plan.writes.is_empty() && !seen.contains(&plan) {
                seen.push(plan.clone());
                self.under_lock(plan, |killed| Action::Look(id, view, killed));
            }
        }
    }

    fn of_machine(&mut self) {
        let state = self.stages.sight.state;
        for maker in 0..MOST {
            if state.makers[maker] {
                self.changes(Action::MakerEnds(maker), |next| next.makers[maker] = false);
            }
        }
        if self.stages.sight.cast.reboot && !state.rebooted {
            for wipes in [false, true] {
                self.changes(Action::Reboot(wipes), |next| next.reboot(wipes));
            }
        }
    }

    fn attempt(&self, who: usize) -> Attempt {
        self.stages.sight.state.attempts[who]
    }

    fn becomes(&mut self, who: usize, action: Action, attempt: Attempt) {
        self.changes(action, |next| next.attempts[who] = attempt);
    }

    fn changes(&mut self, action: Action, change: impl FnOnce(&mut State)) {
        let mut next = *self.stages.sight.state;
        change(&mut next);
        self.push(action, next);
    }

    /// Every outcome of a stretch under the lock.
    fn under_lock(&mut self, mut plan: Plan, action: impl Fn(Killed) -> Action) {
        if self.stages.sight.plant == Some(Plant::Backwards) {
            plan.writes.reverse();
        }
        let mut next = *self.stages.sight.state;
        for (written, write) in plan.writes.iter().enumerate() {
            self.killed(&plan, next, action(Some(written)));
            next.files.write(*write);
            next.robbed |= plan.robs;
        }
        if let Some(whose) = plan.whose {
            self.killed(&plan, next, action(Some(plan.writes.len())));
            next.attempts[whose.who] = whose.ended;
        }
        self.push(action(None), next);
    }

    /// A stage is killed. One that is nobody's makes a difference by its writes alone.
    fn killed(&mut self, plan: &Plan, mut next: State, action: Action) {
        if let Some(whose) = plan.whose {
            next.attempts[whose.who] = whose.killed;
            self.push(action, next);
        } else if next.files != self.stages.sight.state.files {
            self.push(action, next);
        }
    }

    fn push(&mut self, action: Action, next: State) {
        let sight = self.stages.sight;
        let next = next.tidy(sight.cast);
        if next != *sight.state {
            self.steps.push(Step { action, next });
        }
    }
}
