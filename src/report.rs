//! The one line: where a failure is said so that the person who typed the command reads it.

#![forbid(unsafe_code)]

use std::io::Write;
use std::os::unix::net::UnixDatagram;

use crate::failure::Failure;

/// Where syslog listens; journald listens there too.
const SYSTEM_LOG: &str = "/dev/log";

/// syslog's facility "daemon", severity "error" (RFC 3164).
const DAEMON_ERROR: u8 = (3 << 3) | 3;

/// Says why this run failed: on standard error and in the system log.
pub fn failure(failure: &Failure) {
    let line = format!("oci-mig-hook: {failure}\n");
    // Nobody is left to tell where even this fails.
    let _ = std::io::stderr().write_all(line.as_bytes());
    let _ = to_system_log(failure);
}

/// A machine without a system log is no error, and one whose log is stuck must not hold up a container.
fn to_system_log(failure: &Failure) -> std::io::Result<usize> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let message = format!("<{DAEMON_ERROR}>oci-mig-hook[{}]: {failure}", std::process::id());
    socket.send_to(message.as_bytes(), SYSTEM_LOG)
}
