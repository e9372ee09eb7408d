//! A container at its createRuntime hook, and the library at work on it in the hook's place.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use oci_mig_hook::edits::ContainerEdits;
use oci_mig_hook::failure::Failure;
use oci_mig_hook::inject::{self, LiveContainer};
use oci_mig_hook::mig::{Access, DeviceNode, DeviceNumber};
use serde_json::Value;

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::process::{DEADLINE, Outcome, start, until};
use crate::support::runtime::Engine;
use crate::support::scratch::Scratch;

/// Device nodes on the host that no driver stands behind: opened, they give ENXIO where rules allow it.
pub struct Devices {
    folder: Scratch,
    pub major: u32,
    edits: RefCell<ContainerEdits>,
}

impl Devices {
    pub fn new() -> Self {
        Self {
            folder: Scratch::new("devices"),
            major: unused_major(),
            edits: RefCell::default(),
        }
    }

    /// One more, to appear at `path` in the container: readable for all, and writable where `access` is.
    pub fn node(self, path: &str, minor: u32, access: Access) -> Self {
        let mode = if access == Access::Read { 0o444 } else { 0o666 };
        let host_path = self.folder.join(format!("node{minor}"));
        let device = makedev(self.major.into(), minor.into());
        mknod(&host_path, SFlag::S_IFCHR, Mode::empty(), device).expect("a device node");
        fs::set_permissions(&host_path, std::os::unix::fs::PermissionsExt::from_mode(mode))
            .expect("its mode");
        self.edits.borrow_mut().nodes.push(DeviceNode {
            path: path.into(),
            host_path,
            number: DeviceNumber {
                major: self.major,
                minor,
            },
            access,
            mode,
            uid: 0,
            gid: 0,
        });
        self
    }

    pub fn edits(&self) -> ContainerEdits {
        self.edits.borrow().clone()
    }
}

/// One that no driver on this machine has, nor any is likely to ask for.
fn unused_major() -> u32 {
    let devices = fs::read_to_string("/proc/devices").expect("/proc/devices");
    let used: Vec<u32> = devices
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    (400..500)
        .find(|major| !used.contains(major))
        .expect("an unused major")
}

/// How injecting went, and the container's own life after it.
pub struct Story {
    pub injected: Result<(), Failure>,
    pub outcome: Outcome,
}

impl Story {
    /// What the container said; both the injection and the container went well.
    #[track_caller]
    pub fn ok(self) -> String {
        self.injected.expect("injecting");
        self.outcome.ok().stdout
    }

    /// The one line of the failure, which failed the container too.
    #[track_caller]
    pub fn refused(self) -> String {
        let failure = self.injected.expect_err("it was to fail");
        self.outcome.failed();
        failure.to_string()
    }
}

/// Runs `bundle`'s container and injects `devices` while it waits at createRuntime.
pub fn inject(engine: &Engine, bundle: Bundle, devices: &Devices) -> Story {
    let edits = devices.edits();
    at_create_runtime(engine, bundle, |container| inject::into(container, &edits))
}

/// Runs `bundle`'s container and does `work` while it waits at createRuntime, where the hook would do it: in the
/// runtime's mount namespace. What fails there fails the hook.
pub fn at_create_runtime(
    engine: &Engine,
    bundle: Bundle,
    work: impl FnOnce(&LiveContainer) -> Result<(), Failure> + Send,
) -> Story {
    let gate = Scratch::new("hook");
    let bundle = bundle.hook("createRuntime", &hook(&gate), &[]).write();
    let container = engine.container(&bundle);
    let mut command = container.command("run");
    let mut running = start(
        command.arg("--bundle").arg(bundle.folder()).arg(container.id()),
        None,
    );
    until("the hook", || {
        gate.join("state").exists() || !running.is_running()
    });
    let Ok(state) = fs::read_to_string(gate.join("state")) else {
        panic!("no hook ran: {}", running.wait(DEADLINE));
    };
    let injected = inside(engine.view, || work(&live(&state, &bundle)?));
    answer(&gate, if injected.is_ok() { 0 } else { 3 });
    Story {
        injected,
        outcome: running.wait(DEADLINE),
    }
}

/// A hook that hands its state over and then does as it is told.
fn hook(gate: &Scratch) -> PathBuf {
    let path = gate.path().display();
    let script = format!(
        "#!/bin/sh\ncat >{path}/new && mv {path}/new {path}/state\n\
         while [ ! -e {path}/answer ]; do sleep 0.02; done\nexit $(cat {path}/answer)\n"
    );
    gate.program("hook", &script)
}

fn answer(gate: &Scratch, code: i32) {
    let new = gate.file("told", &code.to_string());
    fs::rename(new, gate.join("answer")).expect("a file of ours");
}

fn live(state: &str, bundle: &Bundle) -> Result<LiveContainer, Failure> {
    let state: Value = serde_json::from_str(state).expect("a state in JSON");
    let pid = state["pid"].as_i64().expect("a pid") as i32;
    LiveContainer::open(pid, rootfs(bundle), false)
}

/// A bundle's root filesystem, as the hook names it.
pub fn rootfs(bundle: &Bundle) -> PathBuf {
    let rootfs = bundle.config["root"]["path"].as_str().expect("a root filesystem");
    bundle.folder().join(rootfs)
}

/// Does `work` in a thread that sees what `view` sees.
pub fn inside<T: Send>(view: View, work: impl FnOnce() -> T + Send) -> T {
    let root = File::open(view.path("/")).expect("the view's root");
    let holder = view.path("/").parent().expect("/proc/PID").to_owned();
    let namespace = File::open(holder.join("ns/mnt")).expect("the view's mount namespace");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_FS).expect("unshare");
            setns(&namespace, CloneFlags::CLONE_NEWNS).expect("setns");
            nix::unistd::fchdir(&root).expect("fchdir");
            nix::unistd::chroot(".").expect("chroot");
            work()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What is mounted in `view`, below the tests' own folder.
pub fn mounts(view: View) -> String {
    let process = view.path("/").parent().expect("/proc/PID").to_owned();
    let text = fs::read_to_string(process.join("mountinfo")).expect("mountinfo");
    let base = crate::support::scratch::base();
    let ours = text
        .lines()
        .filter(|line| line.contains(&*base.to_string_lossy()));
    ours.collect::<Vec<_>>().join("\n")
}

/// Everything below a folder with what it is, to be compared before and after.
pub fn listing(folder: &Path) -> String {
    let mut command = std::process::Command::new("find");
    command.arg(folder).args(["-printf", "%P %y %m %U:%G %s %l\n"]);
    crate::support::process::run(&mut command).ok().stdout
}
