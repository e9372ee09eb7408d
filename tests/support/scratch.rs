//! Folders of the tests' own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::cgroups::View;

/// The folder that holds everything this process makes. Not in /tmp, /run or /dev/shm: those are often mounted
/// without device nodes. Not below target/ either: a container's root in a user namespace must be able to walk to
/// its root filesystem, and a home may be closed to it.
pub fn base() -> PathBuf {
    PathBuf::from(format!("/var/tmp/{}", name()))
}

/// The name of this process's own folder and control group.
pub fn name() -> String {
    format!("oci-mig-hook-tests-{}", std::process::id())
}

/// A number that no other call in this process got.
pub fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A fresh folder, open to all, gone when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(what: &str) -> Self {
        View::clear_up_afterwards();
        let path = base().join(format!("{what}.{}", number()));
        fs::create_dir_all(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a mode for a folder of ours");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path inside.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// A file inside with this text.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().expect("it is inside")).expect("a folder of ours");
        fs::write(&path, text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        path
    }

    /// An executable file inside, such as a shell script.
    pub fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name, text);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a mode for a file of ours");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't go now (a mount that still ends) goes with the whole folder when this process does.
        let _ = fs::remove_dir_all(&self.0);
    }
}
