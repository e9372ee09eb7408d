//! The one line: a failure is said where the person who typed the command reads it, and in the system log.
//!
//! A hook's own standard error is not enough. runc reads it through a pipe and prints it; Podman (for precreate) and
//! crun point it at /dev/null. Then the line goes to the standard error of that engine itself, and into its log file
//! where it has one, because Podman prefers that file to what its runtime printed.
//!
//! Nothing here costs a container that succeeds anything, nothing waits for a reader that doesn't read, and nothing
//! fails: there would be nobody left to tell.

#![forbid(unsafe_code)]

mod engine;
mod log;
mod place;
mod system_log;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::failure::Failure;
use crate::oci::Log;
use engine::Engine;

/// Says why a command that a person typed failed: on standard error.
pub fn to_person(failure: &Failure) {
    place::say(io::stderr().as_fd(), &line(failure));
}

/// Says why a hook failed: in the system log, and to the person who gave the engine its command.
pub fn to_engine(failure: &Failure) {
    let line = line(failure);
    // First, because an engine may lose patience with its hook.
    system_log::error(failure);
    let own = io::stderr();
    place::say(own.as_fd(), &line);
    if place::is_read_by_the_caller(own.as_fd()) {
        return;
    }
    if let Some(engine) = Engine::that_called_us() {
        tell(&engine, own.as_fd(), &line);
    }
}

/// Says of a container that starts what is wrong with it, to the same readers; no log file of an engine's, where only
/// what failed is looked for.
pub fn warning_to_engine(failure: &Failure) {
    system_log::warning(failure);
    to_engines_reader(&warning(failure));
}

/// Says of a container that waits what it waits for, to the same readers.
pub fn waiting_to_engine(failure: &Failure) {
    system_log::info(failure);
    to_engines_reader(&line(failure));
}

fn to_engines_reader(line: &str) {
    let own = io::stderr();
    place::say(own.as_fd(), line);
    if place::is_read_by_the_caller(own.as_fd()) {
        return;
    }
    if let Some(stderr) = Engine::that_called_us().and_then(|engine| engine.stderr()) {
        if !place::is_same(stderr.as_fd(), own.as_fd()) {
            place::say(stderr.as_fd(), line);
        }
    }
}

/// The same as a runtime says it.
pub fn warning_to_runtimes_caller(failure: &Failure, log: Option<&Log>) {
    let line = warning(failure);
    system_log::warning(failure);
    if let Some(log) = log {
        log::say(log, "warning", &line);
    }
    place::say(io::stderr().as_fd(), &line);
}

/// Says of a container that waits what it waits for, as a runtime does: not in the engine's log, which is read for what
/// failed.
pub fn waiting_to_runtimes_caller(failure: &Failure) {
    system_log::info(failure);
    place::say(io::stderr().as_fd(), &line(failure));
}

/// Says why a runtime's call failed, as a runtime does: in the system log, in the log that the engine named, and on
/// standard error.
pub fn to_runtimes_caller(failure: &Failure, log: Option<&Log>) {
    let line = line(failure);
    system_log::error(failure);
    if let Some(log) = log {
        log::say(log, "error", &line);
    }
    place::say(io::stderr().as_fd(), &line);
}

fn tell(engine: &Engine, own: BorrowedFd<'_>, line: &str) {
    if let Some(stderr) = engine
        .stderr()
        .filter(|stderr| !place::is_same(stderr.as_fd(), own))
    {
        place::say(stderr.as_fd(), line);
    }
    if let Some(log) = engine.log() {
        log::say(&log, "error", line);
    }
}

fn warning(failure: &Failure) -> String {
    format!("oci-mig-hook: warning: {failure}")
}

fn line(failure: &Failure) -> String {
    format!("oci-mig-hook: {failure}")
}
