//! The driver's files in a live container: each where it belongs, as it may be used, and whatever the image has put there;
//! and nothing of it anywhere else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oci_mig_hook::edits::{ContainerEdits, Mount, MountKind};
use oci_mig_hook::inject;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::live::{Story, at_create_runtime, listing, mounts};
use crate::support::bundle::{Bundle, FIRST_ID};
use crate::support::process::run;
use crate::support::rootfs;
use crate::support::runtime::{Engine, everywhere};
use crate::support::scratch::Scratch;

/// A driver's files, and files of the host that no container may reach.
struct Host {
    driver: Scratch,
    victim: Scratch,
    _listener: UnixListener,
}

impl Host {
    fn new() -> Self {
        let (driver, victim) = (Scratch::new("driver"), Scratch::new("victim"));
        driver.file("libcuda.so.550.54.15", "the driver's\n");
        driver.program("nvidia-smi", "#!/bin/sh\necho smi runs\n");
        fs::create_dir(driver.join("firmware")).expect("a folder");
        driver.file("firmware/gsp.bin", "firmware\n");
        let _listener = UnixListener::bind(driver.join("socket")).expect("a socket");
        fs::set_permissions(driver.join("socket"), fs::Permissions::from_mode(0o666)).expect("its mode");
        victim.file("secret", "a file of the host\n");
        fs::create_dir(victim.join("folder")).expect("a folder");
        victim.file("folder/libcuda.so.1", "another\n");
        Self {
            driver,
            victim,
            _listener,
        }
    }

    fn edits(&self) -> ContainerEdits {
        let mount = |path: &str, host: &str, kind| Mount {
            path: path.into(),
            host_path: self.driver.join(host),
            kind,
        };
        let library = "libcuda.so.550.54.15";
        let mounts = vec![
            mount("/usr/lib/x/libcuda.so.550.54.15", library, MountKind::File),
            mount("/usr/lib/x/libcuda.so.1", library, MountKind::File),
            mount("/usr/lib/x/libcuda.so", library, MountKind::File),
            mount("/usr/bin/nvidia-smi", "nvidia-smi", MountKind::File),
            mount("/lib/firmware/nvidia", "firmware", MountKind::File),
            mount("/run/nvidia/socket", "socket", MountKind::Socket),
        ];
        ContainerEdits {
            mounts,
            ..ContainerEdits::default()
        }
    }

    /// All of both, to be compared before and after.
    fn listing(&self) -> String {
        let secrets =
            ["secret", "folder/libcuda.so.1"].map(|name| fs::read_to_string(self.victim.join(name)));
        let library = fs::read_to_string(self.driver.join("libcuda.so.550.54.15"));
        format!(
            "{}{}{secrets:?}{library:?}",
            listing(self.driver.path()),
            listing(self.victim.path())
        )
    }
}

/// Where each file is to be, and what is mounted there.
const TARGETS: [&str; 6] = [
    "usr/lib/x/libcuda.so.550.54.15",
    "usr/lib/x/libcuda.so.1",
    "usr/lib/x/libcuda.so",
    "usr/bin/nvidia-smi",
    "lib/firmware/nvidia",
    "run/nvidia/socket",
];

/// Uses all of it, as far as it may be used, and further.
const USE: &str = "cat /usr/lib/x/libcuda.so /usr/lib/x/libcuda.so.1 /usr/lib/x/libcuda.so.550.54.15 /lib/firmware/nvidia/gsp.bin; \
                   /usr/bin/nvidia-smi; test -S /run/nvidia/socket && echo a socket; \
                   for file in /usr/lib/x/libcuda.so.1 /usr/bin/nvidia-smi /lib/firmware/nvidia/new; do echo x 2>/dev/null >$file && echo written; done; \
                   rm /usr/lib/x/libcuda.so.1 2>/dev/null && echo removed; \
                   grep -E ' (/usr/lib/x|/usr/bin|/lib/firmware|/run)/' /proc/self/mounts | cut -d' ' -f2,4 | sort";

fn image() -> Scratch {
    let image = rootfs::own();
    for folder in ["usr/lib/x", "usr/bin", "lib"] {
        fs::create_dir_all(image.join(folder)).expect("a folder of the image");
    }
    image
}

/// A container of that image, whose /run is its own.
fn bundle(image: &Scratch, script: &str, user_namespace: bool) -> Bundle {
    let bundle = Bundle::new().rootfs(image.path()).script(script);
    if !user_namespace {
        return bundle;
    }
    let owner = format!("{FIRST_ID}:{FIRST_ID}");
    run(std::process::Command::new("chown")
        .args(["-hR", &owner])
        .arg(image.path()))
    .ok();
    bundle.user_namespace()
}

fn inject_files(engine: &Engine, bundle: Bundle, host: &Host) -> Story {
    let edits = host.edits();
    at_create_runtime(engine, bundle, |container| inject::into(container, &edits))
}

