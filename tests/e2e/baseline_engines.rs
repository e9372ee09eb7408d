//! What the ground carries without our runtime: containerd with `ctr` and CRI, and dockerd, each over plain runc and
//! crun, on every view that the other stories use. When these fail, the machine or the test's own tools are at fault,
//! not the product.
//!
//! Found with Debian 12's containerd 1.6.20 and dockerd 20.10.24 on a hybrid machine whose unified hierarchy has no
//! controllers:
//! - ctr works wherever the runtime does, without its default of 1024 shares of cpu.
//! - dockerd works over runc everywhere; over crun not on v2, since crun wants the io controller for its empty blockIO.
//! - CRI's sandbox always has shares of cpu, so pods don't work on v2.

use std::path::{Path, PathBuf};

use crate::support::cgroups::View;
use crate::support::containerd::Setup;
use crate::support::cri::{self, Cri};
use crate::support::ctr::Namespace;
use crate::support::docker::{self, Docker};
use crate::support::process::{is_alive, kill, until};
use crate::support::runtime::{Runtime, everywhere};
use crate::support::scratch::Scratch;

#[test]
fn containerd_runs_containers_and_comes_back() {
    for (runtime, view) in everywhere() {
        let who = format!("containerd {runtime} {view}");
        let containerd = Setup::new(view).start();
        let id = Namespace::fresh_id();
        let [one, two] = ["one", "two"].map(|name| containerd.namespace(name, &runtime.program()));
        let outcome = one.run(&["--annotation", "a=b"], "echo here; exit 3");
        assert_eq!(
            (outcome.stdout.as_str(), outcome.code()),
            ("here\n", 3),
            "{who}: {outcome}"
        );
        one.sleeper(&id, &[]);
        two.sleeper(&id, &[]);
        one.call(&["tasks", "kill", "--signal", "KILL", &id]).ok();
        one.await_end(&id);
        one.remove(&id);
        assert_eq!(
            (one.status(&id), two.status(&id)),
            (String::new(), "RUNNING".to_owned()),
            "{who}"
        );
        containerd.kill();
        containerd.start_again();
        assert_eq!(two.status(&id), "RUNNING", "{who}");
        kill(containerd.shim(&id));
        two.await_end(&id);
        two.remove(&id);
    }
}

#[test]
fn docker_runs_containers_and_comes_back() {
    for (runtime, view) in docker::everywhere() {
        let who = format!("docker {runtime} {view}");
        let docker = Docker::start(Setup::new(view), &runtime.program());
        let outcome = docker.run(&["--env=A=b"], "echo $A; exit 3");
        assert_eq!(
            (outcome.stdout.as_str(), outcome.code()),
            ("b\n", 3),
            "{who}: {outcome}"
        );
        let id = docker.sleeper(&[]);
        assert!(docker.is_running(&id), "{who}");
        docker.kill();
        docker.start_again();
        docker.await_end(&id);
        docker.call(&["start", &id]).ok();
        docker.call(&["rm", "--force", &id]).ok();
    }
}

#[test]
fn dockers_containers_outlive_it_where_it_was_told_so() {
    let view = View::Host;
    let docker = Docker::start_with_live_restore(Setup::new(view), &Runtime::Runc.program());
    let id = docker.sleeper(&[]);
    docker.kill();
    docker.start_again();
    assert!(docker.is_running(&id));
    docker.containerd.kill();
    docker.containerd.start_again();
    assert!(docker.is_running(&id));
    docker.call(&["stop", "--time=1", &id]).ok();
}

#[test]
fn cri_runs_pods() {
    for (runtime, view) in cri::everywhere() {
        let who = format!("cri {runtime} {view}");
        let containerd = Setup::new(view).handler("plain", &runtime.program()).start();
        let cri = Cri::of(&containerd);
        let pod = cri.pod(
            "plain",
            &[("mig.profile", "1g.10gb"), ("mig.profile/one", "1g.10gb")],
        );
        let one = pod.run("one", "echo one here; exit 3").expect("a container");
        let two = pod.run("two", "sleep 1000").expect("a container");
        assert_eq!(pod.await_end(&one), 3, "{who}");
        until("the container's log", || pod.stdout("one") == "one here\n");
        let executed = cri.client.exec(&two, &["echo", "in two"]).expect("exec");
        assert_eq!(executed.stdout, "in two\n", "{who}");
    }
}

/// A runtime that notes what it is given, and then is runc.
fn noting(folder: &Scratch) -> PathBuf {
    let noted = folder.path().display();
    let runc = Runtime::Runc.program();
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' create '*) cp config.json {noted}/; echo \"$NOTE\" >{noted}/note ;; esac\n\
         exec {} \"$@\"\n",
        runc.display()
    );
    folder.program("runtime", &script)
}

#[test]
fn the_daemons_environment_and_a_request_reach_the_runtime() {
    let folder = Scratch::new("noting");
    let runtime = noting(&folder);
    let note = || std::fs::read_to_string(folder.join("note")).expect("a note");
    let config = || std::fs::read_to_string(folder.join("config.json")).expect("config.json");
    let setup = || Setup::new(View::Host).env("NOTE", Path::new("/a/note"));

    let containerd = setup().start();
    let namespace = containerd.namespace("one", &runtime);
    namespace.run(&["--annotation=mig.profile=1g.10gb"], "true").ok();
    assert_eq!(note(), "/a/note\n");
    assert!(config().contains(r#""mig.profile":"1g.10gb""#), "{}", config());

    let docker = Docker::start(setup(), &runtime);
    docker.run(&[&docker.ask("count", "3")], "true").ok();
    assert_eq!(note(), "/a/note\n");
    let requests = [r#""mig.count":"3""#, r#""MIG_COUNT=3""#];
    assert!(
        requests.iter().any(|request| config().contains(request)),
        "{}",
        config()
    );
}

#[test]
fn a_dropped_engine_leaves_nothing_behind() {
    let view = View::Host;
    let containerd = Setup::new(view).start();
    let namespace = containerd.namespace("one", &Runtime::Runc.program());
    let id = Namespace::fresh_id();
    namespace.sleeper(&id, &[]);
    let shim = containerd.shim(&id);
    let groups = view.groups(&containerd.cgroup_parent());
    assert!(!groups.is_empty());
    drop(containerd);
    until("the shim's end", || !is_alive(shim));
    let left: Vec<PathBuf> = groups.into_iter().filter(|group| group.exists()).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}
