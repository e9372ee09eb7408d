//! Control groups as a v1, a v2 and this very machine have them, side by side.
//!
//! A view is a private mount namespace with another /sys/fs/cgroup; nothing is mounted outside it. The process that
//! made it holds it open until its standard input closes, that is until we end, in whatever way; then it takes away
//! what we left in the control groups of its view.

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::process::{quietly, say};
use super::{rlimit, scratch};

/// What a runtime finds at /sys/fs/cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As this machine has it.
    Host,
    /// A hierarchy for each controller, and no unified one.
    V1,
    /// The unified hierarchy alone. Where the machine's controllers are bound to v1 it has none of them; device
    /// rules need none.
    V2,
}

/// What a machine without cgroup v1 must say to have the v1 tests left out, loudly.
const ALLOW_NO_V1: &str = "OCI_MIG_HOOK_TESTS_ALLOW_NO_V1";

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

impl View {
    /// Whether this machine has both kinds mounted, which crun up to 1.8 refuses.
    pub fn host_is_hybrid() -> bool {
        Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists()
    }

    /// Whether the tests are to run in this view. Every machine has v2. A kernel without the v1 devices controller
    /// fails the tests, or leaves them out with a line on the terminal where the environment says so.
    pub fn is_offered(self) -> bool {
        if self != Self::V1 || v1_devices() {
            return true;
        }
        assert!(
            std::env::var_os(ALLOW_NO_V1).is_some_and(|value| value == "1"),
            "this kernel has no cgroup v1 devices controller, so half of the product can't be tested here; \
             {ALLOW_NO_V1}=1 leaves those tests out",
        );
        say(&format!("NOT TESTED here: cgroup v1 ({ALLOW_NO_V1}=1)"));
        false
    }

    /// Whether containers can have a limit of this controller here. Where the machine's controllers are bound to v1,
    /// its unified hierarchy has none, and who wants one can't run there.
    pub fn has_controller(self, name: &str) -> bool {
        match fs::read_to_string(self.path("/sys/fs/cgroup/cgroup.controllers")) {
            Ok(controllers) => controllers
                .split_whitespace()
                .any(|controller| controller == name),
            Err(_) => true,
        }
    }

    /// `program`, to be run in this view.
    pub fn command(self, program: impl AsRef<Path>) -> Command {
        self.command_in(program, Path::new("/"))
    }

    /// `program`, to be run in this view and in that folder.
    pub fn command_in(self, program: impl AsRef<Path>, folder: &Path) -> Command {
        let mut command = Command::new(program.as_ref());
        let [namespace, root] = [&self.holder().namespace, &self.holder().root].map(|file| file.as_raw_fd());
        let folder = CString::new(folder.as_os_str().as_bytes()).expect("no NUL in our paths");
        let pretend = self == Self::V2 && rlimit::is_closed();
        // SAFETY: between fork and exec only async-signal-safe calls are made, and nothing is allocated: setns on a
        // descriptor that a static keeps open, and so on to prctl, with strings made before.
        unsafe {
            command.pre_exec(move || {
                // Entering a mount namespace moves root and working folder to its own root, which is not ours
                // where the tests run in a chroot.
                succeed(libc::setns(namespace, libc::CLONE_NEWNS))?;
                succeed(libc::fchdir(root))?;
                succeed(libc::chroot(c".".as_ptr()))?;
                succeed(libc::chdir(folder.as_ptr()))?;
                if pretend { rlimit::pretend() } else { Ok(()) }
            });
        }
        command
    }

    /// The same for a program that stays, in this control group: whoever clears the group ends it, with all that it
    /// has started.
    pub fn daemon(self, program: impl AsRef<Path>, cgroups_path: &str) -> Command {
        let mut command = self.command("/bin/sh");
        command
            .args(["-c", DAEMON, "sh", cgroups_path])
            .arg(program.as_ref());
        command
    }

    /// What is at `path`, an absolute path, in this view.
    pub fn path(self, path: impl AsRef<Path>) -> PathBuf {
        let inside = path.as_ref().strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", self.holder().process.id())).join(inside)
    }

    /// The folders of a control group in this view, one for each hierarchy that has it.
    pub fn groups(self, cgroups_path: &str) -> Vec<PathBuf> {
        let inside = cgroups_path.trim_start_matches('/');
        let top = self.path("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(&top)
            .expect("/sys/fs/cgroup")
            .flatten()
            .map(|entry| entry.path());
        let groups = std::iter::once(top.clone())
            .chain(hierarchies)
            .map(|folder| folder.join(inside));
        groups
            .filter(|folder| folder.join("cgroup.procs").exists())
            .collect()
    }

    /// Sees to it that somebody clears up after us, whether or not the tests use this view.
    pub fn clear_up_afterwards() {
        Self::Host.holder();
    }

    /// Kills what is left in a control group of this view and removes it.
    pub fn clear(self, cgroups_path: &str) {
        let mut script = Command::new("sh");
        script
            .args(["-c", CLEAR, "sh"])
            .arg(self.path("/sys/fs/cgroup"))
            .arg(cgroups_path);
        quietly(&mut script);
    }

    /// Unmounts, in this view, all that is mounted below a folder.
    pub fn unmount_below(self, folder: &Path) {
        let mut script = self.command("sh");
        quietly(script.args(["-c", UNMOUNT, "sh"]).arg(folder));
    }

    fn holder(self) -> &'static Holder {
        static HOLDERS: [OnceLock<Holder>; 3] = [const { OnceLock::new() }; 3];
        HOLDERS[self as usize].get_or_init(|| Holder::new(self))
    }

