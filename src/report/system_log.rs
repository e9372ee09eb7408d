//! The system log: syslog's socket, at which journald listens too.

#![forbid(unsafe_code)]

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::failure::Failure;

const SOCKET: &str = "/dev/log";

/// syslog's facility "daemon", severities "error", "warning" and "informational" (RFC 3164).
const DAEMON_ERROR: u8 = (3 << 3) | 3;
const DAEMON_WARNING: u8 = (3 << 3) | 4;
const DAEMON_INFO: u8 = (3 << 3) | 6;

/// How long a log that is busy may take. Its queue is short (net.unix.max_dgram_qlen), and many containers may be
/// refused at once.
const PATIENCE: Duration = Duration::from_millis(200);

/// Logs `failure`. A machine without a system log is no error.
pub fn error(failure: &Failure) {
    log(DAEMON_ERROR, failure);
}

/// Logs what did not fail yet.
pub fn warning(failure: &Failure) {
    log(DAEMON_WARNING, failure);
}

/// Logs what is under way.
pub fn info(failure: &Failure) {
    log(DAEMON_INFO, failure);
}

fn log(priority: u8, failure: &Failure) {
    let message = format!("<{priority}>oci-mig-hook[{}]: {failure}", std::process::id());
    let _ = send(message.as_bytes());
}

fn send(message: &[u8]) -> std::io::Result<usize> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to(message, SOCKET)
}
