//! Many containers at once, few devices: no device is ever two containers' at a time, and everyone gets one in the
//! end. The judge stands outside: each container makes a file named after its device, which only one can make
//! (O_EXCL), and removes it when it ends.

use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::bundle::Bundle;
use crate::support::machine::Machine;
use crate::support::process::{Outcome, say};
use crate::support::runtime::{Engine, Runtime};
use crate::support::scratch::Scratch;

const DEVICES: usize = 7;
const CONTAINERS: usize = 200;
const PROCESSES: usize = 32;

/// The exit code of a container that found its device in use.
const VIOLATION: i32 = 99;

/// What the judge saw.
#[derive(Debug, Default)]
pub struct Verdict {
    grants: AtomicUsize,
    refusals: AtomicUsize,
    violations: AtomicUsize,
    /// Neither granted nor refused; and the first of them in words.
    failures: AtomicUsize,
    first_failure: OnceLock<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [grants, refusals, violations, failures] =
            [&self.grants, &self.refusals, &self.violations, &self.failures]
                .map(|count| count.load(Ordering::Relaxed));
        write!(
            f,
            "{grants} grants, {refusals} refusals, {violations} violations, {failures} failures"
        )
    }
}

impl Verdict {
    /// Everyone was served, never two with one device, and not without a fight.
    #[track_caller]
    pub fn assert_fair(&self, containers: usize) {
        let [grants, refusals, violations, failures] =
            [&self.grants, &self.refusals, &self.violations, &self.failures]
                .map(|count| count.load(Ordering::Relaxed));
        assert_eq!(violations, 0, "a device was two containers' at once: {self:?}");
        assert_eq!(grants, containers, "{self:?}");
        assert_eq!(failures, 0, "{self:?}");
        assert!(refusals > 0, "never more containers than devices? {self:?}");
    }

    /// Everyone was served at the first try.
    #[track_caller]
    fn assert_all_at_once(&self, containers: usize) {
        let expected = Verdict {
            grants: containers.into(),
            ..Verdict::default()
        };
        assert_eq!(self.to_string(), expected.to_string(), "{self:?}");
    }
}

/// The container's own part: its device is named by its capability nodes; `set -C` makes `>` an O_EXCL.
const SCRIPT: &str = r#"
device=$(ls /dev/nvidia-caps | tr '\n' '+')
set -C
( : >"/judge/$device" ) 2>/dev/null || exit 99
sleep 0.05
rm "/judge/$device"
"#;

/// A container that asks for a device, and what else it says.
type Asking<'a> = &'a (dyn Fn(Bundle) -> Bundle + Sync);

const AT_ONCE: Asking = &|bundle| bundle;

const WAITING: Asking = &|bundle| bundle.annotation("mig.wait", "10m");

fn bundle(machine: &Machine, judge: &Path, asking: Asking) -> Bundle {
    let bundle = machine
        .bundle()
        .annotation("mig.profile", "1g.10gb")
        .bind(judge, "/judge")
        .script(SCRIPT);
    asking(bundle).write()
}

/// Runs all containers; `engine` gives each process its own.
fn all(
    machine: &Machine,
    containers: usize,
    asking: Asking,
    engine: impl Fn(usize) -> Engine + Sync,
) -> Verdict {
    let judge = Scratch::new("judge");
    let verdict = Verdict::default();
    let next = AtomicUsize::new(0);
    let deadline = Instant::now() + Duration::from_secs(240 + containers as u64 / 5);
    thread::scope(|scope| {
        for process in 0..PROCESSES {
            let (verdict, next, engine, judge) = (&verdict, &next, &engine, &judge);
            scope.spawn(move || {
                let engine = engine(process);
                while next.fetch_add(1, Ordering::Relaxed) < containers {
                    let bundle = bundle(machine, judge.path(), asking);
                    until_it_ran(verdict, deadline, || engine.run(&bundle));
                }
            });
        }
    });
    verdict
}

