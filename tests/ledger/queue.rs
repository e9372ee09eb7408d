//! The queue of those who wait: places, and whose they are.

use std::collections::BTreeMap;
use std::time::Duration;

use oci_mig_hook::lease::liveness::Here;
use oci_mig_hook::lease::{Ledger, Ticket};

use crate::node::Scratch;

fn ticket(container: &str, wait: Duration) -> Ticket {
    Ticket::new(&Here::look().unwrap(), container, BTreeMap::new(), wait).unwrap()
}

/// A ticket that was dropped, because its time was over, and whose number another waiter has by now.
#[test]
fn who_leaves_takes_no_place_but_its_own() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let mut ledger = ledger.lock().unwrap();
    let (mut first, mut second) = (ticket("a", Duration::ZERO), ticket("b", Duration::from_secs(60)));
    // Two waiters are two processes: these tell each other apart by when they came.
    second.since += 1;
    ledger.enter(&[], &mut first).unwrap();
    ledger.leave(&first).unwrap();
    ledger.enter(&[], &mut second).unwrap();
    assert_eq!(first.number, second.number);
    ledger.leave(&first).unwrap();
    let here = Here::look().unwrap();
    assert_eq!(ledger.living_queue(&here).unwrap(), [second.clone()]);
    ledger.leave(&second).unwrap();
    assert_eq!(ledger.living_queue(&here).unwrap(), []);
}
