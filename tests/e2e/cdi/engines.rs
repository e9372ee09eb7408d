//! Engines that read the file for themselves: what a container gets of it, and that no lease is taken.

use std::fs;

use serde_json::json;

use super::{KIND, Place};
use crate::support::docker;
use crate::support::podman::{IMAGE, Podman};
use crate::support::probe::Seen;
use crate::support::process::{Outcome, run, say};
use crate::support::runtime::everywhere;

/// Podman looks in /etc/cdi and /var/run/cdi and nowhere else: it gets an /etc of its own, which has the file. Its arguments
/// are a folder for that, and the file.
const OWN_ETC: &str = "set -e; place=$1; file=$2; shift 2; mkdir -p $place; mount -t tmpfs cdi $place; \
                       mkdir $place/upper $place/work; \
                       mount -t overlay -o lowerdir=/etc,upperdir=$place/upper,workdir=$place/work cdi /etc; \
                       mkdir -p /etc/cdi; cp $file /etc/cdi/; exec \"$@\"";

/// `podman run OPTIONS IMAGE sh -c SCRIPT` where the file is in /etc/cdi.
fn podman_run(place: &Place, podman: &Podman, options: &[&str], script: &str) -> Outcome {
    let mut wanted = podman.container("run");
    wanted
        .args(["--rm", "--cap-add=MKNOD"])
        .args(options)
        .args([IMAGE, "sh", "-c", script]);
    let mut command = podman.view.command("unshare");
    command.args(["--mount", "sh", "-c", OWN_ETC, "sh"]);
    command.arg(place.folder.join("etc")).arg(place.path());
    command.arg(wanted.get_program()).args(wanted.get_args());
    for (name, value) in wanted.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    run(&mut command)
}

/// Debian's Podman 4.3 reads CDI up to 0.5.0.
#[test]
fn podman() {
    for (runtime, view) in everywhere() {
        let place = Place::named("mixed");
        let who = format!("podman {runtime} {view}");
        run(&mut place.cdi(&["--cdi-version", "0.5.0"])).ok();
        let podman = Podman::new(runtime, view, &[]);
        let machine = &place.machine;
        let own = machine.device("2g.10gb");
        for name in [&own.uuid, &format!("{}:{}:{}", own.gpu, own.gi, own.ci)] {
            let device = format!("--device={KIND}={name}");
            let outcome = podman_run(&place, &podman, &[&device], &machine.probe(&own).script()).ok();
            let seen = Seen::read(&outcome.stdout);
            machine.assert_isolated(&seen, &own, true, &who);
            assert_eq!(seen.visible_devices(), Some("void"), "{who}");
        }
        let whole = machine.whole_gpu(5);
        let device = format!("--device={KIND}=5");
        let outcome = podman_run(&place, &podman, &[&device], &machine.probe_whole(&whole).script()).ok();
        machine.assert_has_whole(&Seen::read(&outcome.stdout), &whole, true, &who);
        assert_eq!(machine.leases(), 0, "no lease is taken: {who}");
        let gone = podman_run(&place, &podman, &[&format!("--device={KIND}=0:9:0")], "true").failed();
        assert!(
            gone.text()
                .contains(&format!("unresolvable CDI devices {KIND}=0:9:0")),
            "{gone}"
        );
    }
}

/// From 25 on (API 1.44), where the feature is on. It reads 0.6.0.
#[test]
fn docker() {
    for (runtime, view) in docker::everywhere() {
        let place = Place::named("mixed");
        let who = format!("docker {runtime} {view}");
        let docker = place.machine.docker(runtime, view);
        if !docker.reads_cdi() {
            return say("NOT TESTED here: CDI with Docker, which is older than 25");
        }
        run(&mut place.cdi(&[])).ok();
        let config = json!({"features": {"cdi": true}, "cdi-spec-dirs": [place.folder.path()]});
        fs::write(docker.config_file(), config.to_string()).expect("daemon.json");
        docker.kill();
        docker.start_again();
        let machine = &place.machine;
        let own = machine.device("2g.10gb");
        let device = format!("--device={KIND}={}", own.uuid);
        let options = [device.as_str(), "--cap-add=MKNOD"];
        let seen = Seen::read(&docker.run(&options, &machine.probe(&own).script()).ok().stdout);
        machine.assert_isolated(&seen, &own, true, &who);
        assert_eq!(seen.visible_devices(), Some("void"), "{who}");
        // Two at once: what they share is there once.
        let whole = [5, 6].map(|index| machine.whole_gpu(index));
        let devices = whole
            .each_ref()
            .map(|gpu| format!("--device={KIND}={}", gpu.uuid));
        let both = docker.run(&[&devices[0], &devices[1]], "ls /dev").ok().stdout;
        for name in ["nvidia5", "nvidia6", "nvidiactl", "nvidia-uvm"] {
            assert_eq!(
                both.lines().filter(|line| *line == name).count(),
                1,
                "{who}: {both}"
            );
        }
        assert!(
            !both.contains("nvidia0") && !both.contains("nvidia-caps"),
            "{who}: {both}"
        );
        assert_eq!(machine.leases(), 0, "no lease is taken: {who}");
    }
}
