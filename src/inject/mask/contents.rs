//! What of the host's `/proc/driver/nvidia` a container is to see.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::failed;
use crate::edits::ProcMask;
use crate::failure::Failure;

/// No file of the driver's comes near this.
const LARGEST: u64 = 64 << 10;

/// Whether the driver's libraries make device nodes themselves. A container's are made for it.
const MODIFY: &str = "ModifyDeviceFiles:";

/// What a container is to see, taken from the host. What isn't there it doesn't see either.
pub struct Contents {
    /// Files that are copied: what they say doesn't change, and the driver says it without asking a GPU.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// Folders of GPUs, mounts that are nowhere yet. They aren't read here: that asks the GPU, and may hang.
    pub folders: Vec<(PathBuf, OwnedFd)>,
}

impl Contents {
    /// Takes it from the host. To be called outside the container's mount namespace.
    pub fn read(mask: &ProcMask) -> Result<Contents, Failure> {
        let fixed = ["version", "params"].map(PathBuf::from);
        let mut files = Vec::new();
        for name in fixed.iter().chain(&mask.files) {
            if let Some(text) = read(&mask.source.join(name))? {
                files.push((name.clone(), as_shown(name, text)));
            }
        }
        let mut folders = Vec::new();
        for name in &mask.folders {
            if let Some(tree) = tree(&mask.source.join(name))? {
                folders.push((name.clone(), tree));
            }
        }
        Ok(Contents { files, folders })
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let read = || {
        let mut text = Vec::new();
        File::open(path)?.take(LARGEST).read_to_end(&mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(error) if std::io::Error::kind(&error) == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&format!("read of {}", path.display()), error)),
    }
}

fn tree(path: &Path) -> Result<Option<OwnedFd>, Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    match rustix::mount::open_tree(CWD, path, flags) {
        Ok(tree) => Ok(Some(tree)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failed(&format!("open_tree({})", path.display()), errno)),
    }
}

fn as_shown(name: &Path, text: Vec<u8>) -> Vec<u8> {
    match name == Path::new("params") {
        true => without_modifying(&String::from_utf8_lossy(&text)).into_bytes(),
        false => text,
    }
}

/// The parameters, with those that would have a library change the container's device nodes turned off.
fn without_modifying(params: &str) -> String {
    let lines = params.lines().filter(|line| !line.starts_with(MODIFY));
    let mut shown: Vec<String> = lines.map(|line| format!("{line}\n")).collect();
    let at = params.lines().position(|line| line.starts_with(MODIFY));
    shown.insert(
        at.unwrap_or(shown.len()).min(shown.len()),
        format!("{MODIFY} 0\n"),
    );
    shown.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_device_files_are_modified() {
        let params = "RmLogonRC: 1\nModifyDeviceFiles: 1\nDeviceFileMode: 438\n";
        let shown = "RmLogonRC: 1\nModifyDeviceFiles: 0\nDeviceFileMode: 438\n";
        assert_eq!(without_modifying(params), shown);
        assert_eq!(without_modifying(shown), shown);
        assert_eq!(without_modifying("A: 1\n"), "A: 1\nModifyDeviceFiles: 0\n");
        assert_eq!(without_modifying(""), "ModifyDeviceFiles: 0\n");
        let twice = "ModifyDeviceFiles: 1\nModifyDeviceFiles: 1\n";
        assert_eq!(without_modifying(twice), "ModifyDeviceFiles: 0\n");
    }
}
