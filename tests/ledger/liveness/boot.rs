//! The boot, and the clock that starts with it.

use std::time::Duration;

use oci_mig_hook::lease::LeaseState;
use oci_mig_hook::lease::liveness::{self, Here};

use super::elsewhere::{refusal_in, status_in};
use super::spawn;
use crate::node::{container_of, lease_of};

#[test]
fn a_lease_is_overdue_by_the_clock_that_nobody_sets() {
    let (_child, process) = spawn("sleep", &["100"]);
    let here = Here::look().unwrap();
    let mut lease = lease_of(container_of("c", process), LeaseState::Pending);
    assert!(!here.evidence(&lease, Duration::from_secs(120)).overdue);
    lease.written = liveness::now() - 120_001;
    assert!(here.evidence(&lease, Duration::from_secs(120)).overdue);
    lease.written = liveness::now() + 1_000_000;
    assert!(!here.evidence(&lease, Duration::from_secs(120)).overdue);
}

#[test]
fn a_lease_of_another_boot_is_void_whoever_has_its_number_now() {
    let (_child, process) = spawn("sleep", &["100"]);
    let mut lease = lease_of(container_of("c", process), LeaseState::Held);
    assert_eq!(status_in(&["env"], &lease), "held");
    lease.boot_id = "00000000-0000-4000-8000-000000000000".into();
    assert_eq!(status_in(&["env"], &lease), "stale");
}

/// As systemd-nspawn hides it: the host's leases would look like those of an earlier boot.
#[test]
fn where_the_boot_id_is_hidden_nobody_is_judged() {
    let (_child, process) = spawn("sleep", &["100"]);
    let lease = lease_of(container_of("c", process), LeaseState::Held);
    let hide = "id=$(mktemp) && echo 00000000-0000-4000-8000-000000000000 >$id &&
        mount --bind $id /proc/sys/kernel/random/boot_id && rm $id && exec \"$@\"";
    let said = refusal_in(&["unshare", "--mount", "sh", "-c", hide, "sh"], &lease);
    assert!(said.contains("the kernel's boot id is hidden"), "{said}");
}