#[track_caller]
fn assert_used(said: &str, who: &str) {
    let (used, mounts) = said
        .split_once("a socket\n")
        .unwrap_or_else(|| panic!("{who}: {said}"));
    assert_eq!(
        used, "the driver's\nthe driver's\nthe driver's\nfirmware\nsmi runs\n",
        "{who}"
    );
    assert_eq!(mounts.lines().count(), TARGETS.len(), "{who}: {mounts}");
    for line in mounts.lines() {
        let (point, options) = line.split_once(' ').unwrap_or_else(|| panic!("{who}: {line}"));
        let options: Vec<&str> = options.split(',').collect();
        let wanted = match point {
            "/run/nvidia/socket" => ["rw", "nosuid", "nodev", "noexec"],
            _ => ["ro", "nosuid", "nodev", "nodev"],
        };
        assert!(
            wanted.iter().all(|option| options.contains(option)),
            "{who}: {line}"
        );
    }
}

#[test]
fn each_is_where_it_belongs_and_read_only() {
    for (runtime, view) in everywhere() {
        for user_namespace in [false, true] {
            let who = format!("{runtime} {view} user namespace: {user_namespace}");
            let (host, image) = (Host::new(), image());
            let (before, mounted) = (host.listing(), mounts(view));
            let edits = host.edits();
            let bundle = bundle(&image, USE, user_namespace);
            // Doing it twice is harmless.
            let story = at_create_runtime(&Engine::new(runtime, view), bundle, |container| {
                inject::into(container, &edits)?;
                inject::into(container, &edits)
            });
            assert_used(&story.ok(), &who);
            assert_eq!(host.listing(), before, "{who}");
            assert_eq!(mounts(view), mounted, "{who}: left mounted on the host");
        }
    }
}

/// What may stand in a file's place.
const PLANTS: [&str; 7] = ["link", "link up", "dangling", "loop", "fifo", "node", "file"];

fn plant(what: &str, at: &Path, victim: &Path) {
    fs::create_dir_all(at.parent().expect("a folder")).expect("a folder of the image");
    let link = |to: PathBuf| symlink(to, at).expect("a link");
    match what {
        "link" => link(victim.join("secret")),
        "link up" => link(format!("{}{}/secret", "../".repeat(20), victim.display()).into()),
        "dangling" => link(victim.join("new")),
        "loop" => link(at.to_owned()),
        "fifo" => nix::unistd::mkfifo(at, nix::sys::stat::Mode::S_IRWXU).expect("a fifo"),
        "node" => rootfs::make_node(at, 1, 1),
        _ => fs::write(at, "the image's own\n").expect("a file"),
    }
}

#[test]
fn whatever_an_image_plants_gives_way_and_leads_nowhere() {
    for (runtime, view) in everywhere() {
        for what in PLANTS {
            let who = format!("{runtime} {view} {what}");
            let (host, image) = (Host::new(), image());
            for target in TARGETS {
                plant(what, &image.join(target), host.victim.path());
            }
            let (before, mounted) = (host.listing(), mounts(view));
            let story = inject_files(&Engine::new(runtime, view), bundle(&image, USE, false), &host);
            assert_used(&story.ok(), &who);
            assert_eq!(host.listing(), before, "{who}");
            assert_eq!(mounts(view), mounted, "{who}");
            let own = fs::read_to_string(image.join("usr/bin/nvidia-smi")).expect("the image's");
            assert_eq!(
                own,
                if what == "file" { "the image's own\n" } else { "" },
                "{who}: what is mounted on"
            );
        }
    }
}

/// Links among the folders that lead to a file stay inside; the host's own folder of that name is another.
#[test]
fn links_to_folders_are_followed_inside_only() {
    for (runtime, view) in everywhere() {
        let (who, host, image) = (format!("{runtime} {view}"), Host::new(), image());
        fs::remove_dir(image.join("usr/lib/x")).expect("a folder");
        let folder = host.victim.join("folder");
        symlink(&folder, image.join("usr/lib/x")).expect("a link");
        let inside = image.join(folder.strip_prefix("/").expect("an absolute path"));
        fs::create_dir_all(&inside).expect("a folder of the image");
        let before = host.listing();
        let story = inject_files(
            &Engine::new(runtime, view),
            bundle(&image, "cat /usr/lib/x/libcuda.so.1", false),
            &host,
        );
        assert_eq!(story.ok(), "the driver's\n", "{who}");
        assert!(inside.join("libcuda.so.1").exists(), "{who}");
        assert_eq!(host.listing(), before, "{who}");
    }
}

#[test]
fn what_is_in_the_way_and_not_ours_to_remove_fails_the_container() {
    for (runtime, view) in everywhere() {
        let (who, host, image) = (format!("{runtime} {view}"), Host::new(), image());
        fs::create_dir_all(image.join("usr/lib/x/libcuda.so.1/full")).expect("a folder");
        let why = inject_files(&Engine::new(runtime, view), bundle(&image, USE, false), &host).refused();
        assert!(
            why.starts_with("can't put /usr/lib/x/libcuda.so.1 into the container: unlinkat in "),
            "{who}: {why}"
        );
        assert!(
            why.ends_with("its root filesystem must be writable while it is made"),
            "{who}: {why}"
        );
    }
}

