//! A number that is given anew. In a pid namespace of its own, whose next number can be chosen without a race.

use oci_mig_hook::lease::Process;

use super::pid_namespace::Inside;
use super::seen_by;

/// The shell's next process gets that number: `sleep` for a while; says when it started.
const AGAIN: &str = "echo $((p - 1)) >/proc/sys/kernel/ns_last_pid; sleep 100 & [ $! = $p ] || echo missed
read -r line </proc/$p/stat; set -- ${line##*) }; echo ${20}";

const FIRST: &str = "sleep 100 & p=$!; read -r line </proc/$p/stat; set -- ${line##*) }; echo $p ${20}";

const END: &str = "kill -9 $p; wait $p 2>/dev/null";

#[test]
fn another_process_of_the_same_number_is_not_the_one_that_was_meant() {
    let mut inside = Inside::new();
    let first = first(&mut inside);
    let seen = |inside: &Inside| seen_by(&inside.words(), first);
    assert_eq!(seen(&inside), "held");
    inside.ask(&format!("{END}; sleep 0.1; echo ended"));
    assert_eq!(seen(&inside), "stale");
    let start = inside.ask(AGAIN).parse().expect("the same number");
    assert!(first.start + 1 < start);
    assert_eq!(seen(&inside), "stale");
    let again = Process { start, ..first };
    assert_eq!(seen_by(&inside.words(), again), "held");
}

/// Too long rather than too short: it can't be told from the one that was meant, and its end is seen all the same.
#[test]
fn a_number_given_anew_within_a_tick_keeps_the_device_until_it_is_free_again() {
    let mut inside = Inside::new();
    for _ in 0..200 {
        let first = first(&mut inside);
        inside.ask(&format!("{END}; echo ended"));
        let again: u64 = inside.ask(AGAIN).parse().expect("the same number");
        if again - first.start <= 1 {
            assert_eq!(seen_by(&inside.words(), first), "held");
            inside.ask(&format!("{END}; echo ended"));
            assert_eq!(seen_by(&inside.words(), first), "stale");
            return;
        }
        inside.ask(&format!("{END}; echo ended"));
    }
    panic!("200 times, and never within a tick");
}

fn first(inside: &mut Inside) -> Process {
    let answer = inside.ask(FIRST);
    let (pid, start) = answer.split_once(' ').unwrap();
    Process {
        pid: pid.parse().unwrap(),
        start: start.parse().unwrap(),
        pid_namespace: inside.namespace(),
    }
}
