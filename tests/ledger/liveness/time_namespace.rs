//! A time namespace moves the clocks, and the start times that /proc shows.

use oci_mig_hook::lease::liveness;
use oci_mig_hook::lease::{LeaseState, Process};

use super::elsewhere::status_in;
use super::{seen_by, spawn, state};
use crate::node::{container_of, lease_of};

/// Offsets to the nanosecond, which unshare(1) doesn't take.
const ODD: &str = "import ctypes, subprocess, sys
assert ctypes.CDLL(None).unshare(0x80) == 0, 'no time namespace'
open('/proc/self/timens_offsets', 'w').write('boottime %s' % sys.argv[1])
sys.exit(subprocess.call(sys.argv[2:]))";

fn with_each_offset(look: impl Fn(&[&str])) {
    look(&["unshare", "--time", "--boottime", "86400"]);
    for offset in ["1000 5000000", "1000 9999999", "3 1"] {
        look(&["python3", "-c", ODD, offset]);
    }
}

#[test]
fn a_process_is_the_same_in_each_time_namespace() {
    let (child, process) = spawn("sleep", &["100"]);
    let earlier = Process {
        start: process.start - 2,
        ..process
    };
    with_each_offset(|words| {
        assert_eq!(seen_by(words, process), "held", "{words:?}");
        let much_earlier = Process {
            start: process.start - 3,
            ..process
        };
        assert_eq!(seen_by(words, much_earlier), "stale", "{words:?}");
    });
    assert_eq!(
        state(&earlier),
        oci_mig_hook::lease::transition::ProcessState::Gone
    );
    drop(child);
    with_each_offset(|words| assert_eq!(seen_by(words, process), "stale", "{words:?}"));
}

#[test]
fn a_reservation_is_as_old_in_each_time_namespace() {
    let (_child, process) = spawn("sleep", &["100"]);
    let mut lease = lease_of(container_of("c", process), LeaseState::Pending);
    with_each_offset(|words| assert_eq!(status_in(words, &lease), "pending", "{words:?}"));
    lease.written = liveness::now() - 120_001;
    with_each_offset(|words| assert_eq!(status_in(words, &lease), "stale", "{words:?}"));
}
