//! What is done to a live container's root file system, as strace sees it: each thing in it is opened as a place alone, and
//! nothing of it is read, run, mapped or followed out of it.

use std::fs;

use super::{Door, machine};
use crate::support::driver::Layout;
use crate::support::driver_proc::installer;
use crate::support::machine::PROGRAM;
use crate::support::runtime::everywhere;
use crate::support::scratch::Scratch;

/// The hook under strace, which names each handle's file.
fn traced(folder: &Scratch) -> std::path::PathBuf {
    let script = format!(
        "#!/bin/sh\nexec strace -f -qq -y -s 300 -e signal=none -e \
         trace=%file,mmap,read,pread64,readv,mount,move_mount,open_tree,fchdir,openat2,mkdirat,mknodat,unlinkat -o {} {PROGRAM} \"$@\"\n",
        folder.join("trace").display()
    );
    folder.program("traced", &script)
}

/// Calls that do no more than look at, make or remove a thing by its place, or mount on it.
const HARMLESS: [&str; 11] = [
    "mknodat(",
    "mkdirat(",
    "unlinkat(",
    "fchownat(",
    "newfstatat(",
    "statx(",
    "move_mount(",
    "fchdir(",
    "chdir(",
    "fstatfs(",
    "chroot(",
];

#[track_caller]
fn assert_looked_at_only(call: &str, who: &str) {
    let opens = ["open(", "openat(", "openat2("]
        .iter()
        .any(|name| call.starts_with(name));
    if opens {
        assert!(
            call.contains("O_PATH"),
            "{who}: opened, and not as a place: {call}"
        );
        // What is opened by name alone is a name in a folder that is open, and no link.
        let inside =
            call.contains("RESOLVE_IN_ROOT") || call.contains("O_NOFOLLOW") || call.contains("O_DIRECTORY");
        assert!(inside, "{who}: {call}");
        return;
    }
    assert!(
        HARMLESS.iter().any(|name| call.starts_with(name)),
        "{who}: {call}"
    );
}

#[test]
fn nothing_of_a_live_containers_image_is_read_or_run() {
    for (runtime, view) in everywhere() {
        let who = format!("{runtime} {view}");
        let (machine, root, folder) = (machine(), Layout::Multiarch.rootfs(), Scratch::new("traced"));
        // A loader that would be run and a library that would be mapped, were anything looked up there.
        for name in [
            "usr/bin/nvidia-modprobe",
            "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
        ] {
            fs::create_dir_all(root.join(name).parent().expect("a folder")).expect("a folder of the image");
            root.program(name, "#!/bin/sh\ntouch /ran\n");
        }
        let (program, first) = (traced(&folder), installer(&machine, &folder));
        let bundle = Door::Live.bundle(&machine, root.path(), "true").with(|config| {
            let hooks = config["hooks"]["createRuntime"].as_array_mut().expect("hooks");
            hooks[0]["path"] = serde_json::json!(program);
            hooks.insert(0, serde_json::json!({"path": first, "args": ["install"], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}));
        });
        Door::Live
            .engine(&machine, runtime, view)
            .run(&bundle.write())
            .ok();
        let trace = fs::read_to_string(folder.join("trace")).expect("a trace");
        let calls = trace
            .lines()
            .filter_map(|line| Some(line.split_once(' ')?.1.trim()));
        let path = root.path().display().to_string();
        let inside: Vec<&str> = calls.clone().filter(|call| call.contains(&path)).collect();
        assert!(
            inside.len() > 40,
            "{who}: the trace shows what it is to show: {trace}"
        );
        for call in inside.iter().filter(|call| !is_about_documents(call)) {
            assert_looked_at_only(call, &who);
        }
        for call in calls.filter(|call| call.starts_with("execve(") && !call.contains("ENOENT")) {
            let own = call.contains(&format!("\"{PROGRAM}\"")) || call.contains("/proc/self/exe");
            assert!(own, "{who}: {call}");
        }
        assert!(!root.join("ran").exists(), "{who}");
        machine.assert_free(&who);
    }
}

/// The list of mounts, config.json and the like name the root file system, and are no part of it.
fn is_about_documents(call: &str) -> bool {
    let documents = ["/mountinfo>", "/config.json>"]
        .iter()
        .any(|name| call.contains(name));
    documents && call.starts_with("read(")
}
