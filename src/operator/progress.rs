//! What a person at a terminal sees while the driver takes its time. A log or a pipe sees nothing of it.

use std::io::{IsTerminal, Write};

use crate::host::Host;

/// Back to the line's start, and the line cleared (ECMA-48 EL).
const CLEAR: &str = "\r\x1b[K";

/// `host`, showing on a terminal what NVML is asked whenever its answer takes long.
pub fn shown(host: Host) -> Host {
    if std::io::stderr().is_terminal() {
        host.with_progress(show)
    } else {
        host
    }
}

/// Takes the last word of progress off the terminal.
pub fn clear() {
    if std::io::stderr().is_terminal() {
        say(CLEAR);
    }
}

fn show(question: &str) {
    say(&format!("{CLEAR}waiting for the driver: {question} "));
}

fn say(text: &str) {
    // Nothing depends on it.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
