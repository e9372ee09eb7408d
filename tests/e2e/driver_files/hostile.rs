//! Images that plant something at every place where a file of the driver's goes: the container fails or runs, nothing
//! hangs, and the host's own files are as they were.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Door, SCRIPT, bundle, machine, mounted, usual};
use crate::support::driver::{self, Layout};
use crate::support::process::Outcome;
use crate::support::rootfs::make_node;
use crate::support::runtime::everywhere;
use crate::support::scratch::Scratch;
use crate::support::trace;

/// A folder of the host's that hostile links lead to: each file's name, size, times and owner.
fn picture(folder: &Path) -> Vec<(String, u64, i64, i64, u32, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of ours") {
        let entry = entry.expect("an entry");
        let stat = entry.metadata().expect("metadata");
        let name = entry.path().display().to_string();
        found.push((
            name,
            stat.size(),
            stat.mtime(),
            stat.mtime_nsec(),
            stat.mode(),
            stat.uid(),
        ));
        if stat.is_dir() {
            found.extend(picture(&entry.path()));
        }
    }
    found.sort();
    found
}

/// The host's folder with the files that a link would have to reach.
fn bait(root: &Path) -> Scratch {
    let bait = Scratch::new("bait");
    for path in usual(Layout::Multiarch) {
        let name = Path::new(&path).file_name().expect("a name").to_owned();
        fs::write(bait.join(name.to_str().expect("text")), "the host's own").expect("a file of ours");
    }
    assert!(!bait.path().starts_with(root));
    bait
}

/// Runs a container of every runtime, through each door, in a root file system that `plant` has spoiled; what it says is
/// judged by `judge`.
fn story(what: &str, plant: impl Fn(&Path, &Path), judge: impl Fn(&str, &Outcome)) {
    for door in Door::ALL {
        story_of(door, what, &plant, &judge);
    }
}

fn story_of(door: Door, what: &str, plant: impl Fn(&Path, &Path), judge: impl Fn(&str, &Outcome)) {
    for (runtime, view) in everywhere() {
        let who = format!("{runtime} {view} {door:?} {what}");
        let (machine, root) = (machine(), Layout::Multiarch.rootfs());
        let bait = bait(root.path());
        plant(root.path(), bait.path());
        let (before, drivers) = (picture(bait.path()), picture(&driver::root()));
        let bundle = door.bundle(&machine, root.path(), SCRIPT).write();
        let outcome = door.engine(&machine, runtime, view).run(&bundle);
        judge(&who, &outcome);
        assert_eq!(picture(bait.path()), before, "{who}: {outcome}");
        assert_eq!(picture(&driver::root()), drivers, "{who}: {outcome}");
        let own = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert!(
            !own.contains(root.path().to_str().expect("a path of ours")),
            "{who}: left mounted:\n{own}"
        );
        machine.assert_free(&who);
    }
}

/// Each place of a file, spoiled by one of `make`.
fn at_every_place(root: &Path, make: impl Fn(&Path, &str)) {
    for path in usual(Layout::Multiarch) {
        let place = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().expect("a folder")).expect("a folder of ours");
        make(
            &place,
            place.file_name().and_then(|name| name.to_str()).expect("a name"),
        );
    }
}

/// It ran, and saw the driver's files whatever lay there.
fn runs(who: &str, outcome: &Outcome) {
    assert!(outcome.status.success(), "{who}: {outcome}");
    assert!(outcome.stdout.ends_with("cuInit: 100\n"), "{who}: {outcome}");
    assert!(mounted(&outcome.stdout).len() >= 20, "{who}: {outcome}");
}

/// It ran with the driver's files, or didn't run.
fn runs_or_fails(who: &str, outcome: &Outcome) {
    if outcome.status.success() {
        runs(who, outcome);
    }
}

#[test]
fn links_to_the_hosts_files() {
    story(
        "absolute links",
        |root, bait| {
            at_every_place(root, |place, name| {
                symlink(bait.join(name), place).expect("a link")
            })
        },
        runs_or_fails,
    );
    story(
        "links upwards",
        |root, bait| {
            let up = "../".repeat(30);
            let bait = bait.strip_prefix("/").expect("absolute").display().to_string();
            at_every_place(root, |place, name| {
                symlink(format!("{up}{bait}/{name}"), place).expect("a link");
            });
        },
        runs_or_fails,
    );
    story(
        "a link in the folder's place",
        |root, bait| {
            fs::create_dir_all(root.join("usr")).expect("a folder of ours");
            symlink(bait, root.join("usr/bin")).expect("a link");
            fs::create_dir_all(root.join("etc")).expect("a folder of ours");
            symlink(bait, root.join("etc/OpenCL")).expect("a link");
        },
        runs_or_fails,
    );
}

