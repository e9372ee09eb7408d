//! An open file at which a line is said: in one write, whole or not at all, and without waiting for ever.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;
use rustix::termios::{OutputModes, tcgetattr};

/// A pipe takes this much in one piece (POSIX's PIPE_BUF on Linux), line end included.
const LONGEST: usize = 4096;

/// How long a full pipe or a stopped terminal may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// Writes `line` and a line end there.
///
/// Another thread writes, and is left behind where it gets stuck: these files are shared with the engine, so they
/// can't be made non-blocking, and a terminal that takes the beginning may keep one waiting for the rest.
pub fn say(place: BorrowedFd<'_>, line: &str) {
    let text = text(line, line_end(place));
    if hand_over(place, text.clone()).is_err() && has_room(place) {
        write(place, text.as_bytes());
    }
}

/// Has another thread write it. Fails where no file or thread is to be had: that may be the very thing to be said.
fn hand_over(place: BorrowedFd<'_>, text: String) -> io::Result<()> {
    let own = place.try_clone_to_owned()?;
    let (done, wait) = mpsc::channel();
    let writer = move || {
        // A terminal may stop writers in the background (stty tostop), and nobody would let us go on.
        let _ = SigSet::from(Signal::SIGTTOU).thread_block();
        write(own.as_fd(), text.as_bytes());
        let _ = done.send(());
    };
    thread::Builder::new().spawn(writer)?;
    let _ = wait.recv_timeout(PATIENCE);
    Ok(())
}

/// In one write where that takes all of it, as it does but for signals and full disks.
fn write(place: BorrowedFd<'_>, mut text: &[u8]) {
    while !text.is_empty() {
        match rustix::io::write(place, text) {
            Ok(0) => return,
            Ok(count) => text = text.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Whether it takes something now, so that a write doesn't wait.
fn has_room(place: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(place, PollFlags::OUT)];
    let answered = poll(&mut asked, Some(&Timespec::default()));
    answered.is_ok() && asked[0].revents().contains(PollFlags::OUT)
}

/// Whether what is written there goes to the process that started this one, which says it on.
pub fn is_read_by_the_caller(place: BorrowedFd<'_>) -> bool {
    fstat(place).is_ok_and(|stat| matches!(kind(&stat), FileType::Fifo | FileType::Socket))
}

/// Whether both lead to the same terminal, pipe or file.
pub fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let identity = |place| fstat(place).map(|stat| (stat.st_dev, stat.st_ino));
    match (identity(one), identity(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// What kind of file `stat` is of.
pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// `podman run -t` makes the terminal raw before it calls its hooks: a line feed alone would not lead back to the
/// margin.
fn line_end(place: BorrowedFd<'_>) -> &'static str {
    match tcgetattr(place) {
        Ok(terminal) if !terminal.output_modes.contains(OutputModes::OPOST) => "\r\n",
        _ => "\n",
    }
}

fn text(line: &str, end: &str) -> String {
    const CUT: &str = "...";
    let room = LONGEST - end.len();
    let line = match line.len() <= room {
        true => Cow::Borrowed(line),
        false => {
            let mut cut = room - CUT.len();
            while !line.is_char_boundary(cut) {
                cut -= 1;
            }
            Cow::Owned(format!("{}{CUT}", &line[..cut]))
        }
    };
    format!("{line}{end}")
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use nix::fcntl::{FcntlArg, fcntl};
    use nix::unistd::pipe;
    use rustix::fs::OFlags;

    use super::*;

    #[test]
    fn a_line_is_one_whole_write_that_a_pipe_takes_in_one_piece() {
        let (reader, writer) = pipe().unwrap();
        say(writer.as_fd(), &"\u{e9}".repeat(10_000));
        drop(writer);
        let mut said = String::new();
        File::from(reader).read_to_string(&mut said).unwrap();
        assert!((4000..=LONGEST).contains(&said.len()), "{}", said.len());
        assert!(said.ends_with("\u{e9}...\n"));
    }

    #[test]
    fn a_full_pipe_is_given_up_and_stays_as_it_was() {
        let (reader, writer) = pipe().unwrap();
        let capacity = fcntl(&writer, FcntlArg::F_GETPIPE_SZ).unwrap() as usize;
        rustix::io::write(&writer, &vec![b'x'; capacity]).unwrap();
        // That it comes back at all is the point: the pipe's reader lives, and never reads.
        say(writer.as_fd(), "nobody reads this");
        assert!(
            !rustix::fs::fcntl_getfl(&writer)
                .unwrap()
                .contains(OFlags::NONBLOCK)
        );
        drop(reader);
    }

    #[test]
    fn a_pipe_without_a_reader_kills_nobody() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        say(writer.as_fd(), "nobody reads this");
    }

    #[test]
    fn what_the_caller_reads_is_told_from_what_it_throws_away() {
        let (_reader, pipe) = pipe().unwrap();
        assert!(is_read_by_the_caller(pipe.as_fd()));
        let null = File::options().write(true).open("/dev/null").unwrap();
        assert!(!is_read_by_the_caller(null.as_fd()));
        let again = File::options().write(true).open("/dev/null").unwrap();
        assert!(is_same(null.as_fd(), again.as_fd()));
        assert!(!is_same(null.as_fd(), pipe.as_fd()));
    }
}
