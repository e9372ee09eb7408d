//! An engine's daemon: begun, killed, and begun again over what it left.

use std::process::Command;
use std::sync::Mutex;

use super::process::{DEADLINE, Running, holds_within, kill, start};

/// A daemon, which may be running. When this is dropped, it is not.
#[derive(Debug)]
pub struct Daemon {
    name: &'static str,
    process: Mutex<Option<Running>>,
}

impl Daemon {
    /// One that doesn't run yet.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            process: Mutex::new(None),
        }
    }

    /// Begins it, and waits until it answers.
    #[track_caller]
    pub fn begin(&self, command: &mut Command, answers: impl FnMut() -> bool) {
        *self.process.lock().expect("the daemon") = Some(start(command, None));
        assert!(
            holds_within(DEADLINE, answers),
            "{} does not answer: {}",
            self.name,
            self.words()
        );
    }

    /// `kill -9` of the daemon; what it has started lives on.
    pub fn kill(&self) {
        if let Some(mut process) = self.process.lock().expect("the daemon").take() {
            kill(process.pid());
            process.wait(DEADLINE);
        }
    }

    /// The same when all ends. No panics here: a test may be failing already.
    pub fn end(&mut self) {
        drop(self.process.get_mut().map(Option::take));
    }

    /// What it said since it began.
    pub fn words(&self) -> String {
        let process = self.process.lock().expect("the daemon");
        process.as_ref().map(Running::stderr).unwrap_or_default()
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.process
            .lock()
            .expect("the daemon")
            .as_ref()
            .map(Running::pid)
    }
}
