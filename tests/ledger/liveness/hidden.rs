//! A /proc that hides processes from those who may not trace them.

use super::{seen_by, spawn, wait_for_letter};

/// The program without the right to trace others, on a /proc of these options, where process $1 can't be looked at.
const HIDDEN: &str = r#"
mount -t proc -o "$1" proc /proc && shift || exit 9
exec setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace sh -c '
    cat /proc/$1/stat >/dev/null 2>&1 && { echo "/proc/$1 is not hidden" >&2; exit 9; }
    shift; exec "$@"' sh "$@""#;

#[test]
fn a_process_that_proc_hides_is_never_gone_and_its_end_is_seen() {
    for options in ["hidepid=2,gid=65534", "hidepid=1,gid=65534"] {
        let (child, process) = spawn("sleep", &["100"]);
        let pid = process.pid.to_string();
        let words = ["unshare", "--mount", "sh", "-c", HIDDEN, "sh", options, &pid];
        assert_eq!(seen_by(&words, process), "held", "{options}");
        drop(child);
        assert_eq!(seen_by(&words, process), "stale", "{options}");
        let (zombie, process) = spawn("true", &[]);
        wait_for_letter(process.pid, 'Z');
        let pid = process.pid.to_string();
        let words = ["unshare", "--mount", "sh", "-c", HIDDEN, "sh", options, &pid];
        assert_eq!(seen_by(&words, process), "stale", "{options}");
        drop(zombie);
    }
}
