//! What a person reads on standard error: on a terminal, through a pipe, in a file.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use nix::unistd::setsid;
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use super::process::{DEADLINE, say};
use super::scratch::Scratch;

/// Where a command's standard error goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// A terminal of its own, which has its standard input and output too.
    Terminal,
    /// `2>&1 | reader`
    Pipe,
    /// `{ echo before; COMMAND; echo after; } 2>file`: whoever opens that file anew overwrites somebody.
    File,
}

impl Stream {
    pub const ALL: [Self; 3] = [Self::Terminal, Self::Pipe, Self::File];

    /// Runs `command`, which is to fail, and reads what it said there.
    #[track_caller]
    pub fn read(self, command: &mut Command) -> String {
        match self {
            Self::Terminal => terminal(command),
            Self::Pipe => pipe(command),
            Self::File => file(command),
        }
    }
}

fn terminal(command: &mut Command) -> String {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let person = openpt(flags).expect("a terminal");
    grantpt(&person)
        .and_then(|()| unlockpt(&person))
        .expect("a terminal");
    let screen = ioctl_tiocgptpeer(&person, flags).expect("its other side");
    let handle = || Stdio::from(screen.try_clone().expect("a second handle"));
    command.stdin(handle()).stdout(handle()).stderr(handle());
    // SAFETY: between fork and exec two system calls are made, and nothing is allocated; descriptor 0 is open, it is
    // the terminal by then.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            Ok(ioctl_tiocsctty(BorrowedFd::borrow_raw(0))?)
        });
    }
    let reader = reader(person);
    run(command);
    forget_handles(command);
    drop(screen);
    reader.recv_timeout(DEADLINE).expect("the end of what was said")
}

fn pipe(command: &mut Command) -> String {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(write);
    let reader = reader(read);
    run(command);
    forget_handles(command);
    reader.recv_timeout(DEADLINE).expect("the end of what was said")
}

fn file(command: &mut Command) -> String {
    let folder = Scratch::new("stream");
    let path = folder.join("stderr");
    let mut file = File::create(&path).expect("a file of ours");
    writeln!(file, "before").expect("a file of ours");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(file.try_clone().expect("a second handle"));
    run(command);
    writeln!(file, "after").expect("a file of ours");
    let said = std::fs::read_to_string(&path).expect("what was said");
    let said = said
        .strip_prefix("before\n")
        .and_then(|said| said.strip_suffix("after\n"));
    said.unwrap_or_else(|| panic!("overwritten: {:?}", std::fs::read_to_string(&path)))
        .to_owned()
}

/// Everything that comes until the last writer is gone.
fn reader(from: OwnedFd) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut from, mut said, mut part) = (File::from(from), Vec::new(), [0; 4096]);
        // A terminal's end is an error (EIO).
        while let Ok(length @ 1..) = from.read(&mut part) {
            said.extend_from_slice(&part[..length]);
        }
        let _ = sender.send(String::from_utf8_lossy(&said).into_owned());
    });
    receiver
}

#[track_caller]
fn run(command: &mut Command) {
    let mut child = command.spawn().expect("the command (run tests/setup)");
    let end = Instant::now() + DEADLINE;
    loop {
        match child.try_wait().expect("waiting for a child") {
            Some(status) => return assert!(!status.success(), "it was to fail: {command:?}"),
            None if Instant::now() < end => thread::sleep(std::time::Duration::from_millis(5)),
            None => {
                say(&format!("{command:?} does not end"));
                let _ = child.kill();
                let _ = child.wait();
                panic!("{command:?} does not end");
            }
        }
    }
}

/// The command keeps its handles for another run, and a reader would wait for them.
fn forget_handles(command: &mut Command) {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
}
