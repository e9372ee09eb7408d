//! The same with engines, from an image of each layout.

use std::path::Path;

use super::{SCRIPT, assert_usual, machine};
use crate::support::cgroups::View;
use crate::support::driver::Layout;
use crate::support::image;
use crate::support::machine::INTERPOSED;
use crate::support::process::run;
use crate::support::rootfs;
use crate::support::runtime::Runtime;
use crate::support::scratch::Scratch;

const LAYOUTS: [Layout; 3] = [Layout::Multiarch, Layout::Lib64, Layout::Static];

const IMAGE: &str = "localhost/driver-files:latest";

/// The view in which both runtimes and all engines work.
fn view(runtime: Runtime) -> View {
    runtime.views()[0]
}

#[test]
fn podman_gives_them_before_the_container_is_created() {
    for runtime in [Runtime::Runc, Runtime::Crun] {
        for layout in LAYOUTS {
            let who = format!("podman {runtime} {layout:?}");
            let (machine, root, folder) = (machine(), layout.rootfs(), Scratch::new("image"));
            let podman = machine.podman(runtime, view(runtime), &[]);
            let archive = rootfs::pack(root.path(), &folder);
            run(podman.command("import").arg("--quiet").arg(archive).arg(IMAGE)).ok();
            for more in [&[][..], &["--read-only"]] {
                let options = [&["--annotation=mig.profile=1g.10gb"], more].concat();
                let outcome = podman.run_image(IMAGE, &options, SCRIPT).ok();
                assert_usual(layout, &outcome, &who);
                machine.assert_free(&who);
            }
        }
    }
}

#[test]
fn podman_with_a_user_namespace() {
    for runtime in [Runtime::Runc, Runtime::Crun] {
        let (machine, root, folder) = (machine(), Layout::Multiarch.rootfs(), Scratch::new("image"));
        let podman = machine.podman(runtime, view(runtime), &[]);
        let archive = rootfs::pack(root.path(), &folder);
        run(podman.command("import").arg("--quiet").arg(archive).arg(IMAGE)).ok();
        let maps = crate::support::podman::Podman::user_namespace();
        let options = ["--annotation=mig.profile=1g.10gb", &maps[0], &maps[1]];
        let outcome = podman.run_image(IMAGE, &options, SCRIPT).ok();
        assert_usual(
            Layout::Multiarch,
            &outcome,
            &format!("a user namespace, {runtime}"),
        );
    }
}

#[test]
fn containerd_gives_them() {
    for runtime in [Runtime::Runc, Runtime::Crun] {
        for layout in LAYOUTS {
            let who = format!("containerd {runtime} {layout:?}");
            let (machine, root, folder) = (machine(), layout.rootfs(), Scratch::new("image"));
            let containerd = machine.containerd(runtime, view(runtime)).start();
            let namespace = containerd.namespace("one", Path::new(INTERPOSED));
            namespace.import(&image::save(root.path(), IMAGE, &folder));
            let options = ["--annotation=mig.profile=1g.10gb"];
            let outcome = namespace.run_image(IMAGE, &options, SCRIPT).ok();
            assert_usual(layout, &outcome, &who);
            machine.assert_free(&who);
        }
    }
}

#[test]
fn docker_gives_them() {
    let runtime = Runtime::Runc;
    for layout in LAYOUTS {
        let who = format!("docker {runtime} {layout:?}");
        let (machine, root, folder) = (machine(), layout.rootfs(), Scratch::new("image"));
        let docker = machine.docker(runtime, view(runtime));
        let archive = rootfs::pack(root.path(), &folder);
        run(docker.client().arg("import").arg(archive).arg(IMAGE)).ok();
        let asks = docker.ask("profile", "1g.10gb");
        let outcome = docker.run_image(IMAGE, &[&asks], SCRIPT).ok();
        assert_usual(layout, &outcome, &who);
        machine.assert_free(&who);
    }
}
