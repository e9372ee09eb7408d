//! What is read again while a client runs: faults, processes, and the trace file.
//!
//! A call costs one `stat` of the node's folder: a rename onto state.json, or a new trace, changes its times. A
//! change within the clock's last ticks may share its stamp with an earlier one, so a young stamp is not trusted.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::place;
use crate::state::{Live, TRACE};

/// A folder's identity and times.
type Stamp = (u64, u64, i64, i64);

/// For how long after a change its stamp may hide another one.
const YOUNG: Duration = Duration::from_millis(50);
/// How often a hanging call looks whether it still is to hang.
const LOOK: Duration = Duration::from_millis(20);

struct Seen {
    stamp: Option<Stamp>,
    live: Arc<Live>,
    trace: Option<File>,
}

static SEEN: Mutex<Option<Seen>> = Mutex::new(None);

/// The faults and processes of this moment. A node that was taken down keeps the last ones.
pub fn now() -> Arc<Live> {
    with_fresh(|seen| seen.live.clone())
}

/// Appends a call to the trace, if there is one: `pid function gpu code`, `-` for none.
pub fn trace(function: &str, gpu: Option<u32>, code: Option<u32>) {
    let or_dash = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    with_fresh(|seen| {
        if let Some(file) = &mut seen.trace {
            let line = format!(
                "{} {function} {} {}\n",
                std::process::id(),
                or_dash(gpu),
                or_dash(code)
            );
            // One write with O_APPEND: lines of several processes don't mix. A full disk must not change an answer.
            let _ = file.write_all(line.as_bytes());
        }
    });
}

/// Blocks while `function` is to hang on `gpu`.
pub fn hang_while_told(function: &str, gpu: Option<u32>) {
    while hangs(&now(), function, gpu) {
        thread::sleep(LOOK);
    }
}

/// Whether `function` is to hang on `gpu`.
pub fn hangs(live: &Live, function: &str, gpu: Option<u32>) -> bool {
    live.faults.hang.iter().any(|target| target.meets(function, gpu))
}

fn with_fresh<T>(look: impl FnOnce(&mut Seen) -> T) -> T {
    let dir = place::dir();
    let mut guard = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = guard.get_or_insert_with(|| Seen {
        stamp: None,
        live: Arc::default(),
        trace: None,
    });
    let stamp = stamp(dir);
    if stamp.is_none() || stamp != seen.stamp || stamp.is_some_and(is_young) {
        seen.stamp = stamp;
        seen.trace = OpenOptions::new().append(true).open(dir.join(TRACE)).ok();
        if let Ok(live) = Live::load(dir) {
            seen.live = Arc::new(live);
        }
    }
    look(seen)
}

fn stamp(dir: &Path) -> Option<Stamp> {
    let meta = dir.metadata().ok()?;
    Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

fn is_young((.., seconds, nanos): Stamp) -> bool {
    let changed = UNIX_EPOCH + Duration::new(seconds.max(0) as u64, nanos.clamp(0, 999_999_999) as u32);
    SystemTime::now()
        .duration_since(changed)
        .is_ok_and(|age| age < YOUNG)
}
