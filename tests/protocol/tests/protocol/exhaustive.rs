//! Every state that can be reached: nothing is given twice, lost, leaked or stuck.

use std::io::Write;
use std::time::Instant;

use protocol::cast::Cast;
use protocol::model::Protocol;
use stateright::{Checker, HasDiscoveries, Model};

use crate::casts::{all_pairs, pairs, three};

/// Two cores are what the tests are made for.
const THREADS: usize = 2;

/// Looks at every state, and says how many there are.
fn check(name: &str, casts: Vec<Cast>) {
    let start = Instant::now();
    let checker = Protocol::new(casts.clone())
        .checker()
        .threads(THREADS)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let said = format!(
        "{name}: {} casts, {} states, {} steps, depth {}, {:.1} s",
        casts.len(),
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        start.elapsed().as_secs_f64()
    );
    // Past the harness, which keeps a passed test's output to itself.
    let _ = writeln!(std::io::stderr(), "{said}");
    if let Some((_, path)) = checker.discoveries().into_iter().next() {
        let broken = usize::from(path.last_state().cast);
        panic!("{}", explain(casts[broken]));
    }
}

/// The shortest way to what went wrong with a cast.
fn explain(cast: Cast) -> String {
    let checker = Protocol::new(vec![cast])
        .readable()
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let (property, path) = checker
        .discoveries()
        .into_iter()
        .next()
        .expect("it failed before");
    let steps: Vec<String> = path
        .into_actions()
        .into_iter()
        .map(|step| step.action.to_string())
        .collect();
    format!("not so: {property}\n{cast:#?}\n  {}", steps.join("\n  "))
}

#[test]
fn three_processes_that_are_tampered_with_and_rebooted() {
    let cast = Cast {
        rot: false,
        ..three()
    };
    check("three processes, two devices", vec![cast]);
}

#[test]
fn three_processes_whose_files_rot() {
    let cast = Cast {
        tampering: false,
        reboot: false,
        ..three()
    };
    check("three processes, two devices, files that rot", vec![cast]);
}

#[test]
fn two_processes_of_most_kinds() {
    check("two processes, two devices", pairs());
}

#[test]
#[ignore = "minutes: tests/run --long"]
fn long_three_processes_and_everything_at_once() {
    check("three processes, two devices, everything at once", vec![three()]);
}

#[test]
#[ignore = "minutes: tests/run --long"]
fn long_two_processes_of_every_kind() {
    check("two processes of every kind, two devices", all_pairs());
}
