//! Docker, containerd and Podman at once on one node, more containers than devices: no device is ever two containers'
//! at a time, and everyone gets one in the end. The judge is `contention`'s.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::contention::{Verdict, until_it_ran};
use crate::support::cgroups::View;
use crate::support::containerd::{Containerd, Setup};
use crate::support::ctr::Namespace;
use crate::support::docker::{self, Docker};
use crate::support::machine::{CONFIG_VARIABLE, INTERPOSED, Machine};
use crate::support::podman::{self, Podman};
use crate::support::process::{DEADLINE, Outcome, holds_within, quietly, say, start};
use crate::support::runtime::{Runtime, everywhere};
use crate::support::scratch::Scratch;

const DEVICES: usize = 7;

/// Through dockerd and `ctr`.
const CONTAINERS: usize = 100;

/// Through Podman meanwhile.
const MORE: usize = 30;

/// Of each engine's clients.
const CLIENTS: usize = 4;

/// The container's own part, told to stop or not: its device is named by its capability nodes, and `set -C` makes `>`
/// an O_EXCL.
const SCRIPT: &str = r#"
leave() { rm -f "/judge/$device"; exit 0; }
trap leave TERM
device=$(ls /dev/nvidia-caps | tr '\n' '+')
set -C
( : >"/judge/$device" ) 2>/dev/null || exit 99
: >"/judge/up.$1"
sleep 2 & wait
leave
"#;

/// One engine, as far as this story goes.
trait Client: Sync {
    /// A container of this name in the foreground, asking for a device.
    fn run(&self, name: &str, judge: &Path) -> Command;
    /// Tells it to stop.
    fn stop(&self, name: &str) -> Command;
}

impl Client for Docker {
    fn run(&self, name: &str, judge: &Path) -> Command {
        let volume = format!("--volume={}:/judge", judge.display());
        let ask = self.ask("profile", "1g.10gb");
        self.foreground(
            &[&ask, &volume, "--name", name],
            &["sh", "-c", SCRIPT, "sh", name],
        )
    }

    fn stop(&self, name: &str) -> Command {
        let mut command = self.client();
        command.args(["stop", name]);
        command
    }
}

struct Ctr<'a> {
    containerd: &'a Containerd,
    namespace: Namespace<'a>,
}

impl Client for Ctr<'_> {
    fn run(&self, name: &str, judge: &Path) -> Command {
        let mount = format!(
            "--mount=type=bind,src={},dst=/judge,options=rbind:rw",
            judge.display()
        );
        let options = ["--annotation=mig.profile=1g.10gb", &mount];
        self.namespace
            .foreground(name, &options, &["sh", "-c", SCRIPT, "sh", name])
    }

    fn stop(&self, name: &str) -> Command {
        let mut command = self.containerd.ctr(NAMESPACE);
        command.args(["tasks", "kill", name]);
        command
    }
}

const NAMESPACE: &str = "one";

impl Client for Podman {
    fn run(&self, name: &str, judge: &Path) -> Command {
        let mut command = self.container("run");
        let volume = format!("--volume={}:/judge", judge.display());
        command.args([
            "--rm",
            "--annotation=mig.profile=1g.10gb",
            &volume,
            "--name",
            name,
        ]);
        command.args([podman::IMAGE, "sh", "-c", SCRIPT, "sh", name]);
        command
    }

    fn stop(&self, name: &str) -> Command {
        let mut command = self.command("stop");
        command.arg(name);
        command
    }
}

/// Runs a container to its end; every other one is told to stop on its way.
fn attempt(client: &dyn Client, number: usize, judge: &Path) -> Outcome {
    let name = Namespace::fresh_id();
    let mut running = start(&mut client.run(&name, judge), None);
    let up = judge.join(format!("up.{name}"));
    if number % 2 == 0 && holds_within(DEADLINE, || up.exists() || !running.is_running()) && up.exists() {
        quietly(&mut client.stop(&name));
    }
    running.wait(DEADLINE)
}

/// That many containers from `CLIENTS` of this engine at once.
fn all(client: &dyn Client, containers: usize, judge: &Path, verdict: &Verdict) {
    let next = AtomicUsize::new(0);
    let deadline = Instant::now() + Duration::from_secs(300);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= containers {
                        break;
                    }
                    until_it_ran(verdict, deadline, || attempt(client, number, judge));
                }
            });
        }
    });
}

/// The machine's configuration with another real runtime.
fn before(runtime: Runtime, machine: &Machine, folder: &Scratch) -> PathBuf {
    let config = fs::read_to_string(machine.config()).expect("config.toml");
    let more = format!(
        "[runtime]\npath = {:?}\n[requests]\nenvironment = true\n",
        runtime.program()
    );
    folder.file(&format!("{runtime}.toml"), &(config + &more))
}

#[test]
fn a_hundred_starts_and_stops_through_docker_and_ctr_beside_podman() {
    let machine = Machine::with(&["1g.10gb"; DEVICES]);
    let folder = Scratch::new("configs");
    let setup = |(runtime, view): (Runtime, View)| {
        Setup::new(view).env(CONFIG_VARIABLE, &before(runtime, &machine, &folder))
    };
    let of_runc = |(runtime, _): &(Runtime, View)| *runtime == Runtime::Runc;
    // crun, and runc on v2; Podman has runc as the machine is.
    let docker = setup(docker::everywhere().last().expect("a place for Docker"));
    let docker = Docker::start(docker, Path::new(INTERPOSED));
    let containerd = setup(everywhere().filter(of_runc).last().expect("a place for runc")).start();
    let ctr = Ctr {
        containerd: &containerd,
        namespace: containerd.namespace(NAMESPACE, Path::new(INTERPOSED)),
    };
    let podman = machine.podman(Runtime::Runc, View::Host, &[]);

    let (judge, verdict) = (Scratch::new("judge"), Verdict::default());
    let started = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| all(&docker, CONTAINERS / 2, judge.path(), &verdict));
        scope.spawn(|| all(&ctr, CONTAINERS / 2, judge.path(), &verdict));
        scope.spawn(|| all(&podman, MORE, judge.path(), &verdict));
    });
    let seconds = started.elapsed().as_secs();
    say(&format!(
        "Docker, ctr and Podman, {DEVICES} devices, {seconds} s: {verdict}"
    ));
    verdict.assert_fair(CONTAINERS + MORE);
    machine.assert_free("after all");
}
