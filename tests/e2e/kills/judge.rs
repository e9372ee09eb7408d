//! The judge outside. A container says which device it sees through a fifo that it holds open for as long as anything of it
//! lives: the kernel itself tells of its end. Who claims a device while its last holder still holds its fifo has been
//! given another's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::support::scratch::Scratch;

/// The container's own part: whether its nodes can be opened (nothing stands behind them here), and their names, which
/// are its device. It lives on until the judge has looked; what it does then is added.
pub const SCRIPT: &str = r#"
exec 9>/judge/claim
opened=0
for node in /dev/nvidia-caps/*; do
    case $( { : <"$node"; } 2>&1 ) in *"No such device or address"*) opened=$((opened + 1)) ;; esac
done
echo "$opened $(ls /dev/nvidia-caps | tr '\n' '+')" >&9
read -r answer </judge/answer
"#;

/// A container is kept no longer, even if nobody else tries.
const LONGEST: Duration = Duration::from_secs(2);

/// Where one container stands before the judge.
pub struct Stand {
    name: String,
    folder: Scratch,
    claim: File,
    answer: File,
    /// Its end is let come when so many tries of others have begun, or at that time.
    until: Option<(usize, Instant)>,
    has_claimed: bool,
}

impl Stand {
    pub fn new(name: &str) -> Self {
        let folder = Scratch::new("judge");
        for fifo in ["claim", "answer"] {
            mkfifo(&folder.join(fifo), Mode::S_IRUSR | Mode::S_IWUSR).expect("a fifo");
        }
        let open = |fifo: &str, writes: bool| {
            let mut options = File::options();
            options.read(true).write(writes).custom_flags(libc::O_NONBLOCK);
            options.open(folder.join(fifo)).expect("a fifo of ours")
        };
        Self {
            name: name.to_owned(),
            claim: open("claim", false),
            // Also a reader of its own: opening it for writing alone would wait for the container.
            answer: open("answer", true),
            folder,
            until: None,
            has_claimed: false,
        }
    }

    /// What the container sees as /judge.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether something of the container lives that has opened its fifo.
    pub fn is_held(&self) -> bool {
        self.has_claimed && !has_hung_up(&self.claim)
    }
}

/// Who has which device, as the containers themselves showed it.
#[derive(Default)]
pub struct Judge {
    /// How many tries have begun: the clock by which containers keep their devices, on a slow machine as on a fast one.
    tries: AtomicUsize,
    holders: Mutex<BTreeMap<String, (String, File)>>,
    wrong: Mutex<Vec<String>>,
}

impl Judge {
    /// Somebody tries to make a container.
    pub fn begins(&self) {
        self.tries.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks whether the container has claimed its device by now, and lets it end when `others` have tried for one since;
    /// whether it has claimed, ever.
    pub fn look(&self, stand: &mut Stand, others: usize) -> bool {
        let mut line = [0; 256];
        let tries = self.tries.load(Ordering::Relaxed);
        if let Ok(count @ 1..) = stand.claim.read(&mut line) {
            self.judge(&String::from_utf8_lossy(&line[..count]), stand);
            stand.has_claimed = true;
            stand.until = Some((tries + others, Instant::now() + LONGEST));
        }
        if stand
            .until
            .is_some_and(|(until, at)| tries >= until || Instant::now() > at)
        {
            stand.until = None;
            let _ = stand.answer.write_all(b"go\n");
        }
        stand.has_claimed
    }

    fn judge(&self, claim: &str, stand: &Stand) {
        let (opened, device) = claim.trim_end().split_once(' ').unwrap_or_default();
        let nodes = device.matches("nvidia-cap").count();
        if (opened, nodes) != ("2", 2) {
            self.wrong(format!(
                "{} sees {device} and can open {opened} of it",
                stand.name
            ));
        }
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        let own = stand.claim.try_clone().expect("a second handle");
        let before = holders.insert(device.to_owned(), (stand.name.clone(), own));
        if let Some((other, fifo)) = before {
            if !has_hung_up(&fifo) {
                self.wrong(format!("{device} is {}'s and {other}'s at once", stand.name));
            }
        }
    }

    fn wrong(&self, what: String) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.push(what);
    }

    /// What was wrong.
    pub fn violations(&self) -> Vec<String> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether everybody has let go who held it open.
fn has_hung_up(fifo: &File) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(fifo.as_fd(), PollFlags::IN)];
    poll(&mut asked, Some(&Timespec::default())).expect("poll");
    asked[0].revents().contains(PollFlags::HUP)
}
