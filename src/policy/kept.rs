//! What is kept for those who have waited longer: nobody takes a device while an earlier waiter's request could be met with
//! it, and everybody passes whose devices no earlier waiter could use.

use super::refusal::Refusal;
use super::{Held, Limits, candidates, choose};
use crate::mig::{DeviceName, Inventory};
use crate::request::Request;

/// One who asked earlier, and waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// What it asks for.
    pub request: Request,
    /// Its short name.
    pub name: String,
    /// Free devices that don't serve it.
    pub avoids: Vec<DeviceName>,
}

/// What is held, and what is kept for `earlier`, the first of them first.
///
/// One who could be served now will take what the rules of the choice give him: that is kept, and no more. One who can't
/// gathers: every free device that would do is kept for him, or a request for several would wait for ever while others
/// come and go. Who can't be served on this node at all keeps nothing.
pub fn keep(earlier: &[Earlier], node: &Inventory, mut held: Held, limits: &Limits) -> Held {
    for waiter in earlier {
        let mut seen = held.clone();
        for device in &waiter.avoids {
            seen.hold(device, "");
        }
        let chosen = match choose(&waiter.request, node, &seen, limits) {
            Err(Refusal::Held { .. }) => candidates(&waiter.request, node, limits),
            chosen => chosen,
        };
        let free = chosen
            .into_iter()
            .flatten()
            .filter(|chosen| seen.by(*chosen).is_none());
        for kept in free {
            held.hold(&kept.name(), &format!("kept for {}", waiter.name));
        }
    }
    held
}