    fn setup(self) -> &'static str {
        match self {
            Self::Host => ":",
            Self::V1 => V1_SETUP,
            Self::V2 => "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup",
        }
    }
}

/// Controllers that are bound to v1 already, and the two that every runtime wants; binding the others would take
/// them from a v2 machine's own hierarchy.
const V1_SETUP: &str = "
umount -R /sys/fs/cgroup && mount -t tmpfs -o mode=755 none /sys/fs/cgroup && cd /sys/fs/cgroup || exit 1
while read -r name hierarchy rest; do
    case $name in devices | freezer) ;; '#'*) continue ;; *) [ $hierarchy != 0 ] || continue ;; esac
    mkdir $name && mount -t cgroup -o $name none $name || rmdir $name
done </proc/cgroups
[ -d devices ] || exit 1
mkdir systemd && mount -t cgroup -o none,name=systemd none systemd";

/// Enters the control group $1 in the hierarchy that tracks processes, and becomes the rest.
const DAEMON: &str = r#"
for top in /sys/fs/cgroup/systemd /sys/fs/cgroup; do
    [ -e $top/cgroup.procs ] || continue
    mkdir -p "$top/$1" && echo $$ >"$top/$1/cgroup.procs" || exit 1
    shift
    exec "$@"
done
echo "no hierarchy to track processes in" >&2
exit 1"#;

/// Kills and removes one control group with all below it, in every hierarchy below $1.
const CLEAR: &str = r#"
for top in "$1" "$1"/*; do
    [ -d "$top/$2" ] || continue
    # What is frozen on v1 doesn't die.
    find "$top/$2" -name freezer.state -exec sh -c 'echo THAWED >"$1"' sh {} \; 2>/dev/null
    for try in 1 2 3 4 5 6 7 8 9 10; do
        find "$top/$2" -name cgroup.procs -exec cat {} + 2>/dev/null | grep -vx 0 | xargs -r kill -9 2>/dev/null
        find "$top/$2" -depth -type d -exec rmdir {} + 2>/dev/null
        [ -d "$top/$2" ] || break
        sleep 0.1
    done
done"#;

/// Folders that containerd, its shims and dockerd use whatever they are told: in a view they are the view's own.
const ENGINES_OWN: &str = "
for folder in /run/containerd /run/docker /etc/docker; do
    mkdir -p $folder && mount -t tmpfs -o mode=711 none $folder || exit 1
done";

/// Unmounts all below $1.
const UNMOUNT: &str = r#"
sed "s/^[^ ]* [^ ]* [^ ]* [^ ]* //; s/ .*//" /proc/self/mountinfo | grep "^$1/" | sort -r | xargs -r umount -l"#;

/// After us, once nothing is mounted below our folder in this view: the folder, from the host's own view. An engine
/// that was at work may still write there for a moment.
const AFTERWARDS: &str = r#"
[ $2 = host ] || exit 0
for try in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf --one-file-system "$1" 2>/dev/null && break
    sleep 0.5
done"#;

struct Holder {
    process: Child,
    namespace: fs::File,
    root: fs::File,
}

impl Holder {
    fn new(view: View) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "containers need root: run tests/run"
        );
        let setup = view.setup();
        let script = format!(
            "({setup}) && ({ENGINES_OWN}) && echo ready && cat >/dev/null || exit 1\n{CLEAR}\nset -- \"$3\" \"$4\"\n{UNMOUNT}\n{AFTERWARDS}"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command.args(["sh", "-c", &script, "sh", "/sys/fs/cgroup", &scratch::name()]);
        command.arg(scratch::base()).arg(view.to_string());
        // Its own group, so that an interrupt from the terminal ends the tests and leaves this to clear up.
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("unshare (run tests/setup)");
        let mut answer = String::new();
        let stdout = process.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut answer)
            .expect("an answer from the view's holder");
        assert_eq!(
            answer, "ready\n",
            "no mount namespace with cgroups as in view {view}: see the error above"
        );
        let namespace =
            fs::File::open(format!("/proc/{}/ns/mnt", process.id())).expect("its mount namespace");
        let root = fs::File::open(format!("/proc/{}/root", process.id())).expect("its root");
        Self {
            process,
            namespace,
            root,
        }
    }
}

fn v1_devices() -> bool {
    let controllers = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    controllers
        .lines()
        .any(|line| line.starts_with("devices\t") && line.ends_with("\t1"))
}

fn succeed(returned: libc::c_int) -> std::io::Result<()> {
    if returned == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}
