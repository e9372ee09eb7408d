//! The child's side: becomes nobody's child, asks NVML, and answers on standard output.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, RawDir};
use serde::Serialize;

use super::session::Reporter;
use super::{ALONE, CHECK, Call, INVENTORY, Message, Question, check, walk};
use crate::failure::Failure;

/// How often the parent is told that NVML still answers.
const HEARTBEAT: Duration = Duration::from_millis(250);

/// What this program is to do where it was re-executed for NVML alone.
struct Job {
    /// Whether nobody is to wait for its end.
    alone: bool,
    library: OsString,
    question: Question,
}

/// Does what a command line asks of NVML. None where it asks nothing of it: then it is somebody else's.
pub fn asked(args: &[OsString]) -> Option<ExitCode> {
    let first = args.first()?.to_str()?;
    if ![ALONE, INVENTORY, CHECK].contains(&first) {
        return None;
    }
    let job = Job::parse(args);
    Some(job.map_or(ExitCode::FAILURE, |job| {
        job.carry_out();
        ExitCode::SUCCESS
    }))
}

impl Job {
    fn parse(args: &[OsString]) -> Option<Job> {
        let alone = args.first()?.to_str() == Some(ALONE);
        let mut words = args.iter().skip(usize::from(alone));
        let (subcommand, library) = (words.next()?.to_str()?, words.next()?);
        let question = words.next().map_or(Some(""), |word| word.to_str())?;
        Some(Job {
            alone,
            library: library.clone(),
            question: Question::parse(subcommand, question)?,
        })
    }

    fn carry_out(&self) {
        let progress = Progress::default();
        if let Err(failure) = self.get_ready(progress.clone()) {
            return say(&message::<()>(Err(failure)));
        }
        match &self.question {
            Question::Inventory(asked) => say(&message(walk::survey(&self.library, asked, &progress))),
            Question::Check(asked) => say(&message(check::check(&self.library, asked, &progress))),
        }
    }

    fn get_ready(&self, progress: Progress) -> Result<(), Failure> {
        if self.alone {
            become_nobodys_child()?;
        }
        tell(progress).map_err(|error| super::cannot_ask(&error))
    }
}

/// Goes on as a process that none of the engine's waits for, in a session of its own, so that no signal meant for the
/// engine's reaches it, and with nothing of the engine's open. The one that was started ends here, before NVML is
/// touched: whatever becomes of the call, whoever started it is through with its child.
fn become_nobodys_child() -> Result<(), Failure> {
    close_inherited();
    nix::unistd::daemon(true, true).map_err(|errno| super::cannot_ask(&errno))
}

fn close_inherited() {
    let open = open_descriptors().unwrap_or_default();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // One of them was the listing itself, closed already.
        let _ = nix::unistd::close(fd);
    }
}

/// Not by the standard library's listing, which panics where it can't be closed: found by crash injection.
fn open_descriptors() -> rustix::io::Result<Vec<i32>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open("/proc/self/fd", flags, Mode::empty())?;
    let mut buffer = Vec::with_capacity(4096);
    let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
    let mut numbers = Vec::new();
    while let Some(entry) = entries.next() {
        let number = entry?
            .file_name()
            .to_str()
            .ok()
            .and_then(|name| name.parse::<i32>().ok());
        numbers.extend(number);
    }
    Ok(numbers)
}

/// What NVML is being asked, shared between the thread that asks and the one that tells.
#[derive(Clone, Default)]
struct Progress(Arc<Mutex<(u64, Option<Call>)>>);

impl Reporter for Progress {
    fn asking(&self, gpu: Option<u32>, call: &'static str) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.0 += 1;
        // The name is copied only when somebody has waited long enough to be told.
        now.1 = Some(Call {
            gpu,
            function: call.to_owned(),
        });
    }
}

/// Tells the parent which call is under way, as long as calls come to an end; and ends this process as soon as nobody
/// reads any more. Nobody else could: who asked may be gone, and has never known its number.
fn tell(progress: Progress) -> std::io::Result<()> {
    let telling = move || {
        let mut told = 0;
        loop {
            if is_unread_after(HEARTBEAT) {
                // A call that hangs in the driver is ended when the driver lets it.
                let _ = kill(Pid::this(), Signal::SIGKILL);
            }
            let now = progress.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let (count, Some(call)) = now {
                if count != told {
                    told = count;
                    say(&Message::<()>::Asking(call));
                }
            }
        }
    };
    std::thread::Builder::new()
        .spawn(telling)
        .map(drop::<JoinHandle<()>>)
}

/// Waits that long, or until the other end of standard output is closed: whether it is.
fn is_unread_after(patience: Duration) -> bool {
    let out = std::io::stdout();
    let Ok(timeout) = Timespec::try_from(patience) else {
        return false;
    };
    let mut polled = [PollFd::new(&out, PollFlags::empty())];
    match poll(&mut polled, Some(&timeout)) {
        Ok(0) => false,
        Ok(_) => true,
        Err(_) => {
            std::thread::sleep(patience);
            false
        }
    }
}

fn say<Answer: Serialize>(message: &Message<Answer>) {
    let Ok(mut line) = serde_json::to_vec(message) else {
        return;
    };
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    // A parent that is gone wants no answer.
    let _ = out.write_all(&line).and_then(|()| out.flush());
}

fn message<Answer>(answer: Result<Answer, Failure>) -> Message<Answer> {
    match answer {
        Ok(answer) => Message::Answer(answer),
        Err(failure) => {
            let (what, why, remedy) = failure.parts();
            Message::Failed {
                what: what.to_owned(),
                why: why.to_owned(),
                remedy: remedy.to_owned(),
            }
        }
    }
}
