//! What each check of the rule is for: without it, something that must hold doesn't.

use std::io::Write;

use oci_mig_hook::lease::transition::{Check, Checks};
use protocol::model::Protocol;
use protocol::plant::Plant;
use protocol::property::{NEVER_BARE, NEVER_LEAKED, NEVER_LOST, NEVER_STUCK, NEVER_TWICE};
use stateright::{Checker, HasDiscoveries, Model};

use crate::casts::pairs;

/// The steps of the shortest way to break that property, with the first cast that can.
fn counterexample(property: &'static str, break_it: impl Fn(Protocol) -> Protocol) -> Vec<String> {
    for cast in pairs() {
        let mut model = break_it(Protocol::new(vec![cast]).readable());
        model.properties.retain(|known| known.name == property);
        let checker = model
            .checker()
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        if let Some(path) = checker.discovery(property) {
            let steps = path.into_actions().into_iter();
            return steps.map(|step| step.action.to_string()).collect();
        }
    }
    Vec::new()
}

/// What comes of leaving a check out. That a device is two live holders' is the worst.
fn harm(check: Check) -> &'static str {
    match check {
        Check::UnderNoLease
        | Check::StillReserved
        | Check::LeaseStands
        | Check::SameDevices
        | Check::NotReleasing
        | Check::HeldByNoOther
        | Check::ProcessGone
        | Check::ProcessSeen
        | Check::CgroupEmpty => NEVER_TWICE,
        Check::OwnLease
        | Check::NotTakenOver
        | Check::EndOfItsOwn
        | Check::MakerGoneOrLate
        | Check::NothingMade => NEVER_LOST,
        Check::ThisBoot => NEVER_LEAKED,
    }
}

fn tell(without: &str, property: &str, steps: &[String]) {
    let (count, way) = (steps.len(), steps.join(" > "));
    let _ = writeln!(
        std::io::stderr(),
        "{without}: not \"{property}\" in {count} steps: {way}"
    );
    assert!(count > 0, "{without}: no counterexample to \"{property}\"");
}

#[test]
fn every_check_is_needed() {
    for check in Check::ALL {
        let steps = counterexample(harm(check), |model| model.with_checks(Checks::without(check)));
        tell(&format!("without {check:?}"), harm(check), &steps);
    }
}

#[test]
fn planted_faults_are_found() {
    for (plant, property) in [
        (Plant::PidAlone, NEVER_LEAKED),
        (Plant::PidAlone, NEVER_TWICE),
        (Plant::Backwards, NEVER_BARE),
        (Plant::NobodyLooks, NEVER_STUCK),
    ] {
        let steps = counterexample(property, |model| model.with_plant(plant));
        tell(&format!("with {plant:?}"), property, &steps);
    }
}
