//! A thousand containers through runc and crun on seven devices, with `kill -9` at random moments of hook, runtime and
//! init: no device is ever two containers' at once, and one `gc` afterwards finds everything again. The judge stands
//! outside ([`judge`]) and never looks into the ledger.

mod container;
mod judge;
mod victim;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use container::{Plan, Try, live};
use judge::Judge;
use victim::Victim;

use crate::contention::Sabotage;
use crate::support::bundle::Bundle;
use crate::support::machine::Machine;
use crate::support::process::{run, say};
use crate::support::runtime::{Engine, Runtime};
use crate::support::scratch::Scratch;

const DEVICES: usize = 7;
const PROCESSES: usize = 14;
const RUNTIMES: [Runtime; 2] = [Runtime::Runc, Runtime::Crun];

/// What became of all.
#[derive(Debug, Default)]
struct Count {
    ran: usize,
    refused: usize,
    killed: BTreeMap<Victim, usize>,
    failed: Vec<String>,
}

impl Count {
    /// Whether that was the container's end: one that was refused comes again.
    fn add(&mut self, end: Try) -> bool {
        match end {
            Try::Refused => self.refused += 1,
            Try::Ran => self.ran += 1,
            Try::Killed(victim) => *self.killed.entry(victim).or_default() += 1,
            Try::Failed(why) => {
                self.failed.push(why);
                return true;
            }
        }
        !matches!(end, Try::Refused)
    }
}

/// What containers come through: runc or crun with hooks, or either behind oci-mig-runtime, which needs none.
pub struct Door<'a> {
    machine: &'a Machine,
    pub engine: Engine,
    has_hooks: bool,
}

impl Door<'_> {
    pub fn bundle(&self) -> Bundle {
        match self.has_hooks {
            true => self.machine.bundle(),
            false => Bundle::new(),
        }
    }
}

/// The configurations of oci-mig-runtime before each real runtime.
struct Configs(Scratch);

impl Configs {
    fn new(machine: &Machine) -> Self {
        let folder = Scratch::new("configs");
        for runtime in RUNTIMES {
            let config = fs::read_to_string(machine.config()).expect("config.toml");
            let more = format!("[runtime]\npath = {:?}\n", runtime.program());
            folder.file(&format!("{runtime}.toml"), &(config + &more));
        }
        Self(folder)
    }

    /// One of the four doors for each process.
    fn door<'a>(&self, machine: &'a Machine, process: usize) -> Door<'a> {
        let runtime = RUNTIMES[process % 2];
        let has_hooks = process / 2 % 2 == 0;
        let engine = Engine::new(runtime, runtime.views()[0]);
        let engine = match has_hooks {
            true => engine,
            false => engine.interposed_by(self.0.join(format!("{runtime}.toml"))),
        };
        Door {
            machine,
            engine,
            has_hooks,
        }
    }
}

/// So many containers, as long as there is time.
fn all<'a>(
    containers: usize,
    time: Duration,
    plan: impl Fn(usize) -> Plan + Sync,
    door: impl Fn(usize) -> Door<'a> + Sync,
) -> (Count, Judge) {
    let (count, judge) = (Mutex::new(Count::default()), Judge::default());
    let next = AtomicUsize::new(0);
    let deadline = Instant::now() + time;
    thread::scope(|scope| {
        for process in 0..PROCESSES {
            let (count, judge, next, plan, door) = (&count, &judge, &next, &plan, &door);
            scope.spawn(move || {
                let door = door(process);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= containers || Instant::now() > deadline {
                        break;
                    }
                    loop {
                        let end = live(&door, &plan(number), judge);
                        if count.lock().expect("a count").add(end) {
                            break;
                        }
                        thread::sleep(Duration::from_millis(40));
                    }
                }
            });
        }
    });
    (count.into_inner().expect("a count"), judge)
}

/// Nothing of them is there any more, and `gc` has everything back.
#[track_caller]
fn assert_nothing_is_lost(machine: &Machine) {
    let before = machine.leases();
    let gc = run(&mut machine.program("gc")).ok();
    say(&format!(
        "{before} leases were left; one gc: {}",
        gc.stdout.replace('\n', "; ")
    ));
    assert_eq!(machine.leases(), 0, "after one gc: {:?}\n{gc}", machine.taken());
    assert!(machine.taken().is_empty(), "after one gc: {:?}", machine.taken());
    for folder in ["devices", "waiting"] {
        let left = fs::read_dir(machine.ledger().join(folder)).into_iter().flatten();
        assert_eq!(left.count(), 0, "{folder} after one gc");
    }
}

fn nothing_is_given_twice_or_lost(containers: usize, time: Duration) {
    let machine = Machine::with(&["1g.10gb"; DEVICES]);
    let configs = Configs::new(&machine);
    let started = Instant::now();
    let (count, judge) = all(containers, time, Plan::of, |process| {
        configs.door(&machine, process)
    });
    let violations = judge.violations();
    let Count {
        ran,
        refused,
        killed,
        failed,
    } = count;
    say(&format!(
        "{} containers on {DEVICES} devices, {} s: {ran} ran, killed {killed:?}, {refused} times refused, {} failed, {} \
         double grants",
        ran + killed.values().sum::<usize>() + failed.len(),
        started.elapsed().as_secs(),
        failed.len(),
        violations.len()
    ));
    assert!(violations.is_empty(), "{violations:#?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    for victim in [Victim::Hook, Victim::Runtime, Victim::Init] {
        assert!(killed.contains_key(&victim), "no {victim:?} was killed");
    }
    assert!(refused > 0, "never more containers than devices?");
    assert_nothing_is_lost(&machine);
}

/// As many of a thousand as five minutes let be, which is all of them unless the machine is slow.
#[test]
fn a_thousand_containers_with_kill_9_at_random_moments() {
    nothing_is_given_twice_or_lost(1000, Duration::from_secs(270));
}

#[test]
#[ignore = "takes minutes: tests/run --soak"]
fn soak_ten_thousand_containers_with_kill_9_at_random_moments() {
    nothing_is_given_twice_or_lost(10_000, Duration::from_secs(24 * 60 * 60));
}

/// The judge would see it: with two ledgers of the same devices, they are given out twice.
#[test]
fn a_second_ledger_is_seen() {
    let machine = Machine::with(&["1g.10gb"; DEVICES]);
    let sabotage = Sabotage::new(&machine);
    let in_peace = |number| Plan {
        victim: None,
        ..Plan::of(number)
    };
    let door = |process| Door {
        machine: &machine,
        engine: sabotage.engine(process),
        has_hooks: true,
    };
    let (_, judge) = all(100, Duration::from_secs(270), in_peace, door);
    let violations = judge.violations().len();
    say(&format!(
        "the same with a second ledger, and nobody killed: {violations} double grants"
    ));
    assert!(violations > 0, "the judge saw nothing");
}