/// Retries until it ran, as a user would.
pub fn until_it_ran(verdict: &Verdict, deadline: Instant, attempt: impl Fn() -> Outcome) {
    loop {
        let outcome = attempt();
        let count = match outcome.code() {
            0 => &verdict.grants,
            VIOLATION => &verdict.violations,
            _ if is_refusal(&outcome) => &verdict.refusals,
            _ => {
                verdict.first_failure.get_or_init(|| outcome.to_string());
                &verdict.failures
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        if [0, VIOLATION].contains(&outcome.code()) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "not served for minutes: {outcome}\n{verdict:?}"
        );
        thread::sleep(Duration::from_millis(40));
    }
}

/// runc passes our words on; crun 1.8 says no more than the hook's exit code.
fn is_refusal(outcome: &Outcome) -> bool {
    outcome.text().contains("7 of 7 held") || outcome.text().contains("(exit code: 1)")
}

/// Half of the processes use runc, half crun, each on the views it has here.
fn mixed(process: usize) -> Engine {
    let runtime = if process % 2 == 0 {
        Runtime::Runc
    } else {
        Runtime::Crun
    };
    let views = runtime.views();
    Engine::new(runtime, views[process / 2 % views.len()])
}

#[test]
fn two_hundred_containers_from_thirty_two_processes_on_seven_devices() {
    no_device_is_given_twice(CONTAINERS);
}

#[test]
#[ignore = "takes minutes: tests/run --soak"]
fn soak_five_thousand_containers() {
    no_device_is_given_twice(5000);
}

fn no_device_is_given_twice(containers: usize) {
    let machine = Machine::with(&["1g.10gb"; DEVICES]);
    let started = Instant::now();
    let verdict = all(&machine, containers, AT_ONCE, mixed);
    say(&format!(
        "{containers} containers, {PROCESSES} processes, {DEVICES} devices, {} s: {verdict}",
        started.elapsed().as_secs()
    ));
    verdict.assert_fair(containers);
    machine.assert_free("after all");
}

/// Who waits is served without being refused once.
#[test]
fn two_hundred_containers_that_wait_are_served_at_the_first_try() {
    let machine = Machine::with(&["1g.10gb"; DEVICES]);
    let started = Instant::now();
    let verdict = all(&machine, CONTAINERS, WAITING, mixed);
    let seconds = started.elapsed().as_secs();
    say(&format!("the same, waiting, {seconds} s: {verdict}"));
    verdict.assert_all_at_once(CONTAINERS);
    machine.assert_free("after all");
}

/// A runtime for every other process goes through this: it puts another ledger over the machine's, in a mount namespace of
/// its own, and so knows nothing of what the other half was given. (A lock alone that isn't shared gives nothing away:
/// writers that meet spoil each other's file, and a ledger that can't be read serves nobody.)
const SABOTAGE: &str = r#"mount --bind "$1" "$2" && shift 2 && exec "$@""#;

/// A ledger that half of the processes don't share.
pub struct Sabotage {
    ledger: PathBuf,
    other: Scratch,
}

impl Sabotage {
    pub fn new(machine: &Machine) -> Self {
        let (ledger, other) = (machine.ledger(), Scratch::new("saboteur"));
        fs::create_dir_all(&ledger).expect("a ledger");
        for folder in [&ledger, other.path()] {
            fs::set_permissions(folder, Permissions::from_mode(0o700)).expect("a mode");
        }
        Self { ledger, other }
    }

    pub fn engine(&self, process: usize) -> Engine {
        let engine = mixed(process);
        if process / 2 % 2 == 0 {
            return engine;
        }
        let words = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            SABOTAGE,
            "sh",
        ];
        let words = words.map(PathBuf::from).into_iter();
        engine.through(words.chain([self.other.path().to_owned(), self.ledger.clone()]))
    }
}

/// The judge would see it: with two ledgers of the same devices, they are given out twice.
#[test]
fn a_second_ledger_is_seen() {
    let machine = Machine::with(&["1g.10gb"; DEVICES]);
    let sabotage = Sabotage::new(&machine);
    let verdict = all(&machine, CONTAINERS, AT_ONCE, |process| sabotage.engine(process));
    say(&format!("the same with a second ledger: {verdict}"));
    assert!(
        verdict.violations.load(Ordering::Relaxed) > 0,
        "the judge saw nothing: {verdict:?}"
    );
}
