//! When: this boot, and how long it has lasted.

#![forbid(unsafe_code)]

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The kernel's boot id.
pub fn boot() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
}

/// Milliseconds since boot, whatever becomes of the calendar, with those that the machine slept.
pub fn since_boot() -> Option<u64> {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    u64::try_from(Duration::from(now).as_millis()).ok()
}
