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

/// The faults and processes of one moment, and where calls are written down.
pub struct Now {
    /// What the file said.
    pub live: Live,
    trace: Option<File>,
}

static SEEN: Mutex<Option<(Stamp, Arc<Now>)>> = Mutex::new(None);

/// This moment. A node that was taken down keeps its last.
pub fn now() -> Arc<Now> {
    let dir = place::dir();
    let stamp = stamp(dir);
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    match (&*seen, stamp) {
        (Some((known, now)), Some(stamp)) if *known == stamp && !is_young(stamp) => return now.clone(),
        (Some((_, now)), None) => return now.clone(),
        _ => {}
    }
    let now = Arc::new(Now {
        live: Live::load(dir).unwrap_or_default(),
        trace: OpenOptions::new().append(true).open(dir.join(TRACE)).ok(),
    });
    *seen = Some((stamp.unwrap_or_default(), now.clone()));
    now
}

impl Now {
    /// Appends a call to the trace, if there is one: `pid function gpu code`, `-` for none.
    pub fn trace(&self, function: &str, gpu: Option<u32>, code: Option<u32>) {
        let Some(mut file) = self.trace.as_ref() else {
            return;
        };
        let or_dash = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
        let pid = std::process::id();
        let line = format!("{pid} {function} {} {}\n", or_dash(gpu), or_dash(code));
        // One write with O_APPEND: lines of several processes don't mix. A full disk must not change an answer.
        let _ = file.write_all(line.as_bytes());
    }

    /// Whether `function` is to hang on `gpu`.
    pub fn hangs(&self, function: &str, gpu: Option<u32>) -> bool {
        self.live
            .faults
            .hang
            .iter()
            .any(|target| target.meets(function, gpu))
    }
}

/// Blocks while `function` is to hang on `gpu`.
pub fn hang_while_told(function: &str, gpu: Option<u32>) {
    while now().hangs(function, gpu) {
        thread::sleep(LOOK);
    }
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
