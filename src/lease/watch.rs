//! Sleeping until something in the ledger, or a process, has ended: what a waiter does between two looks. Nothing is asked and
//! no lock is held meanwhile.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::Ledger;
use crate::failure::Failure;

/// The longest sleep. Not every end can be watched: a process of another pid namespace, a cgroup that empties, a ledger
/// beyond the kernel's limit of watches.
const LONGEST: Duration = Duration::from_secs(1);

/// The end of a process: its pidfd, which becomes readable then.
#[derive(Debug)]
pub struct End(pub(super) OwnedFd);

impl End {
    /// Whether it has come.
    pub fn has_come(&self) -> bool {
        super::liveness::has_come(self)
    }
}

/// Watches the ledger.
#[derive(Debug)]
pub struct Watch {
    /// None where the kernel gives no more of them.
    changes: Option<OwnedFd>,
}

impl Watch {
    /// Watches for leases and tickets that go. What goes from here on ends the next sleep.
    ///
    /// # Errors
    /// A host failure where the folders can't be made.
    pub fn new(ledger: &Ledger) -> Result<Watch, Failure> {
        let folders = [ledger.leases(), ledger.waiting_folder()?];
        let watch = || -> rustix::io::Result<OwnedFd> {
            let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            for folder in &folders {
                inotify::add_watch(&changes, folder, WatchFlags::DELETE)?;
            }
            Ok(changes)
        };
        Ok(Watch {
            changes: watch().ok(),
        })
    }

    /// Sleeps until something goes, one of `ends` comes, or `time` (a second at most) has passed.
    pub fn sleep<'a>(&self, ends: impl Iterator<Item = &'a End>, time: Duration) {
        let ends = ends.map(|End(pidfd)| pidfd);
        let watched = self.changes.iter().chain(ends);
        let mut polled: Vec<PollFd> = watched.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        if let Ok(timeout) = Timespec::try_from(time.min(LONGEST)) {
            // Whatever it says, the next thing is to look.
            let _ = poll(&mut polled, Some(&timeout));
        }
        self.drain();
    }

    /// Many changes are one reason to look.
    fn drain(&self) {
        let mut events = [0; 4096];
        while let Some(changes) = &self.changes {
            match rustix::io::read(changes, &mut events) {
                Ok(read) if read > 0 => {}
                _ => break,
            }
        }
    }
}
