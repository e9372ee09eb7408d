//! What the real runtime gets: the very call, as if nobody stood before it. A script in its place tells what it was given.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

use super::{PROFILE, asking, somewhere};
use crate::support::bundle::Bundle;
use crate::support::machine::{CONFIG_VARIABLE, INTERPOSED, Machine};
use crate::support::process::{DEADLINE, run, start, until};
use crate::support::runtime::program;
use crate::support::scratch::Scratch;
use crate::support::trace;

/// Tells its words, its folder, variables, umask, open files, signals (less the C library's own 32 and 33, which its
/// posix_spawn turns off) and children.
const TELL: &str = r#"#!/bin/sh
for word; do echo "word $word"; done
echo "folder $PWD"; echo "VARIABLE $VARIABLE"; umask
ls /proc/self/fd | tr '\n' ' '; echo
grep -E '^SigBlk' /proc/self/status; ignored=$(sed -n 's/^SigIgn:.*\(........\)$/\1/p' /proc/self/status); echo "ignored $((0x$ignored & 0x7fffffff))"
for stat in /proc/[0-9]*/stat; do read -r line <"$stat" || continue; case ${line##*) } in "Z $$ "*) echo zombie ;; esac; done 2>/dev/null
exit ${CODE:-0}
"#;

/// A machine whose real runtime is this script.
fn machine(folder: &Scratch, script: &str) -> Machine {
    let machine = Machine::with(&[PROFILE]);
    machine.stand_before(&folder.program("runtime", script));
    machine
}

fn call(command: &mut Command, bundle: &Path, words: &[&str]) -> String {
    let command = command.args(words).current_dir(bundle).env("VARIABLE", "a b\nc");
    // SAFETY: umask is async-signal-safe and can't fail.
    unsafe {
        command.pre_exec(|| {
            libc::umask(0o137);
            Ok(())
        });
    }
    run(command).ok().stdout
}

/// Words as they came; all else as it would be without us; and no child that the real runtime never had.
#[test]
fn the_real_runtime_gets_the_very_call() {
    let folder = Scratch::new("real");
    let machine = machine(&folder, TELL);
    let real = folder.join("runtime");
    let calls: [&[&str]; 5] = [
        &["--root", "/r", "--log=/dev/null", "state", "a b"],
        &["create", "--bundle", ".", "--pid-file", "p", "--new", "", "c"],
        &["kill", "--all", "c", "9"],
        &["--systemd-cgroup", "run", "-d", "c"],
        &["delete", "--force", "c"],
    ];
    for words in calls {
        let bundle = asking("true").write();
        let direct = call(&mut Command::new(&real), bundle.folder(), words);
        let interposed = call(&mut machine.interposed(), bundle.folder(), words);
        assert_eq!(interposed, direct, "{words:?}");
        assert!(!interposed.contains("zombie"), "{words:?}");
    }
}

#[test]
fn a_delete_of_what_holds_something_is_the_same_call_too() {
    let folder = Scratch::new("real");
    let machine = machine(&folder, TELL);
    let bundle = asking("true").write();
    run(machine
        .interposed()
        .args(["create", "-b"])
        .arg(bundle.folder())
        .arg("c"))
    .ok();
    assert_eq!(machine.leases(), 1);
    let words = ["--debug", "delete", "--force", "c"];
    let direct = call(&mut Command::new(folder.join("runtime")), bundle.folder(), &words);
    let interposed = call(&mut machine.interposed(), bundle.folder(), &words);
    assert_eq!(interposed, direct);
    assert_eq!(machine.leases(), 0);
}

#[test]
fn the_real_runtimes_exit_code_and_signals_are_passed_on() {
    let folder = Scratch::new("real");
    let script = "#!/bin/sh\ncase \"$*\" in *delete*) ;; *) exit 7 ;; esac\n\
        trap 'echo told; exit 23' TERM\n: >\"$STARTED\"\nwhile :; do sleep 0.05; done\n";
    let machine = machine(&folder, script);
    let started = folder.join("started");
    let bundle = asking("true").write();
    let mut create = machine.interposed();
    create.args(["create", "-b"]).arg(bundle.folder()).arg("c");
    assert_eq!(run(&mut create).code(), 7);
    assert_eq!(machine.leases(), 1, "its owner is gone: the delete gives it back");
    let mut delete = machine.interposed();
    let mut deleting = start(delete.args(["delete", "c"]).env("STARTED", &started), None);
    until("the real runtime's delete", || started.exists());
    send(Pid::from_raw(deleting.pid()), Signal::SIGTERM).expect("a signal");
    let outcome = deleting.wait(DEADLINE);
    assert_eq!(
        (outcome.code(), outcome.stdout.as_str()),
        (23, "told\n"),
        "{outcome}"
    );
    assert_eq!(machine.leases(), 0);
}

/// An engine that ignores SIGCHLD gets its answer as from the real runtime.
#[test]
fn a_delete_whose_caller_ignores_sigchld() {
    let folder = Scratch::new("real");
    let machine = machine(&folder, "#!/bin/sh\ncase \"$*\" in *delete*) exit 5 ;; esac\n");
    let bundle = asking("true").write();
    run(machine
        .interposed()
        .args(["create", "-b"])
        .arg(bundle.folder())
        .arg("c"))
    .ok();
    let mut shell = Command::new("env");
    shell.args(["--ignore-signal=CHLD", INTERPOSED, "delete", "c"]);
    let outcome = run(shell.env(CONFIG_VARIABLE, machine.config()));
    assert_eq!((outcome.code(), outcome.text().as_str()), (5, ""), "{outcome}");
    assert_eq!(machine.leases(), 0);
}

/// A shell's job is stopped as a whole, and goes on as a whole.
#[test]
fn a_delete_that_is_stopped_and_continued() {
    let folder = Scratch::new("real");
    let script = "#!/bin/sh\ncase \"$*\" in *delete*) ;; *) exit ;; esac\n\
        echo $$ >\"$STARTED.new\"; mv \"$STARTED.new\" \"$STARTED\"; while [ -e \"$STARTED\" ]; do sleep 0.02; done; exit 9\n";
    let machine = machine(&folder, script);
    let bundle = asking("true").write();
    run(machine
        .interposed()
        .args(["create", "-b"])
        .arg(bundle.folder())
        .arg("c"))
    .ok();
    let started = folder.join("started");
    let mut delete = machine.interposed();
    // A group of its own, as a shell gives a job: SIGTSTP stops none that has no parent left in its session.
    delete.process_group(0);
    let mut deleting = start(delete.args(["delete", "c"]).env("STARTED", &started), None);
    until("the real runtime's delete", || started.exists());
    let child: i32 = fs::read_to_string(&started)
        .expect("a pid")
        .trim()
        .parse()
        .expect("a pid");
    send(Pid::from_raw(child), Signal::SIGTSTP).expect("a signal");
    until("the stop of both", || {
        [child, deleting.pid()].iter().all(|pid| state(*pid) == Some('T'))
    });
    send(Pid::from_raw(deleting.pid()), Signal::SIGCONT).expect("a signal");
    until("both going on", || state(child) != Some('T'));
    fs::remove_file(&started).expect("a file of ours");
    assert_eq!(deleting.wait(DEADLINE).code(), 9);
    assert_eq!(machine.leases(), 0);
}

fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Where none is named, the first that is installed; and that one for as long as its containers may live.
#[test]
fn the_runtime_that_was_found_is_kept() {
    let machine = Machine::with(&[PROFILE]);
    let bundle = Bundle::new().write();
    let version = || run(machine.interposed().arg("--version")).ok().stdout;
    assert!(
        version().starts_with("crun"),
        "crun is looked for first: {}",
        version()
    );
    assert!(!machine.ledger().exists(), "nothing was made, nothing is kept");
    let mut create = machine.interposed();
    run(create
        .args(["create", "-b"])
        .arg(bundle.folder().join("none"))
        .arg("c"))
    .failed();
    let kept = machine.ledger().join("runtime");
    assert!(fs::read_link(&kept).expect("a link").ends_with("crun"));
    // As if crun had been installed since.
    fs::remove_file(&kept).expect("a link of ours");
    std::os::unix::fs::symlink(program("runc"), &kept).expect("a link");
    assert!(version().starts_with("runc"), "{}", version());
    // While it is gone nobody else answers for its containers.
    fs::remove_file(&kept).expect("a link of ours");
    std::os::unix::fs::symlink("/nonexistent/runc", &kept).expect("a link");
    let outcome = run(machine.interposed().args(["delete", "--force", "c"]));
    let line = format!(
        "oci-mig-hook: the low-level runtime /nonexistent/runc is gone: the containers that there may be are its own; \
         put it back, or remove {} once none of its containers is left\n",
        kept.display()
    );
    assert_eq!((outcome.code(), outcome.stderr), (3, line));
}

/// What is left of it, or of what it last came to, is enough to end the containers that there are.
#[test]
fn a_default_configuration_that_cannot_be_read_stops_no_delete() {
    let folder = Scratch::new("default");
    let machine = machine(&folder, "#!/bin/sh\necho \"$1\"\n");
    let bundle = Bundle::new().write();
    let places = ["/etc/oci-mig-hook", "/run/oci-mig-hook"];
    let made: Vec<&str> = places
        .into_iter()
        .filter(|place| fs::create_dir(place).is_ok())
        .collect();
    let script = "mount -t tmpfs none /etc/oci-mig-hook && mount -t tmpfs -o mode=700 none /run/oci-mig-hook && \
        cd /etc/oci-mig-hook && cp \"$1\" config.toml && \"$2\" create -b \"$3\" c && \
        echo 'x = = 3' >config.toml && \"$2\" kill c && \
        rm config.toml && mkdir config.toml && \"$2\" delete c && \"$2\" create -b \"$3\" d";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command.arg(machine.config()).arg(INTERPOSED).arg(bundle.folder());
    let outcome = run(command.env_remove(CONFIG_VARIABLE));
    for place in made {
        fs::remove_dir(place).expect("a folder of ours");
    }
    assert_eq!(
        (outcome.code(), outcome.stdout.as_str()),
        (3, "create\nkill\ndelete\n"),
        "{outcome}"
    );
    let line = "oci-mig-hook: configuration file /etc/oci-mig-hook/config.toml: ";
    assert!(outcome.stderr.starts_with(line), "{outcome}");
}

/// It does nothing but look, and read its configuration and config.json, which stays the very file.
#[test]
fn a_container_that_did_not_ask_is_left_alone() {
    use std::os::unix::fs::MetadataExt;
    let folder = Scratch::new("real");
    let machine = machine(&folder, "#!/bin/sh\n");
    let bundle = Bundle::new().annotation("mig.example.com/x", "1").write();
    let before = fs::metadata(bundle.config_file()).expect("config.json");
    let mut create = machine.interposed();
    create.args(["create", "-b"]).arg(bundle.folder()).arg("c");
    let calls = trace::calls(&create, Stdio::null());
    let after = fs::metadata(bundle.config_file()).expect("config.json");
    assert_eq!(
        (before.ino(), before.mtime_nsec()),
        (after.ino(), after.mtime_nsec())
    );
    let (_, program) = trace::loader_and_program(&calls);
    let looks = |call: &str| {
        ["read", "statx(", "newfstatat(", "stat(", "access("]
            .iter()
            .any(|name| call.starts_with(name))
    };
    let does: Vec<_> = program
        .iter()
        .filter(|call| !trace::is_of_rust(call) && !looks(call))
        .collect();
    let [config, document] = [machine.config(), bundle.config_file()].map(|path| format!("{path:?}"));
    assert!(
        matches!(does[..], [first, second] if first.contains(&config) && second.contains(&document)),
        "{calls:#?}"
    );
    assert!(!machine.ledger().exists(), "no ledger was made");
}

#[test]
fn help_teaches_and_version_is_the_real_runtimes() {
    let place = somewhere(1);
    let help = run(place.machine.interposed().arg("--help")).ok().stdout;
    assert!(help.starts_with("oci-mig-runtime stands before"), "{help}");
    assert!(help.contains("--systemd-cgroup"), "the real one's own: {help}");
    let version = run(place.machine.interposed().arg("--version")).ok().stdout;
    assert!(version.starts_with("runc version"), "{version}");
}
