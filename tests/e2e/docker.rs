//! Docker with `--runtime=mig`, over runc and over crun: a container that asks has its own device, and gives it back
//! however it ends. How it asks depends on the daemon: by an annotation, or before 24 by its environment.

mod killed;
mod said;

use crate::support::cgroups::View;
use crate::support::docker::{self, Docker};
use crate::support::machine::Machine;
use crate::support::probe::Seen;
use crate::support::process::{kill, until};
use crate::support::runtime::Runtime;

/// A machine with one device, and Docker on it.
struct Place {
    // Before the machine: its containers end first.
    docker: Docker,
    machine: Machine,
    /// The option that asks for the device.
    ask: String,
    who: String,
}

impl Place {
    /// A container that asks for the one device runs.
    #[track_caller]
    fn the_next_one_gets_it(&self) {
        let outcome = self.docker.run(&[&self.ask], "echo $NVIDIA_VISIBLE_DEVICES");
        assert!(
            outcome.status.success() && outcome.stdout.starts_with("MIG-"),
            "{}: not given back: {outcome}\n{:?}",
            self.who,
            self.machine.taken()
        );
        self.machine.assert_free(&self.who);
    }

    /// A container that asks for the one device is refused.
    #[track_caller]
    fn the_next_one_is_refused(&self) {
        let outcome = self.docker.run(&[&self.ask], "true");
        assert!(
            !outcome.status.success(),
            "{}: taken from a living container",
            self.who
        );
    }

    fn call(&self, args: &[&str]) {
        self.docker.call(args).ok();
    }
}

/// The story on runc and on crun, on cgroup v1 and v2.
fn with_each_runtime(story: impl Fn(&Place)) {
    with_each(Machine::docker, story);
}

/// The same with Dockers that begin in another way.
fn with_each(begin: impl Fn(&Machine, Runtime, View) -> Docker, story: impl Fn(&Place)) {
    let places = [
        (Runtime::Runc, View::V2),
        (Runtime::Crun, View::Host),
        (Runtime::Crun, View::V1),
    ];
    for (runtime, view) in docker::everywhere().filter(|place| places.contains(place)) {
        let machine = Machine::with(&["1g.10gb"]);
        let docker = begin(&machine, runtime, view);
        story(&Place {
            ask: docker.ask("profile", "1g.10gb"),
            docker,
            machine,
            who: format!("docker {runtime} {view}"),
        });
    }
}

#[test]
fn own_device() {
    for (runtime, view) in docker::everywhere() {
        let machine = Machine::named("one-gpu");
        let docker = machine.docker(runtime, view);
        let devices = machine.devices().expect("devices");
        let own = devices
            .iter()
            .find(|device| device.profile == "2g.20gb")
            .expect("a 2g.20gb");
        let probe = machine.probe(own).script();
        let ask = docker.ask("profile", "2g.20gb");
        let cases: [(&str, bool, &[&str]); 2] = [
            ("root", true, &["--cap-add=MKNOD"]),
            ("uid 1000", false, &["--user=1000"]),
        ];
        for (what, can_make, options) in cases {
            let who = format!("docker {runtime} {view} {what}");
            // An image or a user may have set the variable: ours replaces it.
            let options = [options, &[&ask, "--env=NVIDIA_VISIBLE_DEVICES=all"]].concat();
            let seen = Seen::read(&docker.run(&options, &probe).ok().stdout);
            machine.assert_isolated(&seen, own, can_make, &who);
            assert_eq!(seen.visible_devices(), Some(own.uuid.as_str()), "{who}");
            machine.assert_free(&who);
        }
    }
}

#[test]
fn a_container_that_does_not_ask_has_none() {
    with_each_runtime(|place| {
        let outcome = place
            .docker
            .run(&[], "ls /dev; echo $NVIDIA_VISIBLE_DEVICES")
            .ok();
        assert!(
            !outcome.stdout.contains("nvidia") && !outcome.stdout.contains("MIG-"),
            "{outcome}"
        );
        assert!(!place.machine.ledger().exists(), "{}", place.who);
    });
}

#[test]
fn exit() {
    with_each_runtime(|place| {
        place.docker.run(&[&place.ask], "true").ok();
        place.machine.assert_free(&place.who);
        assert_eq!(
            place.docker.run(&[&place.ask], "exit 3").code(),
            3,
            "{}",
            place.who
        );
        place.machine.assert_free(&place.who);
    });
}

#[test]
fn kill_stop_and_rm_force() {
    with_each_runtime(|place| {
        for how in [&["kill"][..], &["stop", "--time=5"], &["rm", "--force"]] {
            let id = place.docker.sleeper(&[&place.ask]);
            place.the_next_one_is_refused();
            place.call(&[how, &[&id]].concat());
            place.machine.assert_free(&format!("{} {how:?}", place.who));
        }
        place.the_next_one_gets_it();
    });
}

#[test]
fn restart() {
    with_each_runtime(|place| {
        let id = place.docker.sleeper(&[&place.ask]);
        let before = place.machine.taken();
        place.call(&["restart", "--time=1", &id]);
        assert_eq!(before, place.machine.taken(), "{}", place.who);
        place.the_next_one_is_refused();
        place.call(&["stop", "--time=1", &id]);
        place.machine.assert_free(&place.who);
        place.call(&["start", &id]);
        place.the_next_one_is_refused();
        place.call(&["rm", "--force", &id]);
        place.machine.assert_free(&place.who);
    });
}

/// Docker itself starts it again, and again.
#[test]
fn restarted_by_docker() {
    with_each_runtime(|place| {
        let id = place.docker.sleeper(&[&place.ask, "--restart=always"]);
        for _ in 0..2 {
            let before = place.docker.pid(&id);
            kill(before);
            // Docker gives up on a container that ends before it is started, so the next kill waits for that.
            until("another process of the same container", || {
                ![0, before].contains(&place.docker.pid(&id))
            });
            assert_eq!(
                place.machine.holding_process(),
                Some(place.docker.pid(&id)),
                "{}",
                place.who
            );
        }
        place.the_next_one_is_refused();
        place.call(&["rm", "--force", &id]);
        place.the_next_one_gets_it();
    });
}

#[test]
fn bad_command() {
    with_each_runtime(|place| {
        let outcome = place.docker.run_program(&[&place.ask], &["no-such-program"]);
        // 127; over crun, whose words Docker doesn't know, 125.
        let usual = place.docker.run_program(&[], &["no-such-program"]).code();
        assert_eq!(outcome.code(), usual, "{}: {outcome}", place.who);
        place.machine.assert_free(&place.who);
        place.the_next_one_gets_it();
    });
}
