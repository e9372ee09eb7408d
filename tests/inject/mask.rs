//! What a container sees of `/proc/driver/nvidia`. No machine of ours has the driver, so its folder in the container's
//! procfs is a simulated node's, mounted there before our code comes: from then on all is as on a real one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use fake_node::Scratch as Node;
use oci_mig_hook::edits::ProcMask;
use oci_mig_hook::failure::Failure;
use oci_mig_hook::inject::{self, LiveContainer};
use oci_mig_hook::mig::{ComputeInstanceId, DeviceMinor, GpuInstanceId};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::live::{Story, at_create_runtime, mounts, rootfs};
use crate::support::bundle::Bundle;
use crate::support::process::run;
use crate::support::rootfs as image;
use crate::support::runtime::{Engine, everywhere};

/// Two GPUs at minors 0 and 1 of several instances each.
const NODE: &str = "id-maps";

/// Everything below the driver's folder, each file with what it says; and what can be done there.
const LOOK: &str = "cd /proc/driver/nvidia && find . -type f | sort | while read -r file; do echo \"== $file\"; cat \"$file\"; done; \
                    echo '== end'; grep ' /proc/driver/nvidia' /proc/self/mounts; echo '== tried'; touch new version gpus/new 2>&1; \
                    find . -name new; cat /proc/self/status >/dev/null && echo procfs works";

fn node() -> Node {
    Node::up(NODE).expect("a node: run the tests as root")
}

/// GPU 1 of the node, and its first instance.
fn mask(node: &Node) -> ProcMask {
    let mut mask = ProcMask::new(node.proc().join("driver/nvidia"));
    let (gi, ci) = first_instance(node);
    mask.show_gpu(bus_id(node).parse().expect("a bus id"));
    mask.show_instance(DeviceMinor(1), GpuInstanceId(gi), ComputeInstanceId(ci));
    mask
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn bus_id(node: &Node) -> String {
    let gpus = node.proc().join("driver/nvidia/gpus");
    let is_second = |name: &String| {
        let text = fs::read_to_string(gpus.join(name).join("information")).expect("information");
        text.contains("Device Minor: \t 1\n")
    };
    names(&gpus).into_iter().find(is_second).expect("GPU 1")
}

fn first_instance(node: &Node) -> (u32, u32) {
    let mig = node.proc().join("driver/nvidia/capabilities/gpu1/mig");
    let gi = names(&mig).remove(0);
    let number = |name: &str, prefix: &str| name.strip_prefix(prefix).and_then(|rest| rest.parse().ok());
    (number(&gi, "gi").expect("gi"), 0)
}

/// Mounts the node's `driver` folder where the container's procfs has its own; `also` as mount(8)'s options.
fn install(container: &LiveContainer, node: &Node, target: &Path) -> Result<(), Failure> {
    in_container(
        container,
        &["mount", "--bind"],
        &[node.proc().join("driver"), target.to_owned()],
    );
    Ok(())
}

/// Runs a program of ours in the container's mount namespace, which still has all of the host's files.
fn in_container(container: &LiveContainer, words: &[&str], paths: &[PathBuf]) {
    let mut command = Command::new("nsenter");
    command.args(["--mount", "--target", &container.pid().to_string()]);
    run(command.args(words).args(paths)).ok();
}

/// A container that looks, with the node's folder in its procfs and the mask over that.
fn masked(engine: &Engine, bundle: Bundle, node: &Node) -> Story {
    let driver = rootfs(&bundle).join("proc/driver");
    let mask = mask(node);
    at_create_runtime(engine, bundle.script(LOOK), |container| {
        install(container, node, &driver)?;
        inject::mask(container, &mask)
    })
}

/// What a container of ours is to see, and nothing else.
fn expected(node: &Node) -> String {
    let (gi, ci) = first_instance(node);
    let instance = format!("capabilities/gpu1/mig/gi{gi}");
    let files = [
        format!("{instance}/access"),
        format!("{instance}/ci{ci}/access"),
        format!("gpus/{}/information", bus_id(node)),
        "params".to_owned(),
        "version".to_owned(),
    ];
    let folder = node.proc().join("driver/nvidia");
    let shown = files.iter().map(|file| {
        let text = fs::read_to_string(folder.join(file)).expect("a file of the node's");
        let text = text.replace("ModifyDeviceFiles: 1", "ModifyDeviceFiles: 0");
        format!("== ./{file}\n{text}")
    });
    shown.collect()
}

#[track_caller]
fn assert_masked(said: &str, node: &Node, who: &str) {
    let (files, rest) = said
        .split_once("== end\n")
        .unwrap_or_else(|| panic!("{who}: {said}"));
    assert_eq!(files, expected(node), "{who}");
    let (mounts, tried) = rest
        .split_once("== tried\n")
        .unwrap_or_else(|| panic!("{who}: {said}"));
    let mut points: Vec<&str> = Vec::new();
    for line in mounts.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let options: Vec<&str> = words[3].split(',').collect();
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(options.contains(&option), "{who}: {option}: {line}");
        }
        points.push(words[1]);
    }
    points.sort_unstable();
    let gpu = format!("/proc/driver/nvidia/gpus/{}", bus_id(node));
    assert_eq!(points, ["/proc/driver/nvidia", &gpu], "{who}");
    assert!(tried.contains("Read-only file system"), "{who}: {tried}");
    assert!(!tried.contains("\n./"), "something was made: {who}: {tried}");
    assert!(tried.ends_with("procfs works\n"), "{who}: {tried}");
}

