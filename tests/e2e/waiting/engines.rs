//! Waiting through Podman, runc and crun: the container starts when its device comes free, and the engine's own patience counts.

use super::waiting;
use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::docker;
use crate::support::machine::{Machine, PROGRAM};
use crate::support::podman::IMAGE;
use crate::support::process::{DEADLINE, kill, run, start, until};
use crate::support::rootfs::SLEEP;
use crate::support::runtime::{Engine, Runtime, everywhere};

const ASKS: &str = "--annotation=mig.profile=1g.10gb";
const WAITS: &str = "--annotation=mig.wait=5m";

#[test]
fn podman_starts_it_when_the_holder_has_ended() {
    for (runtime, view) in [(Runtime::Runc, View::Host), (Runtime::Crun, View::V2)] {
        let machine = Machine::with(&["1g.10gb"]);
        let podman = machine.podman(runtime, view, &[]);
        let holder = podman.sleeper(&[ASKS]);
        let mut waits = podman.container("run");
        let mut waits = start(waits.args(["--rm", ASKS, WAITS, IMAGE, "true"]), None);
        until("a place in the queue", || waiting(&machine).len() == 1);
        // Podman throws a hook's standard error away; the line is on its own.
        until("the wait is told", || {
            waits
                .stderr()
                .contains(" waits: no free 1g.10gb: 1 of 1 held (gpu 0: ")
        });
        podman.call(&["kill", &holder]).ok();
        waits.wait(DEADLINE).ok();
        podman.call(&["rm", "--force", &holder]).ok();
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

/// Who gives up by ^C or is killed leaves the queue, and the next one is served.
#[test]
fn podmans_hook_is_killed_while_it_waits() {
    let machine = Machine::with(&["1g.10gb"]);
    let podman = machine.podman(Runtime::Crun, View::V2, &[]);
    let holder = podman.sleeper(&[ASKS]);
    let mut waits = podman.container("run");
    let mut waits = start(waits.args(["--rm", ASKS, WAITS, IMAGE, "true"]), None);
    let hook = machine.await_stage("precreate");
    until("a place in the queue", || waiting(&machine).len() == 1);
    kill(hook);
    let outcome = waits.wait(DEADLINE).failed();
    assert!(!outcome.text().is_empty());
    podman.call(&["rm", "--force", "--time=0", &holder]).ok();
    podman.run(&[ASKS], "true").ok();
    assert!(
        waiting(&machine).is_empty(),
        "the next reservation drops its ticket"
    );
    machine.assert_free("the killed one");
}

/// oci-mig-runtime waits on create: with any engine, and the container is made when its turn comes.
#[test]
fn oci_mig_runtime_waits() {
    for (runtime, view) in everywhere() {
        let machine = Machine::with(&["1g.10gb"]);
        let engine = Engine::new(runtime, view).interposed(&machine);
        let bundle = || Bundle::new().annotation("mig.profile", "1g.10gb");
        let first = bundle().script(SLEEP).write();
        let mut holder = engine.container(&first);
        holder.create().ok();
        let second = bundle().annotation("mig.wait", "5m").script("true").write();
        let mut waits = engine.container(&second).begin_create();
        until("a place in the queue", || waiting(&machine).len() == 1);
        holder.delete(true).ok();
        waits.wait(DEADLINE).ok();
        engine.container(&second).delete(true).ok();
        machine.assert_free(&format!("{runtime} {view}"));
    }
}

/// dockerd and containerd wait with it, and serve others meanwhile; one that is given up leaves the queue.
#[test]
fn docker_waits() {
    for (runtime, view) in docker::everywhere().filter(|(runtime, _)| *runtime == Runtime::Runc) {
        let machine = Machine::with(&["1g.10gb"]);
        let docker = machine.docker(runtime, view);
        let (asks, waits) = (docker.ask("profile", "1g.10gb"), docker.ask("wait", "5m"));
        let holder = docker.sleeper(&[&asks]);
        let mut waiter = start(&mut docker.foreground(&[&asks, &waits], &["true"]), None);
        until("a place in the queue", || waiting(&machine).len() == 1);
        docker.run(&[], "true").ok();
        docker.call(&["rm", "--force", &holder]).ok();
        waiter.wait(DEADLINE).ok();
        machine.assert_free(&format!("docker {runtime} {view}"));

        let holder = docker.sleeper(&[&asks]);
        let mut given_up = start(&mut docker.foreground(&[&asks, &waits], &["true"]), None);
        until("a place in the queue", || waiting(&machine).len() == 1);
        let pid = waiting(&machine)[0]["process"]["pid"].as_i64().expect("a pid");
        kill(pid as i32);
        given_up.wait(DEADLINE).failed();
        docker.call(&["rm", "--force", &holder]).ok();
        docker.run(&[&asks], "true").ok();
        machine.assert_free(&format!("docker {runtime} {view}, given up"));
    }
}

/// A hook's own timeout is shorter than the wait: the refusal comes before the runtime loses patience, and says so.
#[test]
fn a_live_hooks_timeout_bounds_the_wait() {
    let machine = Machine::with(&["1g.10gb"]);
    let engine = Engine::new(Runtime::Runc, View::Host);
    let asks = || machine.bundle().annotation("mig.profile", "1g.10gb");
    let first = asks().script(SLEEP).write();
    let mut holder = engine.container(&first);
    holder.create().ok();
    let second = asks().annotation("mig.wait", "5m").script("true").with(|config| {
        for stage in ["createRuntime", "poststop"] {
            let entry = &mut config["hooks"][stage][0];
            assert_eq!(entry["path"], PROGRAM);
            entry["timeout"] = 4.into();
        }
    });
    let outcome = engine.run(&second.write()).failed();
    let text = outcome.text();
    assert!(text.contains("s: 1 of 1 held (gpu 0: "), "{outcome}");
    let remedy = "; mig.wait=5m is longer than the hook may take: raise 'timeout' in the hook's entry";
    assert!(text.contains(remedy), "{outcome}");
    assert!(waiting(&machine).is_empty());
    holder.delete(true).ok();
    let third = asks().annotation("mig.wait", "5m").script("true").write();
    engine.run(&third).ok();
    run(&mut machine.program("gc")).ok();
}
