//! Ends what hangs: a stage that doesn't come to its end within a deadline is killed with all its processes, and that
//! is a violation.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Much longer than any deadline of the program's own (the ledger's lock: 10 s), and than a virtual machine that its host
/// lets stand still for a while.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Default)]
struct Watched {
    pids: BTreeSet<Pid>,
    has_bitten: bool,
}

/// A watchdog; it sleeps again when this is dropped.
pub struct Watchdog {
    watched: Arc<Mutex<Watched>>,
    leash: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub fn new() -> Self {
        let watched = Arc::new(Mutex::new(Watched::default()));
        let (leash, pulled) = mpsc::channel();
        let theirs = watched.clone();
        let thread = std::thread::spawn(move || {
            let mut patience = DEADLINE;
            // Again and again after that: what is ended may leave others.
            while pulled.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                bite(&theirs);
                patience = Duration::from_millis(100);
            }
        });
        Self {
            watched,
            leash: Some(leash),
            thread: Some(thread),
        }
    }

    pub fn watch(&self, pid: Pid) {
        lock(&self.watched).pids.insert(pid);
    }

    /// It has ended: its number may be another's soon.
    pub fn unwatch(&self, pid: Pid) {
        lock(&self.watched).pids.remove(&pid);
    }

    pub fn has_bitten(&self) -> bool {
        lock(&self.watched).has_bitten
    }
}

fn bite(watched: &Mutex<Watched>) {
    let mut watched = lock(watched);
    watched.has_bitten = true;
    for pid in &watched.pids {
        let _ = kill(*pid, Signal::SIGKILL);
    }
}

fn lock(watched: &Mutex<Watched>) -> std::sync::MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.leash.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