#[test]
fn a_container_sees_its_own_and_nobody_elses() {
    for (runtime, view) in everywhere() {
        let (engine, node, before) = (Engine::new(runtime, view), node(), mounts(view));
        for bundle in [
            Bundle::new(),
            Bundle::new().user_namespace(),
            Bundle::new().user(1000),
        ] {
            let who = format!("{runtime} {view} {}", bundle.config["linux"]["uidMappings"]);
            assert_masked(&masked(&engine, bundle, &node).ok(), &node, &who);
            assert_eq!(mounts(view), before, "{who}: left mounted on the host");
        }
    }
}

#[test]
fn where_no_driver_shows_itself_nothing_is_mounted() {
    for (runtime, view) in everywhere() {
        let node = node();
        let mask = mask(&node);
        let bundle = Bundle::new().script("ls -a /proc/driver/nvidia; grep -c driver /proc/self/mounts");
        let story = at_create_runtime(&Engine::new(runtime, view), bundle, |container| {
            inject::mask(container, &mask)
        });
        story.injected.expect("nothing to do");
        assert_eq!(story.outcome.stdout, "0\n", "{runtime} {view}: {}", story.outcome);
    }
}

/// Devices of an earlier version's lease, which says neither where the GPU sits nor its minor.
#[test]
fn with_nothing_to_show_the_version_and_the_parameters_are_left() {
    for (runtime, view) in everywhere() {
        let (engine, node) = (Engine::new(runtime, view), node());
        let mask = ProcMask::new(node.proc().join("driver/nvidia"));
        let bundle = Bundle::new().script("cd /proc/driver/nvidia && find . | sort");
        let driver = rootfs(&bundle).join("proc/driver");
        let story = at_create_runtime(&engine, bundle, |container| {
            install(container, &node, &driver)?;
            inject::mask(container, &mask)
        });
        assert_eq!(story.ok(), ".\n./params\n./version\n", "{runtime} {view}");
    }
}

/// Every procfs that the container has is covered, wherever its engine's user mounted it.
#[test]
fn a_second_procfs_is_covered_too() {
    for (runtime, view) in everywhere() {
        let (engine, node) = (Engine::new(runtime, view), node());
        let own = image::own();
        fs::create_dir(own.join("proc 2")).expect("a folder");
        let bundle = Bundle::new().rootfs(own.path()).with(|config| {
            let mount = serde_json::json!({"destination": "/proc 2", "type": "proc", "source": "proc"});
            config["mounts"].as_array_mut().expect("mounts").push(mount);
        });
        let bundle = bundle.script("cd '/proc 2/driver/nvidia' && find . -type f | wc -l; ls gpus | wc -l");
        let (second, first) = (
            rootfs(&bundle).join("proc 2/driver"),
            rootfs(&bundle).join("proc/driver"),
        );
        let mask = mask(&node);
        let story = at_create_runtime(&engine, bundle, |container| {
            install(container, &node, &first)?;
            install(container, &node, &second)?;
            inject::mask(container, &mask)
        });
        assert_eq!(story.ok(), "5\n1\n", "{runtime} {view}");
    }
}

/// An engine's user may want what is mounted in the container to show on the host. Not this.
#[test]
fn nothing_shows_on_the_host_where_the_containers_mounts_do() {
    for (runtime, view) in everywhere() {
        let (engine, node, before) = (Engine::new(runtime, view), node(), mounts(view));
        let bundle = Bundle::new().script(LOOK);
        let (proc, mask) = (rootfs(&bundle).join("proc"), mask(&node));
        let mut on_the_host = String::new();
        let story = at_create_runtime(&engine, bundle, |container| {
            // As it is where /proc is bound rshared: whoever has a copy of this mount sees what is mounted in it.
            in_container(
                container,
                &["mount", "--make-shared"],
                std::slice::from_ref(&proc),
            );
            let copy = node.dir().join("copy");
            fs::create_dir(&copy).expect("a folder");
            in_container(container, &["mount", "--bind"], &[proc.clone(), copy.clone()]);
            install(container, &node, &proc.join("driver"))?;
            let listed = || {
                let mut command = Command::new("nsenter");
                command.args(["--mount", "--target", &container.pid().to_string(), "ls"]);
                run(command.arg(copy.join("driver/nvidia/gpus"))).ok().stdout
            };
            let before = listed();
            inject::mask(container, &mask)?;
            on_the_host = listed();
            assert_eq!(on_the_host, before, "the copy was covered as well");
            in_container(container, &["umount", "-R"], &[copy]);
            Ok(())
        });
        let who = format!("{runtime} {view}");
        assert_masked(&story.ok(), &node, &who);
        assert_eq!(on_the_host.lines().count(), 2, "{who}");
        assert_eq!(mounts(view), before, "{who}");
    }
}

