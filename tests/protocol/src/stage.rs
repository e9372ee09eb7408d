//! What the program's stages do under the lock: what they write, in which order, and what becomes of their container. Each
//! decides by the program's own rule, `lease::transition`.

mod confirm;
mod release;
mod reserve;

use oci_mig_hook::lease::transition::Checks;

use crate::ledger::{Lease, Write};
use crate::machine::{Attempt, State};
use crate::rule::Rule;
use crate::sight::Sight;

pub use reserve::Answer;

/// One stretch under the lock.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is written, in this order.
    pub writes: Vec<Write>,
    /// Whose stage it is, and what becomes of the attempt if it ends, and if it is killed. None where it is nobody's.
    pub whose: Option<Whose>,
    /// A lease is taken from a holder that lives.
    pub robs: bool,
}

/// Whose stage it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whose {
    /// The attempt.
    pub who: usize,
    /// What has become of it when the stage has ended.
    pub ended: Attempt,
    /// What has become of it where the stage was killed.
    pub killed: Attempt,
}

/// The stages, in one state.
#[derive(Clone, Copy, Debug)]
pub struct Stages<'a> {
    /// What is seen of holders.
    pub sight: Sight<'a>,
    /// By which checks the rule goes.
    pub checks: Checks,
    /// What becomes of a lease by it.
    pub rule: &'a Rule,
}

impl Plan {
    fn of(who: usize, ended: Attempt, killed: Attempt) -> Plan {
        Plan {
            whose: Some(Whose { who, ended, killed }),
            ..Plan::nobodys()
        }
    }

    fn nobodys() -> Plan {
        Plan {
            writes: Vec::new(),
            whose: None,
            robs: false,
        }
    }
}

impl<'a> Stages<'a> {
    fn state(&self) -> &'a State {
        self.sight.state
    }

    fn attempt(&self, who: usize) -> Attempt {
        self.state().attempts[who]
    }

    /// Whether attempt `who` is of the container that holds `lease`, by its id.
    fn is_same_container(&self, who: usize, lease: &Lease) -> bool {
        let cast = self.sight.cast;
        cast.role(who).id == cast.role(usize::from(lease.holder.who)).id
    }
}
