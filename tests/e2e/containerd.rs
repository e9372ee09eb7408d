//! containerd with `ctr --runc-binary oci-mig-runtime`, over runc and over crun: a container that asks has its own
//! device, and gives it back however it ends.
//!
//! Without user namespaces: `ctr --uidmap` forgets --runc-binary, and such a container is plain runc's.

mod killed;
mod namespaces;
mod said;

use std::path::Path;

use crate::support::cgroups::View;
use crate::support::containerd::Containerd;
use crate::support::ctr::Namespace;
use crate::support::machine::{INTERPOSED, Machine};
use crate::support::probe::Seen;
use crate::support::runtime::{Runtime, everywhere};

const ASK: &str = "--annotation=mig.profile=1g.10gb";

/// A machine, and containerd on it.
struct Place<'a> {
    machine: &'a Machine,
    containerd: &'a Containerd,
    one: Namespace<'a>,
    who: String,
}

impl Place<'_> {
    /// A container that asks for the one device runs.
    #[track_caller]
    fn the_next_one_gets_it(&self) {
        let outcome = self.one.run(&[ASK], "echo $NVIDIA_VISIBLE_DEVICES");
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
        let outcome = self.one.run(&[ASK], "true");
        assert!(
            !outcome.status.success(),
            "{}: taken from a living container",
            self.who
        );
    }

    /// A container with the device, which sleeps.
    #[track_caller]
    fn sleeper(&self) -> String {
        let id = Namespace::fresh_id();
        self.one.sleeper(&id, &[ASK]);
        id
    }
}

/// The story on a machine with these devices, on runc and on crun, on cgroup v1 and v2.
fn with_each_runtime(profiles: &[&str], story: impl Fn(&Place)) {
    for (runtime, view) in [
        (Runtime::Runc, View::Host),
        (Runtime::Crun, View::V1),
        (Runtime::Crun, View::V2),
    ] {
        if !runtime.views().contains(&view) {
            continue;
        }
        let machine = Machine::with(profiles);
        let containerd = machine.containerd(runtime, view).start();
        story(&Place {
            machine: &machine,
            containerd: &containerd,
            one: containerd.namespace("one", Path::new(INTERPOSED)),
            who: format!("containerd {runtime} {view}"),
        });
    }
}

#[test]
fn own_device() {
    for (runtime, view) in everywhere() {
        let machine = Machine::named("one-gpu");
        let containerd = machine.containerd(runtime, view).start();
        let one = containerd.namespace("one", Path::new(INTERPOSED));
        let devices = machine.devices().expect("devices");
        let own = devices
            .iter()
            .find(|device| device.profile == "2g.20gb")
            .expect("a 2g.20gb");
        let probe = machine.probe(own).script();
        let who = format!("containerd {runtime} {view}");
        // An image or a user may have set the variable: ours replaces it.
        let options = [
            "--annotation=mig.profile=2g.20gb",
            "--env=NVIDIA_VISIBLE_DEVICES=all",
            "--cap-add=CAP_MKNOD",
        ];
        let seen = Seen::read(&one.run(&options, &probe).ok().stdout);
        machine.assert_isolated(&seen, own, true, &who);
        assert_eq!(seen.visible_devices(), Some(own.uuid.as_str()), "{who}");
        machine.assert_free(&who);
    }
}

#[test]
fn a_container_that_does_not_ask_has_none() {
    with_each_runtime(&["1g.10gb"], |place| {
        let outcome = place.one.run(&[], "ls /dev; echo $NVIDIA_VISIBLE_DEVICES").ok();
        assert!(
            !outcome.stdout.contains("nvidia") && !outcome.stdout.contains("MIG-"),
            "{outcome}"
        );
        assert!(!place.machine.ledger().exists(), "{}", place.who);
    });
}

#[test]
fn exit() {
    with_each_runtime(&["1g.10gb"], |place| {
        place.one.run(&[ASK], "true").ok();
        place.machine.assert_free(&place.who);
        assert_eq!(place.one.run(&[ASK], "exit 3").code(), 3, "{}", place.who);
        place.machine.assert_free(&place.who);
    });
}

#[test]
fn stop_kill_and_rm_force() {
    with_each_runtime(&["1g.10gb"], |place| {
        for signal in ["TERM", "KILL"] {
            let id = place.sleeper();
            place.the_next_one_is_refused();
            place.one.call(&["tasks", "kill", "--signal", signal, &id]).ok();
            place.one.await_end(&id);
            // It is over, though nobody has deleted it yet; whoever does so later takes nothing from the next one.
            let next = place.sleeper();
            place.one.call(&["tasks", "delete", &id]).ok();
            place.the_next_one_is_refused();
            place.one.remove(&id);
            place.the_next_one_is_refused();
            place.one.call(&["tasks", "delete", "--force", &next]).ok();
            place.machine.assert_free(&format!("{} {signal}", place.who));
        }
    });
}

#[test]
fn restart() {
    with_each_runtime(&["1g.10gb"], |place| {
        let id = place.sleeper();
        let before = place.machine.taken();
        place.one.call(&["tasks", "delete", "--force", &id]).ok();
        place.machine.assert_free(&place.who);
        place.one.call(&["tasks", "start", "--detach", &id]).ok();
        assert_eq!(before, place.machine.taken(), "{}", place.who);
        place.the_next_one_is_refused();
        place.one.remove(&id);
        place.machine.assert_free(&place.who);
    });
}

#[test]
fn bad_command() {
    with_each_runtime(&["1g.10gb"], |place| {
        place.one.run_program(&[ASK], &["no-such-program"]).failed();
        place.machine.assert_free(&place.who);
        place.the_next_one_gets_it();
    });
}