/// Neither a link nor a FIFO of the image's at /proc or below it makes us mount anywhere else.
#[test]
fn what_an_image_plants_at_proc_leads_nowhere() {
    for (runtime, view) in everywhere() {
        let (engine, node) = (Engine::new(runtime, view), node());
        let victim = crate::support::scratch::Scratch::new("victim");
        fs::create_dir_all(victim.join("driver/nvidia")).expect("a folder");
        let plant: [&dyn Fn(&Path); 4] = [
            &|proc| symlink(victim.path(), proc).expect("a link"),
            &|proc| {
                symlink(format!("{}{}", "../".repeat(20), victim.path().display()), proc).expect("a link")
            },
            &|proc| nix::unistd::mkfifo(proc, nix::sys::stat::Mode::S_IRWXU).expect("a fifo"),
            &|proc| {
                fs::create_dir(proc).expect("a folder");
                symlink(victim.join("driver"), proc.join("driver")).expect("a link");
            },
        ];
        for (at, plant) in plant.iter().enumerate() {
            let (who, before) = (format!("{runtime} {view} {at}"), mounts(view));
            let own = image::own();
            fs::remove_dir(own.join("proc")).expect("a folder");
            plant(&own.join("proc"));
            // Without a procfs of the runtime's: only what the image has stands there.
            let bundle = Bundle::new().rootfs(own.path()).with(|config| {
                let mounts = config["mounts"].as_array_mut().expect("mounts");
                mounts.retain(|mount| mount["destination"] != "/proc");
                config["linux"]["maskedPaths"] = serde_json::json!([]);
                config["linux"]["readonlyPaths"] = serde_json::json!([]);
            });
            let mask = mask(&node);
            let mut covered = None;
            let _ = at_create_runtime_if_any(&engine, bundle, |container| {
                covered = Some(inject::mask(container, &mask));
                Ok(())
            });
            if let Some(covered) = covered {
                covered.unwrap_or_else(|failure| panic!("{who}: {failure}"));
            }
            assert_eq!(names(&victim.join("driver/nvidia")), [""; 0], "{who}");
            assert_eq!(mounts(view), before, "{who}");
        }
    }
}

/// Somebody who shares the image's folder with the container exchanges the procfs' mount point all the while. Where the
/// container starts, all that it sees at either name is its own.
#[test]
fn a_procfs_that_is_moved_about_is_covered_or_the_container_fails() {
    for (runtime, view) in everywhere() {
        let (engine, node) = (Engine::new(runtime, view), node());
        let (who, before) = (format!("{runtime} {view}"), mounts(view));
        for _ in 0..8 {
            let own = image::own();
            fs::create_dir_all(own.join("other/driver/nvidia/gpus/planted")).expect("a folder");
            let script = "for at in proc other; do ls /$at/driver/nvidia/gpus; done 2>/dev/null; true";
            let bundle = Bundle::new().rootfs(own.path()).script(script);
            let (one, other, mask) = (own.join("proc"), own.join("other"), mask(&node));
            let stop = AtomicBool::new(false);
            let story = std::thread::scope(|scope| {
                let stopped = &stop;
                let story = at_create_runtime(&engine, bundle, |container| {
                    install(container, &node, &own.join("proc/driver"))?;
                    scope.spawn(move || {
                        while !stopped.load(Ordering::Relaxed) {
                            let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
                        }
                    });
                    let masked = inject::mask(container, &mask);
                    stopped.store(true, Ordering::Relaxed);
                    masked
                });
                stop.store(true, Ordering::Relaxed);
                story
            });
            if story.injected.is_ok() {
                let seen = story.outcome.stdout.lines().filter(|name| *name != "planted");
                let others: Vec<&str> = seen.filter(|name| *name != bus_id(&node)).collect();
                assert!(others.is_empty(), "{who}: {}", story.outcome);
            }
            assert_eq!(mounts(view), before, "{who}");
        }
    }
}

/// The same as a story, where the runtime may fail before it comes to its hooks.
fn at_create_runtime_if_any(
    engine: &Engine,
    bundle: Bundle,
    work: impl FnOnce(&LiveContainer) -> Result<(), Failure> + Send,
) -> Option<Story> {
    let work = std::panic::AssertUnwindSafe(work);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let work = work;
        at_create_runtime(engine, bundle, work.0)
    }))
    .ok()
}
