//! NVIDIA's real driver files, unpacked and never installed, and root file systems of the layouts that they go into.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::process::{run, start};
use super::rootfs;
use super::scratch::Scratch;

/// What a glibc program and the driver's libraries need of it.
const LIBC: [&str; 6] = [
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
];

/// Where the loader is, in every program.
const LOADER: &str = "ld-linux-x86-64.so.2";

/// The folder that tests/setup.d/real-driver fills: `root`, and `lib64` with another glibc.
fn fetched() -> &'static Path {
    static FETCHED: OnceLock<PathBuf> = OnceLock::new();
    FETCHED.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/setup.d/real-driver");
        let fetched = start(&mut Command::new(script), None)
            .wait(Duration::from_secs(600))
            .ok();
        PathBuf::from(fetched.stdout.trim())
    })
}

/// The driver's root.
pub fn root() -> PathBuf {
    fetched().join("root")
}

/// Its version.
pub fn version() -> String {
    let folder = root().join("usr/lib/x86_64-linux-gnu/nvidia/current");
    let names = fs::read_dir(folder).expect("Debian's folder of the driver");
    let names = names.map(|entry| {
        entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    let versions = names.filter_map(|name| name.strip_prefix("libcuda.so.").map(str::to_owned));
    versions.max_by_key(String::len).expect("libcuda with a version")
}

/// How a root file system lays out its libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Debian's and Ubuntu's.
    Multiarch,
    /// Red Hat's and SUSE's.
    Lib64,
    /// No library at all: a static busybox.
    Static,
}

impl Layout {
    /// Where its loader looks.
    pub fn folder(self) -> &'static str {
        match self {
            Layout::Multiarch => "/usr/lib/x86_64-linux-gnu",
            Layout::Lib64 | Layout::Static => "/usr/lib64",
        }
    }

    /// A root file system laid out so, with `/cuda_init` where that can run, and no ld.so.cache.
    pub fn rootfs(self) -> Scratch {
        let root = rootfs::own();
        let from = match self {
            Layout::Static => return root,
            Layout::Multiarch => PathBuf::from("/lib/x86_64-linux-gnu"),
            Layout::Lib64 => fetched().join("lib64/lib64"),
        };
        let folder = root.join(self.folder().trim_start_matches('/'));
        fs::create_dir_all(&folder).expect("a folder of ours");
        fs::create_dir_all(root.join("usr/lib64")).expect("a folder of ours");
        for name in LIBC {
            fs::copy(from.join(name), folder.join(name))
                .unwrap_or_else(|why| panic!("{name} of {from:?}: {why}"));
        }
        if self == Layout::Multiarch {
            let target = format!("../lib/x86_64-linux-gnu/{LOADER}");
            symlink(target, root.join("usr/lib64").join(LOADER)).expect("a link");
        }
        for name in ["lib", "lib64"] {
            fs::create_dir_all(root.join("usr").join(name)).expect("a folder of ours");
            symlink(format!("usr/{name}"), root.join(name)).expect("a link");
        }
        fs::copy(cuda_init(), root.join("cuda_init")).expect("a copy");
        root
    }
}

/// A program that loads libcuda and calls it.
fn cuda_init() -> &'static Path {
    static PROGRAM: OnceLock<(Scratch, PathBuf)> = OnceLock::new();
    let (_, path) = PROGRAM.get_or_init(|| {
        let folder = Scratch::new("cuda-init");
        let path = folder.join("cuda_init");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/driver_files/cuda_init.c");
        run(Command::new("gcc").arg("-o").arg(&path).arg(source).arg("-ldl")).ok();
        (folder, path)
    });
    path
}
