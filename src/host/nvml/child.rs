//! The child's side: cuts itself loose from the engine, asks NVML, and answers on standard output.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::session::Reporter;
use super::{Call, Message, Question, check, walk};
use crate::failure::Failure;

/// How often the parent is told that NVML still answers.
const HEARTBEAT: Duration = Duration::from_millis(250);

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

/// Asks the NVML in `library` and writes the answer to standard output.
pub fn answer(library: &OsStr, question: &Question) {
    cut_loose();
    let progress = Progress::default();
    tell(progress.clone());
    match question {
        Question::Inventory(asked) => say(&message(walk::survey(library, asked, &progress))),
        Question::Check(asked) => say(&message(check::check(library, asked, &progress))),
    }
}

/// A session of our own, so that no signal meant for the engine's reaches us; nothing of the engine's open, so that
/// nothing waits for our end.
fn cut_loose() {
    // Fails only where we lead a process group already, which a fork never does.
    let _ = nix::unistd::setsid();
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let inherited: Vec<i32> = numbers.filter(|fd| *fd > 2).collect();
    for fd in inherited {
        // One of them was the listing itself, closed already.
        let _ = nix::unistd::close(fd);
    }
}

/// Tells the parent which call is under way, as long as calls come to an end.
fn tell(progress: Progress) {
    std::thread::spawn(move || {
        let mut told = 0;
        loop {
            std::thread::sleep(HEARTBEAT);
            let now = progress.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let (count, Some(call)) = now {
                if count != told {
                    told = count;
                    say(&Message::<()>::Asking(call));
                }
            }
        }
    });
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
