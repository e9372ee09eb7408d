//! Giving back: `release.rs`, and what a collection does to one lease.

use oci_mig_hook::lease::LeaseState;
use oci_mig_hook::lease::transition::{Fate, Occasion, may_end};

use super::{Plan, Stages};
use crate::ledger::{Lease, put};
use crate::machine::Config;
use crate::sight::View;

impl Stages<'_> {
    /// The end of attempt `who`'s container is announced, by the lease that its config names.
    pub fn poststop(&self, who: usize, config: Config) -> Plan {
        let mut plan = Plan::nobodys();
        let Some(lease) = self.state().files.leases[usize::from(config.lease)] else {
            return plan;
        };
        let same_container = self.is_same_container(who, &lease);
        if lease.is_readable && may_end(same_container, self.checks) {
            let view = self.sight.view_of(who, &lease);
            let evidence = self.sight.evidence(&lease, view, None);
            let fate = self.rule.fate(Occasion::End, lease.state, evidence);
            self.carry_out(config.lease, lease, fate, &mut plan);
            // Its own end is its to announce.
            plan.robs &= !same_container;
        }
        plan
    }

    /// Somebody looks at one lease: a collection, or a delete that names its container. What they do to several is one of
    /// these after the other.
    pub fn look(&self, id: usize, view: View) -> Plan {
        let mut plan = Plan::nobodys();
        if let Ok(Some(lease)) = self.state().files.known(id) {
            let evidence = self.sight.evidence(&lease, view, None);
            let fate = self.rule.fate(Occasion::Look, lease.state, evidence);
            self.carry_out(id as u8, lease, fate, &mut plan);
        }
        plan
    }

    /// What `fate` writes.
    pub(super) fn carry_out(&self, id: u8, lease: Lease, fate: Fate, plan: &mut Plan) {
        match fate {
            Fate::Remove => {
                plan.robs |= self.sight.is_live(&lease);
                self.state().files.remove(id, lease.devices, &mut plan.writes);
            }
            // It would be written over what can't be read.
            Fate::Release if lease.is_readable => {
                let releasing = Lease {
                    state: LeaseState::Releasing,
                    is_late: false,
                    ..lease
                };
                put(id, releasing, &mut plan.writes);
            }
            Fate::Release | Fate::Keep => {}
        }
    }
}
