//! Confirming: `confirm.rs`, and the undo of a stage that fails after it has reserved.

use oci_mig_hook::lease::LeaseState;
use oci_mig_hook::lease::transition::{Claim, claim, may_undo};

use super::{Plan, Stages};
use crate::cast::Door;
use crate::ledger::{Bound, Holder, Lease, put};
use crate::machine::{Config, Phase};
use crate::plant::Plant;

impl Stages<'_> {
    /// The container exists, and says that the lease which its config names is its own.
    pub fn confirm(&self, who: usize, config: Config) -> Plan {
        let attempt = self.attempt(who);
        let turned_away = attempt.now(Phase::TurnedAway);
        let mut plan = Plan::of(who, turned_away, turned_away);
        let lease = self.state().files.leases[usize::from(config.lease)];
        if lease.is_some_and(|lease| !lease.is_readable) {
            return plan;
        }
        let claimed = lease.map(|lease| self.facts(who, config, &lease));
        if claim(claimed, self.checks).is_err() {
            return plan;
        }
        plan.whose = plan.whose.map(|whose| super::Whose {
            ended: attempt.now(Phase::Running),
            ..whose
        });
        if let Some(lease) = lease.filter(|lease| lease.state != LeaseState::Held) {
            plan.robs = !self.is_same_container(who, &lease) && self.sight.is_live(&lease);
            let held = Lease {
                state: LeaseState::Held,
                holder: Holder {
                    who: who as u8,
                    bound: Bound::First,
                },
                is_late: false,
                ..lease
            };
            put(config.lease, held, &mut plan.writes);
        }
        plan
    }

    /// Takes back the reservation of a container that will not come into being.
    pub fn undo(&self, who: usize, config: Config) -> Plan {
        let failed = self.attempt(who).failed();
        let mut plan = Plan::of(who, failed, failed);
        let found = self.state().files.leases[usize::from(config.lease)];
        if let Some(lease) = found.filter(|lease| lease.is_readable) {
            let bound = match self.sight.cast.role(who).door {
                Door::Before => Bound::Maker,
                Door::Live => Bound::First,
            };
            let left = Holder {
                who: who as u8,
                bound,
            };
            if may_undo(lease.holder == left, self.checks) {
                let files = &self.state().files;
                files.remove(config.lease, lease.devices, &mut plan.writes);
            }
        }
        plan
    }

    fn facts(&self, who: usize, config: Config, lease: &Lease) -> Claim {
        let holder = lease.holder;
        let is_it = holder.bound == Bound::First && usize::from(holder.who) == who;
        // The claimant may have got the very pid of the holder that is gone.
        let by_pid =
            self.sight.plant == Some(Plant::PidAlone) && !self.state().lives(self.sight.cast, holder);
        Claim {
            this_boot: lease.this_boot,
            same_container: self.is_same_container(who, lease),
            same_devices: lease.devices == config.devices,
            state: lease.state,
            same_process: is_it || by_pid,
        }
    }
}
