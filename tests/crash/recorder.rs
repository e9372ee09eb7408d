//! A run in which nothing is done, for its points.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::call::Call;
use crate::plan::{Blow, Place, Point};
use crate::watcher::{Order, Watcher};

/// Counts a run's calls.
#[derive(Default)]
pub struct Counter(BTreeMap<(usize, &'static str), usize>);

impl Counter {
    pub fn place(&mut self, call: &Call) -> Place {
        let count = self.0.entry((call.process, call.kind.name)).or_default();
        *count += 1;
        Place {
            process: call.process,
            kind: call.kind.name,
            nth: *count,
        }
    }
}

/// A call under way: what could be done to it.
struct Open {
    point: Point,
    errors: Vec<Errno>,
    moves_bytes: bool,
    changes: bool,
}

/// A run in which nothing is done, for its points.
pub struct Recorder {
    dear: Vec<PathBuf>,
    looks: BTreeSet<(&'static str, Option<PathBuf>)>,
    counter: Counter,
    open: BTreeMap<usize, Open>,
    calls: usize,
    points: Vec<Point>,
}

impl Recorder {
    /// Calls that are about something in one of these folders are always tried.
    pub fn new(dear: Vec<PathBuf>) -> Self {
        Self {
            dear,
            looks: BTreeSet::new(),
            counter: Counter::default(),
            open: BTreeMap::new(),
            calls: 0,
            points: Vec::new(),
        }
    }

    /// How many calls there were, and the points.
    pub fn points(mut self) -> (usize, Vec<Point>) {
        // A process's last call, and one that becomes another program, come back to nobody.
        for open in std::mem::take(&mut self.open).into_values() {
            self.add(open, 0);
        }
        (self.calls, self.points)
    }

    /// Of calls that only look, the first of its kind at each thing.
    fn is_dear(&mut self, call: &Call, subject: Option<&Path>) -> bool {
        if call.answers() || call.kind.changes() {
            return true;
        }
        let below = |folder: &PathBuf| subject.is_some_and(|subject| subject.starts_with(folder));
        let look = (call.kind.name, subject.map(Path::to_owned));
        self.dear.iter().any(below) && self.looks.insert(look)
    }

    fn add(&mut self, open: Open, result: i64) {
        let Open {
            point,
            errors,
            moves_bytes,
            changes,
        } = open;
        let kills = [Blow::KillBefore, Blow::KillAfter].into_iter();
        let failures = errors.into_iter().map(|errno| match stays(errno) {
            true => Blow::FailFromThereOn(errno),
            false => Blow::Fail(errno),
        });
        let shorter = (moves_bytes && result > 1).then_some(Blow::Shorten);
        let blows = kills.chain(failures).chain(shorter);
        self.points.extend(blows.map(|blow| Point {
            blow,
            // Of a call that only looks, one kill and one failure stand for all.
            is_dear: point.is_dear && (changes || matches!(blow, Blow::KillBefore | Blow::Fail(Errno::EIO))),
            ..point.clone()
        }));
    }
}

/// Whether a machine that answers so once goes on to do so.
fn stays(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSPC | Errno::EROFS | Errno::EMFILE)
}

impl Watcher for Recorder {
    fn enters(&mut self, call: &Call) -> Order {
        self.calls += 1;
        if call.kind.is_silent() {
            return Order::Go;
        }
        let subject = call.subject();
        let point = Point {
            place: self.counter.place(call),
            leader: call.leader,
            blow: Blow::KillBefore,
            is_dear: self.is_dear(call, subject.as_deref()),
            subject: subject.map_or_else(|| "-".to_owned(), |subject| subject.display().to_string()),
        };
        let errors = call.kind.errors.iter().copied();
        let open = Open {
            point,
            errors: errors.filter(|errno| call.fits(*errno)).collect(),
            moves_bytes: call.kind.moves_bytes(),
            changes: call.kind.changes(),
        };
        if let Some(interrupted) = self.open.insert(call.process, open) {
            self.add(interrupted, 0);
        }
        Order::Go
    }

    fn leaves(&mut self, process: usize, result: i64) {
        if let Some(open) = self.open.remove(&process) {
            self.add(open, result);
        }
    }

    fn is_done(&self) -> bool {
        false
    }
}
