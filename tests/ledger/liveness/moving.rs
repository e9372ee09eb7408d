//! A process that is moved between the groups of its container while somebody looks: v1 has no count of a whole subtree.

use std::path::PathBuf;
use std::sync::Barrier;
use std::time::Duration;

use oci_mig_hook::cgroup::{Mounts, Population};

use super::group::{Group, join};
use super::spawn;

const ROUNDS: u32 = 400;

#[test]
fn a_process_that_is_moved_behind_us_is_found_all_the_same() {
    // All hierarchies of v1 are walked alike.
    let groups = Group::everywhere("moving");
    for kind in [true, false] {
        let mut of_kind = groups.iter().filter(|group| group.group.is_v2() == kind);
        if let Some(group) = of_kind.next() {
            move_while_looking(group);
        }
    }
}

/// Once each time we look, from one end to the other, at a moment that comes later from round to round.
fn move_while_looking(group: &Group) {
    let subs: Vec<PathBuf> = (0..20).map(|k| group.sub(&format!("sub{k}"))).collect();
    let (child, process) = spawn("sleep", &["100"]);
    join(&subs[0], process.pid);
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                ready.wait();
                let until = std::time::Instant::now() + Duration::from_micros(u64::from(round));
                while std::time::Instant::now() < until {
                    std::hint::spin_loop();
                }
                join(&subs[if round % 2 == 1 { 19 } else { 0 }], process.pid);
                ready.wait();
            }
        });
        let mounts = Mounts::read().unwrap();
        let looks = (1..=ROUNDS).map(|_| {
            ready.wait();
            let seen = mounts.population(&group.group, None);
            ready.wait();
            seen
        });
        let missed = looks.filter(|seen| *seen != Population::Populated).count();
        assert_eq!(missed, 0, "of {ROUNDS} looks at {:?}", group.group);
    });
    drop(child);
}
