//! Pods through containerd's CRI plugin with a runtime handler that is oci-mig-runtime, as the kubelet makes them: a
//! pod's annotations reach every container of it and its sandbox.

use std::path::Path;

use crate::reasons::no_such_profile;
use crate::support::containerd::Containerd;
use crate::support::cri::{self, Cri};
use crate::support::machine::{INTERPOSED, Machine};
use crate::support::probe::Seen;
use crate::support::process::{kill, until};
use crate::support::rootfs::SLEEP;

/// Says what it has been given, and sleeps. A later exec wouldn't know: containerd gives it the environment that it wrote
/// itself.
fn tell_and_sleep() -> String {
    format!("echo $NVIDIA_VISIBLE_DEVICES; ls /dev | grep nvidia | wc -l; {SLEEP}")
}

/// A machine with these devices, and a kubelet's place on it.
struct Place<'a> {
    machine: &'a Machine,
    containerd: &'a Containerd,
    cri: Cri<'a>,
    who: String,
}

fn with_each_runtime(profiles: &[&str], story: impl Fn(&Place)) {
    for (runtime, view) in cri::everywhere() {
        let machine = Machine::with(profiles);
        let setup = machine
            .containerd(runtime, view)
            .handler("mig", Path::new(INTERPOSED));
        let containerd = setup.start();
        story(&Place {
            machine: &machine,
            containerd: &containerd,
            cri: Cri::of(&containerd),
            who: format!("cri {runtime} {view}"),
        });
    }
}

impl Place<'_> {
    /// The device that the container of this id holds.
    #[track_caller]
    fn device_of(&self, container: &str) -> String {
        let taken = self.machine.taken();
        let mut its = taken.iter().filter(|(_, (_, holder))| holder == container);
        let (uuid, _) = its
            .next()
            .unwrap_or_else(|| panic!("{}: {container} holds nothing: {taken:?}", self.who));
        assert!(
            its.next().is_none(),
            "{}: {container} holds more than one: {taken:?}",
            self.who
        );
        uuid.clone()
    }

    #[track_caller]
    fn assert_holders(&self, containers: &[&str]) {
        let taken = self.machine.taken();
        let mut holders: Vec<_> = taken.values().map(|(_, holder)| holder.as_str()).collect();
        let mut expected = containers.to_vec();
        holders.sort_unstable();
        expected.sort_unstable();
        assert_eq!(holders, expected, "{}: {taken:?}", self.who);
    }
}

#[test]
fn each_container_of_a_pod_has_its_own_and_the_sandbox_none() {
    with_each_runtime(&["1g.10gb", "1g.10gb", "1g.10gb"], |place| {
        let pod = place.cri.pod("mig", &[("mig.profile", "1g.10gb")]);
        place.assert_holders(&[]);
        let names = ["one", "two"];
        let containers = names.map(|name| pod.run(name, &tell_and_sleep()).expect("a container"));
        let [one, two] = &containers;
        place.assert_holders(&[one, two]);
        for (container, name) in containers.iter().zip(names) {
            let own = place.device_of(container);
            let devices = place.machine.devices().expect("devices");
            let own = devices
                .iter()
                .find(|device| device.uuid == own)
                .expect("one of the node's");
            let script = place.machine.probe(own).script();
            let said = place
                .cri
                .client
                .exec(container, &["sh", "-c", &script])
                .expect("exec");
            let seen = Seen::read(&said);
            let who = format!("{} {name}", place.who);
            place.machine.assert_isolated(&seen, own, true, &who);
            until("the container's words", || {
                pod.stdout(name).starts_with(&own.uuid)
            });
        }
        place.cri.client.stop(one, 5).expect("a stop");
        place.assert_holders(&[two]);
        place.cri.client.remove(one).expect("a removal");
        place.assert_holders(&[two]);
        // The kubelet's next attempt.
        let again = pod.run("one", &tell_and_sleep()).expect("a container");
        place.assert_holders(&[&again, two]);
        drop(pod);
        place.machine.assert_free(&place.who);
    });
}

