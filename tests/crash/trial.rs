//! A stage's trials: one run that counts its calls, and one run for each point that is tried.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::judge::{Judge, Manner};
use crate::maker::Ended;
use crate::plan::Point;
use crate::recorder::Recorder;
use crate::sample::sample;
use crate::striker::Striker;
use crate::support::process::say;
use crate::watcher::Watcher;

/// Something that an engine calls us for.
pub trait Stage {
    fn name(&self) -> String;

    /// Calls about something below these are always tried.
    fn dear(&self) -> Vec<PathBuf>;

    /// Another stage makes the same calls of its own, so that a sample of all is enough here.
    fn is_a_variant(&self) -> bool {
        false
    }

    /// Sets the scene anew and has it called, `watcher` looking on. `judge` is told what is wrong with the world
    /// afterwards, but not what is wrong with how it ended.
    fn play(&self, watcher: &mut dyn Watcher, judge: &mut Judge, struck: Option<&Point>) -> Ended;

    fn manner(&self) -> Manner {
        Manner::PLAIN
    }
}

/// How many points are tried of those that are not dear: all, or so many for each stage.
const SAMPLE: usize = 40;

/// What the environment says of that: `all`, or a number.
const POINTS: &str = "OCI_MIG_HOOK_CRASH_POINTS";

/// And by which numbers they are chosen.
const SEED: &str = "OCI_MIG_HOOK_CRASH_SEED";

/// Only points whose words have this in them, such as `EINTR from read #2 of process 0`: what a violation names.
const ONLY: &str = "OCI_MIG_HOOK_CRASH_ONLY";

/// The points that all stages have tried so far.
static ALL: AtomicUsize = AtomicUsize::new(0);

#[derive(Default)]
struct Count {
    tried: usize,
    /// The call didn't come, this time.
    missed: usize,
    killed: usize,
    failed: usize,
    succeeded: usize,
    violations: Vec<String>,
}

/// Tries `stage`, and says how it went; the test fails where anything is wrong.
#[track_caller]
pub fn try_all(stage: &dyn Stage) {
    let started = Instant::now();
    let name = stage.name();
    // The shorter of two: what only happens now and then may not come again.
    let (calls, points) = std::cmp::min_by_key(record(stage), record(stage), |(calls, _)| *calls);
    let of = points.len();
    let (chosen, how) = choose(points, stage.is_a_variant());
    let mut count = Count::default();
    for point in &chosen {
        try_one(stage, point, &mut count);
    }
    let Count {
        tried,
        missed,
        killed,
        failed,
        succeeded,
        violations,
    } = count;
    say(&format!(
        "crash: {name}: {calls} calls, {tried} of {of} points tried{how}, {killed} killed, {failed} failed cleanly, \
         {succeeded} succeeded, {missed} did not come, {} violations, {} s; {} points in all so far",
        violations.len(),
        started.elapsed().as_secs(),
        ALL.fetch_add(tried, Ordering::Relaxed) + tried
    ));
    assert!(
        violations.is_empty(),
        "{name}: {} violations\n\n{}",
        violations.len(),
        summary(&violations)
    );
    // A call that depends on the moment may not come again; that most do is what makes this a trial of all.
    assert!(
        missed * 20 <= chosen.len(),
        "{name}: {missed} of {tried} points did not come"
    );
}

fn record(stage: &dyn Stage) -> (usize, Vec<Point>) {
    let mut recorder = Recorder::new(stage.dear());
    let mut judge = Judge::default();
    let ended = stage.play(&mut recorder, &mut judge, None);
    let (code, stderr) = (ended.code, &ended.stderr);
    assert_eq!(
        code,
        stage.manner().alone,
        "{}, left alone: {stderr}",
        stage.name()
    );
    assert!(
        judge.violations.is_empty(),
        "{}, left alone: {judge:#?}",
        stage.name()
    );
    recorder.points()
}

fn choose(mut points: Vec<Point>, is_a_variant: bool) -> (Vec<Point>, String) {
    if let Ok(only) = std::env::var(ONLY) {
        let is_it = |point: &Point| format!("{point} ").contains(&format!("{only} "));
        points.retain(is_it);
        return (points, format!(" ({ONLY}={only})"));
    }
    let wanted = std::env::var(POINTS).unwrap_or_default();
    if wanted == "all" {
        return (points, String::new());
    }
    if is_a_variant {
        points.iter_mut().for_each(|point| point.is_dear = false);
    }
    let more = wanted.parse().unwrap_or(SAMPLE);
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(1);
    (sample(points, more, seed), format!(" ({SEED}={seed})"))
}

fn try_one(stage: &dyn Stage, point: &Point, count: &mut Count) {
    let mut striker = Striker::new(point);
    let mut judge = Judge::default();
    let ended = stage.play(&mut striker, &mut judge, Some(point));
    judge.ended_cleanly(&ended, point, &stage.manner());
    count.tried += 1;
    match ended.code {
        _ if !striker.has_struck => count.missed += 1,
        _ if ended.was_killed() => count.killed += 1,
        0 => count.succeeded += 1,
        _ => count.failed += 1,
    }
    if std::env::var_os(ONLY).is_some() {
        say(&format!("{point}: {} {}", ended.code, ended.stderr.trim_end()));
    }
    let found = judge.violations.into_iter();
    count
        .violations
        .extend(found.map(|what| format!("{point}: {what}")));
}

/// The first violations, and how many there were of each call.
fn summary(violations: &[String]) -> String {
    let mut by_call: BTreeMap<&str, usize> = BTreeMap::new();
    for violation in violations {
        *by_call
            .entry(violation.split(')').next().unwrap_or_default())
            .or_default() += 1;
    }
    let first: Vec<_> = violations.iter().take(20).map(String::as_str).collect();
    format!("{}\n\n{by_call:#?}", first.join("\n"))
}
