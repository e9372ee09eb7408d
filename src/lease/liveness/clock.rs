//! The machine's time since it was started, whichever time namespace this program is in.
//!
//! A time namespace moves CLOCK_BOOTTIME, and with it the start times that /proc/PID/stat shows, by an offset of its
//! own: what is read here is the same for all who share a ledger, or a process recorded out there would look in here
//! like another one of its pid.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Inode of the time namespace in which the machine started (PROC_TIME_INIT_INO): it has no offset.
const INITIAL: u64 = 0xEFFF_FFFA;

/// Nanoseconds of a clock tick of /proc: USER_HZ is 100 on all that has MIG.
const TICK: i128 = 10_000_000;

/// Now, as leases write it: milliseconds since the machine was started, which nobody can set.
///
/// Where our offset can't be told they are our namespace's: a Pending lease of another one then comes to its end too
/// early, which confirm answers by failing that container, or with its maker.
pub fn now() -> u64 {
    // Through libc: rustix would look for the vDSO by itself, which valgrind doesn't survive. It can't fail.
    let clock = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    let ours = i128::try_from(clock.as_nanos()).unwrap_or(i128::MAX);
    u64::try_from((ours - offset().unwrap_or(0)) / 1_000_000).unwrap_or(0)
}

/// Ticks since the machine was started, of ticks as our /proc shows them. Exact, or one more where the offset is no
/// whole number of ticks. None where the offset can't be told.
pub(super) fn ticks(shown: u64) -> Option<u64> {
    u64::try_from(i128::from(shown) - offset()?.div_euclid(TICK)).ok()
}

/// Nanoseconds that our time namespace adds. A program stays in its time namespace for life.
fn offset() -> Option<i128> {
    static OFFSET: OnceLock<Option<i128>> = OnceLock::new();
    *OFFSET.get_or_init(|| read().ok())
}

fn read() -> io::Result<i128> {
    let inode = |name| std::fs::metadata(format!("/proc/self/ns/{name}")).map(|found| found.ino());
    let ours = match inode("time") {
        // Before Linux 5.6, or built without.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        found => found?,
    };
    if ours == INITIAL {
        return Ok(0);
    }
    // The offsets that are shown are those that our children get.
    if ours != inode("time_for_children")? {
        return Err(ErrorKind::Unsupported.into());
    }
    let offsets = std::fs::read_to_string("/proc/self/timens_offsets")?;
    boottime_in(&offsets).ok_or_else(|| ErrorKind::InvalidData.into())
}

fn boottime_in(offsets: &str) -> Option<i128> {
    let mut fields = offsets
        .lines()
        .find_map(|line| line.strip_prefix("boottime "))?
        .split_ascii_whitespace();
    let mut next = || fields.next()?.parse::<i128>().ok();
    Some(next()? * 1_000_000_000 + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_boot_time_are_read_to_the_nanosecond_and_either_way() {
        let text = |boottime| format!("monotonic           0         0\nboottime  {boottime}\n");
        assert_eq!(
            boottime_in(&text("      1000         5")),
            Some(1_000_000_000_005)
        );
        assert_eq!(boottime_in(&text("       -10 500000000")), Some(-9_500_000_000));
        assert_eq!(boottime_in("monotonic 0 0\n"), None);
        assert_eq!(boottime_in(&text("1000")), None);
    }
}