/// A folder of the host's in the container, a volume, is no place to make anything, and none to mount on where that would
/// show on the host.
#[test]
fn a_volume_where_a_file_belongs_stays_as_it_is() {
    for (runtime, view) in everywhere() {
        let (who, host, image) = (format!("{runtime} {view}"), Host::new(), image());
        let (before, mounted) = (host.listing(), mounts(view));
        let engine = Engine::new(runtime, view);
        let over = |options: &[&str]| {
            let volume = serde_json::json!({"destination": "/usr/lib/x", "type": "bind", "source": host.victim.join("folder"),
                                            "options": options});
            bundle(&image, USE, false)
                .with(|config| config["mounts"].as_array_mut().expect("mounts").push(volume))
        };
        let why = inject_files(&engine, over(&["bind"]), &host).refused();
        assert!(
            why.contains("/usr/lib/x is a directory of the host"),
            "{who}: {why}"
        );
        assert_eq!(
            (host.listing(), mounts(view)),
            (before.clone(), mounted.clone()),
            "{who}"
        );

        // The one file that is there already could carry a mount; nobody else may see it.
        let edits = ContainerEdits {
            mounts: host
                .edits()
                .mounts
                .into_iter()
                .filter(|mount| mount.path.ends_with("libcuda.so.1"))
                .collect(),
            ..ContainerEdits::default()
        };
        let script = "cat /usr/lib/x/libcuda.so.1";
        let private = at_create_runtime(&engine, over(&["bind", "rprivate"]).script(script), |container| {
            inject::into(container, &edits)
        });
        assert_eq!(private.ok(), "the driver's\n", "{who}");
        assert_eq!((host.listing(), mounts(view)), (before, mounted), "{who}");
    }
}

#[test]
fn where_a_mount_would_show_elsewhere_nothing_is_mounted() {
    for (runtime, view) in everywhere() {
        let (who, host, image) = (format!("{runtime} {view}"), Host::new(), image());
        let edits = host.edits();
        let root = image.path().to_owned();
        let mut seen = String::new();
        let story = at_create_runtime(
            &Engine::new(runtime, view),
            bundle(&image, USE, false),
            |container| {
                let mut share = std::process::Command::new("nsenter");
                share.args([
                    "--mount",
                    "--target",
                    &container.pid().to_string(),
                    "mount",
                    "--make-shared",
                ]);
                run(share.arg(&root)).ok();
                let injected = inject::into(container, &edits);
                seen = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).unwrap_or_default();
                injected
            },
        );
        let why = story.refused();
        assert!(
            why.contains("what is mounted there is mounted elsewhere too (shared)"),
            "{who}: {why}"
        );
        assert!(!seen.contains("libcuda"), "{who}: {seen}");
    }
}

/// Exchanges two paths until it is told to stop.
fn exchange(one: &Path, other: &Path, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
    }
    // However often: where what was the first is the first again.
}

/// Somebody who shares the image's folder with the container, and changes it all the time. The container fails or runs,
/// and whatever it is, the host's files are as they were and nothing hangs.
#[test]
fn folders_exchanged_in_a_loop_at_every_target() {
    for (runtime, view) in everywhere() {
        let (who, host) = (format!("{runtime} {view}"), Host::new());
        let before = host.listing();
        let (mut ran, mut failed) = (0, 0);
        for round in 0..12 {
            let image = image();
            // In turn: the folder with the libraries, the one above it, and a file itself.
            let (path, evil) = [
                ("usr/lib/x", "usr/lib/evil"),
                ("usr/lib", "usr/evil"),
                ("usr/lib/x/libcuda.so.1", "usr/lib/x/evil"),
            ][round % 3];
            if round % 3 == 2 {
                fs::write(image.join(path), "").expect("a file");
            }
            let to = if round % 3 == 2 { "secret" } else { "folder" };
            symlink(host.victim.join(to), image.join(evil)).expect("a link");
            let (one, other) = (image.join(path), image.join(evil));
            let mounted = mounts(view);
            let edits = host.edits();
            let stop = AtomicBool::new(false);
            let bundle = bundle(
                &image,
                "cat /usr/lib/x/libcuda.so.1 >/dev/null; echo x >/usr/lib/x/libcuda.so.1; true",
                false,
            );
            let story = std::thread::scope(|scope| {
                let exchanging = &stop;
                let story = at_create_runtime(&Engine::new(runtime, view), bundle, |container| {
                    scope.spawn(move || exchange(&one, &other, exchanging));
                    std::thread::sleep(Duration::from_millis(5));
                    inject::into(container, &edits)
                });
                stop.store(true, Ordering::Relaxed);
                story
            });
            match story.injected {
                Ok(()) => ran += 1,
                Err(_) => failed += 1,
            }
            assert_eq!(host.listing(), before, "{who} {round}");
            assert_eq!(mounts(view), mounted, "{who} {round}");
        }
        assert_eq!(ran + failed, 12, "{who}");
    }
}
