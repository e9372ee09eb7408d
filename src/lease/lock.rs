//! The ledger's one lock: flock(2) on a file that is never removed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::failure::Failure;

/// How long to wait for the lock: its holder does a few file operations and never asks the driver.
const DEADLINE: Duration = Duration::from_secs(10);

/// The longest sleep between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(4);

/// The lock, for as long as this is kept. Closing the file lets go of it, which can't fail: no child has a copy of the
/// descriptor, because none is started while the lock is held.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock, waiting for it at most [`DEADLINE`].
///
/// # Errors
/// A host failure: the file can't be opened, or the lock's holder (which is named) doesn't let go.
pub fn take(path: &Path) -> Result<Lock, Failure> {
    let started = Instant::now();
    let mut pause = Duration::from_micros(100);
    let mut file = open(path).map_err(|error| unusable(path, error))?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Where somebody replaced the file, the lock we got guards nothing: start over on the new one.
            Ok(()) if is_still(path, &file) => return Ok(Lock { _file: file }),
            Ok(()) => file = open(path).map_err(|error| unusable(path, error))?,
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(errno) => return Err(unusable(path, errno.into())),
        }
        if started.elapsed() > DEADLINE {
            return Err(held_by_another(path, &file));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
}

fn is_still(path: &Path, file: &File) -> bool {
    match (std::fs::symlink_metadata(path), file.metadata()) {
        (Ok(named), Ok(held)) => named.ino() == held.ino() && named.dev() == held.dev(),
        _ => false,
    }
}

fn unusable(path: &Path, error: io::Error) -> Failure {
    super::files::unusable(&format!("can't lock {}", path.display()), &error)
}

fn held_by_another(path: &Path, file: &File) -> Failure {
    Failure::host(
        format!(
            "ledger: no lock on {} within {}s",
            path.display(),
            DEADLINE.as_secs()
        ),
        match holder(file) {
            Some((pid, command)) => format!("process {pid} ({command}) holds it"),
            None => "another process holds it".to_owned(),
        },
    )
    .remedy("look what that process does; if it is stuck, end it, and start the container again")
}

/// Who holds a lock on `file`, as /proc/locks has it. Only for the message: it may be another by now.
fn holder(file: &File) -> Option<(i32, String)> {
    let file = file.metadata().ok()?;
    let device = (
        nix::sys::stat::major(file.dev()),
        nix::sys::stat::minor(file.dev()),
    );
    let is_it = |lock: &procfs::Lock| {
        // Inode numbers repeat from one mount to the next.
        lock.inode == file.ino() && (u64::from(lock.devmaj), u64::from(lock.devmin)) == device
    };
    let locks = procfs::locks().ok()?;
    let pid = locks.into_iter().find(is_it)?.pid?;
    let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, command.trim_end().to_owned()))
}
