//! Reserving: `reserve.rs` and `stage/before_create.rs`. First under the lock, bound to the reserving process itself; then,
//! without it, the driver is asked; then under the lock again, bound to the maker or to the living container.

use oci_mig_hook::lease::LeaseState;
use oci_mig_hook::lease::transition::{
    CgroupState, Evidence, Fate, Occasion, ProcessState, is_free, is_still_reserved,
};

use super::{Plan, Stages};
use crate::cast::{Door, MOST};
use crate::ledger::{Bound, DEVICES, Devices, Holder, Lease, count, put};
use crate::machine::{Attempt, Config, Phase};

/// What the driver says of the chosen devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// They are as remembered.
    AsKnown,
    /// They aren't: others are to be chosen.
    Differs,
}

/// The leases that stand, and what is to be written for those that don't.
struct Judged {
    plan: Plan,
    standing: Vec<(u8, Lease)>,
}

impl Stages<'_> {
    /// Chooses devices and reserves them, or renews what the container has already.
    pub fn reserve(&self, who: usize) -> Plan {
        if let Some(plan) = self.renew_named(who) {
            return plan;
        }
        let Some(Judged { mut plan, standing }) = self.judge(who) else {
            let attempt = self.attempt(who).failed();
            return Plan::of(who, attempt, attempt);
        };
        let (own, others): (Vec<_>, Vec<_>) = standing
            .into_iter()
            .partition(|(_, lease)| self.holds(who, lease));
        if let Some((id, lease)) = own.iter().find(|(_, lease)| self.serves(who, lease)) {
            self.renew(who, *id, *lease, &mut plan);
            return plan;
        }
        let held = |device: usize| {
            others
                .iter()
                .filter(move |(_, lease)| lease.devices & 1 << device != 0)
        };
        let free =
            (0..DEVICES).filter(|device| is_free(held(*device).map(|(_, lease)| lease.state), self.checks));
        let wanted = usize::from(self.sight.cast.role(who).wants);
        let chosen = free.take(wanted).fold(0, |all, device| all | 1 << device);
        if usize::from(count(chosen)) < wanted {
            return plan;
        }
        for (id, lease) in own {
            self.state().files.remove(id, lease.devices, &mut plan.writes);
        }
        put(who as u8, self.reservation(who, chosen), &mut plan.writes);
        self.go_on(who, Phase::Asking, who as u8, chosen, &mut plan);
        plan
    }

    /// The driver has answered.
    pub fn answer(&self, who: usize, answer: Answer) -> Plan {
        let attempt = self.attempt(who);
        let found = self.state().files.leases[who];
        let mut plan = Plan::of(who, attempt.failed(), attempt.failed());
        let again = Attempt {
            config: None,
            ..attempt.now(Phase::Choosing)
        };
        let devices = attempt.config.map_or(0, |config| config.devices);
        let can_be_told = found.is_none_or(|lease| lease.is_readable);
        if answer == Answer::Differs {
            self.state().files.remove(who as u8, devices, &mut plan.writes);
            plan.whose = plan.whose.map(|whose| super::Whose {
                ended: again,
                ..whose
            });
        } else if can_be_told && is_still_reserved(found.map(|lease| lease.state), self.checks) {
            let (state, bound, phase) = match self.sight.cast.role(who).door {
                Door::Before => (LeaseState::Pending, Bound::Maker, Phase::Handing),
                Door::Live => (LeaseState::Held, Bound::First, Phase::Injecting),
            };
            let lease = Lease {
                state,
                holder: Holder {
                    who: who as u8,
                    bound,
                },
                ..self.reservation(who, devices)
            };
            put(who as u8, lease, &mut plan.writes);
            self.go_on(who, phase, who as u8, devices, &mut plan);
        }
        plan
    }

    /// A copied or repeated config names a lease: if that waits for this very container, it is renewed. None where it isn't
    /// so, and the container is served anew.
    fn renew_named(&self, who: usize) -> Option<Plan> {
        let attempt = self.attempt(who);
        let config = attempt.config?;
        let lease = self.state().files.leases[usize::from(config.lease)]?;
        let mut plan = Plan::of(who, attempt.failed(), attempt.failed());
        if !lease.is_readable {
            return Some(plan);
        }
        let is_its = lease.this_boot && self.is_same_container(who, &lease) && self.serves(who, &lease);
        is_its.then(|| {
            self.renew(who, config.lease, lease, &mut plan);
            // Its config stays as it came.
            self.go_on(who, Phase::Handing, config.lease, config.devices, &mut plan);
            plan
        })
    }

    fn renew(&self, who: usize, id: u8, lease: Lease, plan: &mut Plan) {
        let renewed = Lease {
            holder: Holder {
                who: who as u8,
                bound: Bound::Maker,
            },
            is_late: false,
            ..lease
        };
        put(id, renewed, &mut plan.writes);
        self.go_on(who, Phase::Handing, id, lease.devices, plan);
    }

    /// What stands once the leases of gone holders are taken back. None where a lease can't be told.
    fn judge(&self, who: usize) -> Option<Judged> {
        let failed = self.attempt(who).failed();
        let mut judged = Judged {
            plan: Plan::of(who, failed, failed),
            standing: Vec::new(),
        };
        let besides = (self.sight.cast.role(who).door == Door::Live).then_some(who);
        let seen = |lease: &Lease| {
            self.sight
                .evidence(lease, self.sight.view_of(who, lease), besides)
        };
        let fate = |lease: &Lease, evidence| self.rule.fate(Occasion::Look, lease.state, evidence);
        // Records are enough for another's lease whose process lives by them: `lease/index.rs`.
        let stands = |lease: &Lease| {
            let evidence = Evidence {
                cgroup: CgroupState::None,
                ..seen(lease)
            };
            let is_anothers = !self.is_same_container(who, lease);
            is_anothers && evidence.process == ProcessState::Alive && fate(lease, evidence) == Fate::Keep
        };
        for id in 0..MOST {
            let files = &self.state().files;
            if let Some(lease) = files.by_records(id).filter(stands) {
                judged.standing.push((id as u8, lease));
                continue;
            }
            let Some(lease) = files.known(id).ok()? else {
                continue;
            };
            let fate = fate(&lease, seen(&lease));
            self.carry_out(id as u8, lease, fate, &mut judged.plan);
            if fate != Fate::Remove {
                judged.standing.push((id as u8, lease));
            }
        }
        Some(judged)
    }

    /// Whether `lease` is the asker's own: its container's, and bound to the same process.
    fn holds(&self, who: usize, lease: &Lease) -> bool {
        let cast = self.sight.cast;
        let other = usize::from(lease.holder.who);
        let same_process = match (cast.role(who).door, lease.holder.bound) {
            (Door::Before, Bound::Maker) => cast.role(other).maker == cast.role(who).maker,
            (Door::Live, Bound::First) => other == who,
            _ => false,
        };
        same_process && self.is_same_container(who, lease) && lease.state == LeaseState::Pending
    }

    /// Whether `lease` is what it asks for.
    fn serves(&self, who: usize, lease: &Lease) -> bool {
        let role = self.sight.cast.role(who);
        let can_be_told = lease.is_readable && role.door == Door::Before;
        can_be_told && lease.state == LeaseState::Pending && count(lease.devices) == role.wants
    }

    fn reservation(&self, who: usize, devices: Devices) -> Lease {
        Lease {
            state: LeaseState::Pending,
            holder: Holder {
                who: who as u8,
                bound: Bound::Reserver,
            },
            devices,
            this_boot: true,
            is_late: false,
            is_readable: true,
        }
    }

    /// The stage ends with a lease for the attempt.
    fn go_on(&self, who: usize, phase: Phase, lease: u8, devices: Devices, plan: &mut Plan) {
        let ended = Attempt {
            config: Some(Config { lease, devices }),
            ..self.attempt(who).now(phase)
        };
        plan.whose = plan.whose.map(|whose| super::Whose { ended, ..whose });
    }
}