#[test]
fn a_key_for_one_container_is_for_that_one_alone() {
    with_each_runtime(&["1g.10gb", "2g.20gb"], |place| {
        let pod = place.cri.pod("mig", &[("mig.profile/two", "2g.20gb")]);
        let [_, two] = ["one", "two"].map(|name| pod.run(name, &tell_and_sleep()).expect("a container"));
        place.assert_holders(&[&two]);
        until("the words of one", || pod.stdout("one") == "\n0\n");
        let own = place.device_of(&two);
        until("the words of two", || pod.stdout("two").starts_with(&own));
        drop(pod);

        // It wins over the plain key, which the others go by.
        let pod = place.cri.pod(
            "mig",
            &[("mig.profile", "1g.10gb"), ("mig.profile/two", "2g.20gb")],
        );
        let [one, two] = ["one", "two"].map(|name| pod.run(name, &tell_and_sleep()).expect("a container"));
        place.assert_holders(&[&one, &two]);
        let profile = |container: &str| {
            let uuid = place.device_of(container);
            let devices = place.machine.devices().expect("devices");
            devices
                .into_iter()
                .find(|device| device.uuid == uuid)
                .map(|device| device.profile)
        };
        assert_eq!(profile(&one).as_deref(), Some("1g.10gb"), "{}", place.who);
        assert_eq!(profile(&two).as_deref(), Some("2g.20gb"), "{}", place.who);
        drop(pod);
        place.machine.assert_free(&place.who);
    });
}

/// The kubelet makes an event of the error, which `kubectl describe` shows.
#[test]
fn a_refusal_is_in_the_answer() {
    with_each_runtime(&["1g.10gb"], |place| {
        let line = no_such_profile(place.machine);
        let pod = place.cri.pod("mig", &[("mig.profile/one", "9g.90gb")]);
        let told = pod.run("one", "true").expect_err("no such profile");
        let told = format!("{told:#}");
        assert!(told.contains(&line), "{}: {line:?} in {told:?}", place.who);
        // The pod's other container is none the worse.
        let two = pod.run("two", "exit 5").expect("a container");
        assert_eq!(pod.await_end(&two), 5, "{}", place.who);

        let greedy = place.cri.pod("mig", &[("mig.profile", "1g.10gb")]);
        let first = greedy.run("one", &tell_and_sleep()).expect("a container");
        let told = format!(
            "{:#}",
            greedy.run("two", &tell_and_sleep()).expect_err("only one device")
        );
        assert!(
            told.contains("oci-mig-hook: no free 1g.10gb: 1 of 1 held"),
            "{}: {told}",
            place.who
        );
        place.assert_holders(&[&first]);
        drop((pod, greedy));
        place.machine.assert_free(&place.who);
    });
}

#[test]
fn however_a_container_ends() {
    with_each_runtime(&["1g.10gb"], |place| {
        let pod = place.cri.pod("mig", &[("mig.profile", "1g.10gb")]);
        let ended = pod.run("one", "exit 3").expect("a container");
        assert_eq!(pod.await_end(&ended), 3, "{}", place.who);
        place.machine.assert_free(&place.who);

        let killed = pod.run("two", &tell_and_sleep()).expect("a container");
        kill(place.machine.holding_process().expect("a holder"));
        pod.await_end(&killed);
        place.machine.assert_free(&place.who);

        let survivor = pod.run("three", &tell_and_sleep()).expect("a container");
        place.containerd.kill();
        place.containerd.start_again();
        until("the CRI plugin", || place.cri.client.status(&survivor).is_ok());
        place.assert_holders(&[&survivor]);
        // One shim has the whole pod.
        kill(place.containerd.shim(&pod.id));
        pod.await_end(&survivor);
        place.machine.assert_free(&place.who);
    });
}
