//! `setup` as an operator uses it: the engine runs on a configuration of its own, `setup` edits that, the engine is
//! reloaded as `setup` says, and a container that asks has its device. After `--undo` the file is what it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::cgroups::View;
use crate::support::containerd;
use crate::support::cri::{self, Cri};
use crate::support::docker::{self, Docker};
use crate::support::machine::{CONFIG_VARIABLE, Machine, PROGRAM};
use crate::support::podman::Podman;
use crate::support::probe::Seen;
use crate::support::process::{Outcome, run};
use crate::support::runtime::Runtime;
use crate::support::scratch::Scratch;

const PROFILE: &str = "2g.20gb";

/// An engine's configuration file, as it was before `setup`.
struct Configuration {
    engine: &'static str,
    file: PathBuf,
    before: String,
}

impl Configuration {
    fn new(engine: &'static str, file: PathBuf) -> Self {
        let before = fs::read_to_string(&file).expect("a configuration");
        Self { engine, file, before }
    }

    #[track_caller]
    fn setup(&self, options: &[&str]) -> Outcome {
        let mut command = Command::new(PROGRAM);
        command
            .args(["setup", self.engine, "--engine-config"])
            .arg(&self.file);
        run(command.args(options)).ok()
    }

    #[track_caller]
    fn undo(&self, options: &[&str]) {
        self.setup(&[options, &["--undo"]].concat());
        let after = fs::read_to_string(&self.file).expect("a configuration");
        assert_eq!(after, self.before, "{}", self.engine);
    }
}

/// A machine whose devices are handed out in front of this runtime.
fn machine(runtime: Runtime) -> Machine {
    let machine = Machine::named("one-gpu");
    machine.stand_before(&runtime.program());
    machine
}

#[track_caller]
fn assert_served(machine: &Machine, said: &str, who: &str) {
    let seen = Seen::read(said);
    let own = machine.device(PROFILE);
    machine.assert_isolated(&seen, &own, true, who);
    assert_eq!(seen.visible_devices(), Some(own.uuid.as_str()), "{who}");
}

#[test]
fn docker_after_a_reload() {
    let (runtime, view) = docker::everywhere().next().expect("a view");
    let machine = machine(runtime);
    // Docker before 24 has no annotations.
    machine.configure("requests.environment", "true");
    let setup = containerd::Setup::new(view).env(CONFIG_VARIABLE, &machine.config());
    let docker = Docker::start_plain(setup);
    let configuration = Configuration::new("docker", docker.config_file());
    let script = machine.probe(&machine.device(PROFILE)).script();
    let asks = [docker.ask("profile", PROFILE), "--cap-add=MKNOD".to_owned()];
    let asks = asks.each_ref().map(String::as_str);

    assert!(
        !docker.run(&asks, &script).status.success(),
        "no runtime of that name yet"
    );
    configuration.setup(&[]);
    docker.reload();
    assert_served(&machine, &docker.run(&asks, &script).ok().stdout, "docker");
    machine.assert_free("docker");
    configuration.undo(&[]);
    // A reload leaves the runtimes as they are where the file has none.
    docker.kill();
    docker.start_again();
    let refused = docker.run(&asks, &script);
    assert!(refused.stderr.contains("mig"), "{refused}");
    machine.assert_free("docker, undone");
}

#[test]
fn containerd_s_pods_after_a_restart() {
    let (runtime, view) = cri::everywhere().next().expect("a view");
    let machine = machine(runtime);
    let setup = containerd::Setup::new(view).env(CONFIG_VARIABLE, &machine.config());
    let containerd = setup.handler("plain", &runtime.program()).start();
    let configuration = Configuration::new("containerd", containerd.config_file());
    configuration.setup(&[]);
    containerd.kill();
    containerd.start_again();
    {
        let cri = Cri::of(&containerd);
        let pod = cri.pod("mig", &[("mig.profile/one", PROFILE)]);
        let script = machine.probe(&machine.device(PROFILE)).script();
        let one = pod.run("one", &script).expect("a container");
        let two = pod.run("two", "ls /dev").expect("a container");
        assert_eq!((pod.await_end(&one), pod.await_end(&two)), (0, 0));
        assert_served(&machine, &pod.stdout("one"), "containerd");
        assert!(!pod.stdout("two").contains("nvidia"), "{}", pod.stdout("two"));
    }
    machine.assert_free("containerd");
    configuration.undo(&[]);
}

#[test]
fn podman_at_once() {
    let runtime = Runtime::Runc;
    let view: View = *runtime.views().first().expect("a view");
    let machine = machine(runtime);
    let podman = Podman::new(runtime, view, &[]);
    let configuration = Configuration::new("podman", podman.config_file());
    let hooks = Scratch::new("hooks");
    let text = |path: &Path| path.to_str().expect("a path of ours").to_owned();
    let (folder, config) = (text(hooks.path()), text(&machine.config()));
    let options = ["--hooks-dir", folder.as_str(), "--config", config.as_str()];
    configuration.setup(&options);
    let asks = ["--annotation=mig.profile=2g.20gb", "--cap-add=MKNOD"];
    let script = machine.probe(&machine.device(PROFILE)).script();
    assert_served(&machine, &podman.run(&asks, &script).ok().stdout, "podman");
    machine.assert_free("podman");
    configuration.undo(&options);
    let files: Vec<_> = fs::read_dir(hooks.path()).expect("the folder").collect();
    assert!(files.is_empty(), "{files:?}");
    podman.run(&asks, "[ ! -e /dev/nvidiactl ]").ok();
}

/// The second hook is for containers that did not ask; those that did have their device as before.
#[test]
fn podman_with_the_guard() {
    let runtime = Runtime::Runc;
    let view: View = *runtime.views().first().expect("a view");
    let machine = machine(runtime);
    machine.configure("guard", "\"refuse\"");
    let podman = Podman::new(runtime, view, &[]);
    let configuration = Configuration::new("podman", podman.config_file());
    let hooks = Scratch::new("hooks");
    let text = |path: &Path| path.to_str().expect("a path of ours").to_owned();
    let (folder, config) = (text(hooks.path()), text(&machine.config()));
    let options = ["--hooks-dir", folder.as_str(), "--config", config.as_str()];
    configuration.setup(&[&options[..], &["--guard"]].concat());
    let asks = ["--annotation=mig.profile=2g.20gb", "--cap-add=MKNOD"];
    let script = machine.probe(&machine.device(PROFILE)).script();
    assert_served(&machine, &podman.run(&asks, &script).ok().stdout, "podman");
    podman.run(&[], "true").ok();
    let gpu = machine.major("nvidia").expect("a major");
    let rule = format!("--device-cgroup-rule=c {gpu}:0 rw");
    let refused = podman.run(&[&rule], "true").failed();
    assert!(refused.stderr.contains("did not ask"), "{refused}");
    configuration.undo(&options);
    podman.run(&[&rule], "true").ok();
}
