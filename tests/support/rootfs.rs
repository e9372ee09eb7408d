//! A root filesystem: a static busybox under all its names, and the folders that a runtime mounts on.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::cgroups::View;
use super::process::run;
use super::scratch::Scratch;

/// A script that sleeps until it is told to end.
pub const SLEEP: &str = "trap 'exit 0' TERM; sleep 1000 & wait";

/// The one that containers share, read-only.
pub fn shared() -> &'static Path {
    static SHARED: OnceLock<Scratch> = OnceLock::new();
    let make = || {
        // Nothing drops a static: whoever holds a view open takes our folder away when we end.
        View::Host.path("/");
        build(Scratch::new("rootfs"))
    };
    SHARED.get_or_init(make).path()
}

/// One of a test's own, to be spoiled at will.
pub fn own() -> Scratch {
    build(Scratch::new("rootfs"))
}

/// The same as a tar archive, for an image.
pub fn archive() -> &'static Path {
    static ARCHIVE: OnceLock<(Scratch, PathBuf)> = OnceLock::new();
    let (_, path) = ARCHIVE.get_or_init(|| {
        let folder = Scratch::new("image");
        let path = pack(shared(), &folder);
        (folder, path)
    });
    path
}

/// A root filesystem as a tar archive in that folder.
pub fn pack(root: &Path, folder: &Scratch) -> PathBuf {
    let path = folder.join("rootfs.tar");
    run(Command::new("tar")
        .arg("-C")
        .arg(root)
        .arg("-cf")
        .arg(&path)
        .arg("."))
    .ok();
    path
}

/// A character device's node, open to all.
pub fn make_node(path: &Path, major: u32, minor: u32) {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let number = makedev(major, minor);
    mknodat(CWD, path, FileType::CharacterDevice, Mode::from(0o666), number).expect("mknod");
    // Past the umask.
    fs::set_permissions(path, Permissions::from_mode(0o666)).expect("a mode for a node of ours");
}

fn build(root: Scratch) -> Scratch {
    for folder in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(root.join(folder)).expect("a folder of ours");
    }
    // A runtime gives a tmpfs the mode of the folder below it, whatever the mount's own options say.
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777))
        .expect("a mode for a folder of ours");
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n",
    )
    .expect("a file of ours");
    let busybox = busybox();
    fs::copy(&busybox, root.join("bin/busybox")).expect("a copy of busybox");
    for name in run(Command::new(&busybox).arg("--list"))
        .ok()
        .stdout
        .lines()
        .filter(|name| *name != "busybox")
    {
        symlink("busybox", root.join("bin").join(name)).expect("a link in a folder of ours");
    }
    root
}

fn busybox() -> PathBuf {
    let found = ["/bin/busybox", "/usr/bin/busybox", "/usr/local/bin/busybox"].map(PathBuf::from);
    found
        .into_iter()
        .find(|path| path.exists())
        .expect("no busybox: run tests/setup")
}