#[test]
fn fifos_and_device_nodes_and_files() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    story(
        "FIFOs",
        |root, _| {
            at_every_place(root, |place, _| {
                mknodat(CWD, place, FileType::Fifo, Mode::from(0o666), 0).expect("a FIFO");
            });
        },
        runs_or_fails,
    );
    story(
        "device nodes",
        |root, _| at_every_place(root, |place, _| make_node(place, 1, 5)),
        runs_or_fails,
    );
    story(
        "an older driver's files",
        |root, _| at_every_place(root, |place, _| fs::write(place, "old").expect("a file of ours")),
        runs,
    );
    // A runtime can't mount a file on one; where we do, an empty one gives way.
    let folders = |root: &Path, _: &Path| {
        at_every_place(root, |place, _| fs::create_dir(place).expect("a folder of ours"));
    };
    story_of(Door::Interposed, "folders", folders, |who, outcome| {
        assert!(!outcome.status.success(), "{who}: {outcome}");
    });
    story_of(Door::Live, "folders", folders, runs);
}

#[test]
fn links_that_lead_nowhere_or_in_a_circle() {
    story(
        "dangling links inside",
        |root, _| {
            at_every_place(root, |place, name| {
                symlink(format!("old-{name}"), place).expect("a link")
            })
        },
        runs_or_fails,
    );
    story(
        "circles",
        |root, _| at_every_place(root, |place, name| symlink(name, place).expect("a link")),
        runs_or_fails,
    );
}

/// What tells the layout is the image's too.
#[test]
fn a_layout_that_lies() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    story(
        "a C library that is a FIFO, below a link to the host",
        |root, bait| {
            fs::remove_dir_all(root.join("usr")).expect("a folder of ours");
            fs::create_dir_all(root.join("usr")).expect("a folder of ours");
            symlink(bait, root.join("usr/lib64")).expect("a link");
            fs::create_dir_all(root.join("usr/lib/x86_64-linux-gnu")).expect("a folder of ours");
            let libc = root.join("usr/lib/x86_64-linux-gnu/libc.so.6");
            mknodat(CWD, libc, FileType::Fifo, Mode::from(0o666), 0).expect("a FIFO");
            fs::remove_file(root.join("cuda_init")).expect("a file of ours");
        },
        |who, outcome| {
            assert!(outcome.status.success(), "{who}: {outcome}");
        },
    );
}

/// Nothing of the image is opened but as a place, or followed by a link out of it, or run.
#[test]
fn the_image_is_looked_at_and_never_read() {
    let (machine, root) = (machine(), Layout::Multiarch.rootfs());
    let mut config = bundle(root.path(), "true").config;
    config["linux"]["cgroupsPath"] = serde_json::json!(format!("/libpod_parent/libpod-{}", "ab".repeat(32)));
    let document = Scratch::new("document");
    let document = fs::File::open(document.file("config.json", &config.to_string())).expect("a file of ours");
    let calls = trace::calls(&machine.program("precreate"), document);
    let path = format!("\"{}\"", root.path().display());
    let opened: Vec<&String> = calls
        .iter()
        .filter(|call| call.contains(root.path().to_str().expect("text")))
        .collect();
    assert_eq!(opened.len(), 1, "{opened:#?}");
    assert!(
        opened[0].contains(&path) && opened[0].contains("O_PATH"),
        "{opened:#?}"
    );
    let handle = opened[0].rsplit_once("= ").expect("an answer").1;
    let at = calls.iter().position(|call| call == opened[0]).expect("itself");
    let below = format!("openat2({handle}, ");
    let looked: Vec<&String> = calls[at + 1..]
        .iter()
        .take_while(|call| call.starts_with(&below))
        .collect();
    assert!(looked.len() >= 2, "{calls:#?}");
    for call in looked {
        for word in ["O_PATH", "RESOLVE_IN_ROOT", "RESOLVE_NO_MAGICLINKS"] {
            assert!(call.contains(word), "{call}");
        }
    }
    let run = calls
        .iter()
        .filter(|call| call.starts_with("execve(") && !call.contains("ENOENT"));
    // Itself, and the child that asks NVML.
    let own: Vec<&String> = run
        .filter(|call| !call.contains("oci-mig-hook\"") && !call.contains("/proc/self/exe"))
        .collect();
    assert!(own.is_empty(), "{own:#?}");
}

/// Folders of the container's that are exchanged with links to the host's all the while.
#[test]
fn folders_exchanged_in_a_loop() {
    for (door, (runtime, view)) in Door::ALL
        .into_iter()
        .flat_map(|door| everywhere().map(move |it| (door, it)))
    {
        let (machine, root) = (machine(), Layout::Multiarch.rootfs());
        let bait = bait(root.path());
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        let other = root.join("usr/lib/other");
        symlink(bait.path(), &other).expect("a link");
        let before = picture(bait.path());
        let (ended, engine) = (AtomicBool::new(false), door.engine(&machine, runtime, view));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                use rustix::fs::{CWD, RenameFlags, renameat_with};
                while !ended.load(Ordering::Relaxed) {
                    let _ = renameat_with(CWD, &libraries, CWD, &other, RenameFlags::EXCHANGE);
                }
            });
            for _ in 0..5 {
                // It runs or fails; what counts is that it ends, and what it left.
                let _ = engine.run(&door.bundle(&machine, root.path(), "true").write());
            }
            ended.store(true, Ordering::Relaxed);
        });
        assert_eq!(picture(bait.path()), before, "{runtime} {view} {door:?}");
        machine.assert_free("folders exchanged");
    }
}
