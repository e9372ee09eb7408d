//! What can happen to one attempt.

use super::Possible;
use crate::action::Action;
use crate::cast::{Door, MOST};
use crate::ledger::DEVICES;
use crate::machine::{Attempt, Config, Phase};
use crate::stage::Answer;

impl Possible<'_> {
    pub(super) fn of_attempt(&mut self, who: usize) {
        let (stages, attempt) = (self.stages, self.attempt(who));
        match attempt.phase {
            Phase::Idle => self.of_idle(who),
            Phase::Choosing => {
                self.under_lock(stages.reserve(who), |killed| Action::Reserve(who, killed));
                self.becomes(who, Action::HookKilled(who), attempt.failed());
            }
            Phase::Asking => {
                for answer in [Answer::AsKnown, Answer::Differs] {
                    self.under_lock(stages.answer(who, answer), |killed| {
                        Action::Answer(who, answer, killed)
                    });
                }
                self.becomes(who, Action::HookKilled(who), attempt.failed());
            }
            Phase::Handing => {
                self.becomes(who, Action::HandOn(who), attempt.now(Phase::Ready));
                self.undone(who);
            }
            Phase::Ready => {
                self.makes(who);
                self.becomes(who, Action::GiveUp(who), attempt.now(Phase::Over));
                self.tampers(who);
            }
            Phase::Made => {
                if let Some(config) = attempt.config {
                    self.under_lock(stages.confirm(who, config), |killed| Action::Confirm(who, killed));
                }
            }
            Phase::Injecting => {
                let phase = if attempt.first {
                    Phase::Running
                } else {
                    Phase::Over
                };
                self.becomes(who, Action::Inject(who), attempt.now(phase));
                self.undone(who);
            }
            Phase::TurnedAway | Phase::Running | Phase::Over => {}
        }
        self.ends(who);
        self.announces(who);
    }

    /// It begins: by reserving, or by being made, with a config that was copied or none.
    fn of_idle(&mut self, who: usize) {
        let cast = self.stages.sight.cast;
        let attempt = self.attempt(who);
        match (cast.role(who).door, attempt.config) {
            (Door::Live, _) => {
                let made = Attempt {
                    first: true,
                    ..attempt.now(Phase::Choosing)
                };
                self.becomes(who, Action::Make(who), made);
            }
            (Door::Before, None) => {
                self.reserves(who);
                for from in 0..MOST {
                    self.copies(who, from);
                }
            }
            (Door::Before, Some(_)) => {
                self.reserves(who);
                self.makes(who);
                self.tampers(who);
            }
        }
    }

    fn reserves(&mut self, who: usize) {
        self.under_lock(self.stages.reserve(who), |killed| Action::Reserve(who, killed));
    }

    fn makes(&mut self, who: usize) {
        let made = Attempt {
            first: true,
            ..self.attempt(who).now(Phase::Made)
        };
        self.becomes(who, Action::Make(who), made);
    }

    fn copies(&mut self, who: usize, from: usize) {
        let other = self.attempt(from);
        let is_written = matches!(
            other.phase,
            Phase::Ready | Phase::Made | Phase::TurnedAway | Phase::Running | Phase::Over
        );
        if is_written && self.stages.sight.cast.role(from).door == Door::Before && other.config.is_some() {
            let copied = Attempt {
                config: other.config,
                ..self.attempt(who)
            };
            self.becomes(who, Action::Copy(who, from), copied);
        }
    }

    fn tampers(&mut self, who: usize) {
        let attempt = self.attempt(who);
        let Some(config) = attempt.config.filter(|_| self.stages.sight.cast.tampering) else {
            return;
        };
        let others = Config {
            devices: config.devices ^ ((1 << DEVICES) - 1),
            ..config
        };
        if others.devices != 0 {
            let tampered = Attempt {
                config: Some(others),
                ..attempt
            };
            self.becomes(who, Action::Tamper(who), tampered);
        }
    }

    fn undone(&mut self, who: usize) {
        let attempt = self.attempt(who);
        if let Some(config) = attempt.config {
            self.under_lock(self.stages.undo(who, config), |killed| Action::Undo(who, killed));
        }
        self.becomes(who, Action::HookKilled(who), attempt.failed());
    }

    /// Its processes end.
    fn ends(&mut self, who: usize) {
        let attempt = self.attempt(who);
        if attempt.first {
            let phase = match attempt.phase {
                // Its hook goes on.
                phase if attempt.has_reserver() => phase,
                _ => Phase::Over,
            };
            let ended = Attempt {
                first: false,
                ..attempt.now(phase)
            };
            self.becomes(who, Action::FirstEnds(who, false), ended);
            let role = self.stages.sight.cast.role(who);
            if attempt.phase == Phase::Running && role.has_cgroup && !role.has_pids {
                self.becomes(who, Action::FirstEnds(who, true), Attempt { left: true, ..ended });
            }
        }
        if attempt.left {
            self.becomes(
                who,
                Action::RestEnds(who),
                Attempt {
                    left: false,
                    ..attempt
                },
            );
        }
    }

    fn announces(&mut self, who: usize) {
        let attempt = self.attempt(who);
        let may = matches!(attempt.phase, Phase::TurnedAway | Phase::Running | Phase::Over);
        if self.stages.sight.cast.role(who).door == Door::Before && may {
            if let Some(config) = attempt.config {
                let plan = self.stages.poststop(who, config);
                self.under_lock(plan, |killed| Action::Poststop(who, killed));
            }
        }
    }
}
