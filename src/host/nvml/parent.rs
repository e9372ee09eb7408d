//! The parent's side: starts the child, and waits for its answer no longer than the deadline allows.

#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ALONE, CHECK, Call, Certain, Everything, INVENTORY, Message, Survey, cannot_ask};
use crate::config::Nvml;
use crate::failure::Failure;
use crate::mig::Checked;

/// The name under which the driver installs NVML for programs.
const SONAME: &str = "libnvidia-ml.so.1";

/// Where distributions put the driver's libraries, below `driver.root`.
const LIBRARY_FOLDERS: [&str; 5] = [
    "usr/lib/x86_64-linux-gnu",
    "usr/lib64",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib",
    "usr/lib/nvidia",
];

/// How NVML is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The library that is NVML.
    pub library: &'a OsStr,
    /// How long one call may take.
    pub deadline: Duration,
    /// Hears what NVML is asked when an answer takes long.
    pub progress: fn(&str),
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Trouble {
    /// What is said of it.
    pub failure: Failure,
    /// The call that NVML let wait for longer than the deadline.
    pub hung_at: Option<Call>,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble {
            failure,
            hung_at: None,
        }
    }
}

impl Asker<'_> {
    /// Everything NVML knows, asked in a child.
    ///
    /// # Errors
    /// What the child reports, or a host failure when NVML lets one call wait for longer than the deadline.
    pub fn survey(&self, question: &Everything) -> Result<Survey, Trouble> {
        self.ask(INVENTORY, question)
    }

    /// Whether certain devices are what they were, likewise: one answer for each, in their order.
    ///
    /// # Errors
    /// As [`Asker::survey`].
    pub fn check(&self, question: &Certain) -> Result<Vec<Checked>, Trouble> {
        self.ask(CHECK, question)
    }

    fn ask<Answer: DeserializeOwned>(
        &self,
        subcommand: &str,
        question: &impl Serialize,
    ) -> Result<Answer, Trouble> {
        let question = serde_json::to_string(question).map_err(|error| cannot_ask(&error))?;
        let mut child = Waited::start(&[
            ALONE.as_ref(),
            subcommand.as_ref(),
            self.library,
            question.as_ref(),
        ])?;
        child.answer(self.deadline, self.progress)
    }
}

/// The library that is NVML.
pub fn library(nvml: &Nvml, root: &Path) -> OsString {
    let named = nvml.library.as_ref();
    named.map_or_else(|| default_library(root), |path| path.clone().into())
}

fn default_library(root: &Path) -> OsString {
    let below = LIBRARY_FOLDERS
        .iter()
        .map(|folder| root.join(folder).join(SONAME));
    match root == Path::new("/") {
        true => OsString::from(SONAME),
        false => below
            .into_iter()
            .find(|path| path.exists())
            .map_or_else(|| SONAME.into(), Into::into),
    }
}

/// The end of a pipe at which an answer comes out. The child ends itself once this is closed.
struct Waited {
    out: ChildStdout,
    unread: Vec<u8>,
    asking: Option<Call>,
}

impl Waited {
    fn start(words: &[&OsStr]) -> Result<Waited, Failure> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("oci-mig-hook").args(words).current_dir("/");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| cannot_ask(&error))?;
        let out = child.stdout.take();
        // Ends as soon as it has started the one that asks, before anything can hang.
        child.wait().map_err(|error| cannot_ask(&error))?;
        Ok(Waited {
            out: out.ok_or_else(|| cannot_ask(&"no pipe to the child"))?,
            unread: Vec::with_capacity(64 << 10),
            asking: None,
        })
    }

    /// The child's last message. Each message before it starts the deadline anew.
    fn answer<Answer: DeserializeOwned>(
        &mut self,
        deadline: Duration,
        progress: fn(&str),
    ) -> Result<Answer, Trouble> {
        let mut until = Instant::now() + deadline;
        loop {
            while let Some(line) = self.next_line() {
                match serde_json::from_slice(&line).map_err(|error| broken(&error.to_string()))? {
                    Message::Asking(call) => {
                        progress(&call.to_string());
                        self.asking = Some(call);
                    }
                    Message::Answer(answer) => return Ok(answer),
                    Message::Failed { what, why, remedy } => {
                        return Err(Failure::host(what, why).remedy(remedy).into());
                    }
                }
                until = Instant::now() + deadline;
            }
            if !self.wait(until)? {
                return Err(self.stuck(deadline));
            }
            let mut chunk = [0; 64 << 10];
            match self.out.read(&mut chunk) {
                Ok(0) => return Err(broken("it ended without an answer").into()),
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(&error.to_string()).into()),
            }
        }
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        let end = self.unread.iter().position(|byte| *byte == b'\n')?;
        Some(self.unread.drain(..=end).collect())
    }

    /// Whether there is something to read before `until`.
    fn wait(&self, until: Instant) -> Result<bool, Failure> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(|error| broken(&error.to_string()))?;
            match poll(&mut [PollFd::new(&self.out, PollFlags::IN)], Some(&timeout)) {
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(broken(&errno.to_string())),
            }
        }
    }

    fn stuck(&self, deadline: Duration) -> Trouble {
        let call = self
            .asking
            .as_ref()
            .map_or_else(|| "its start".to_owned(), Call::to_string);
        let why = format!("no answer to {call} within {}s", deadline.as_secs());
        let failure = Failure::host("NVML hangs", why).remedy(
            "'nvidia-smi' shows the same and 'dmesg' why; a GPU without persistence mode ('nvidia-smi -pm 1') starts \
             slowly: raise nvml.deadline for it",
        );
        Trouble {
            failure,
            hung_at: self.asking.clone(),
        }
    }
}

/// The failure that the child didn't do what it is for.
pub fn broken(why: &str) -> Failure {
    Failure::host("NVML gave no answer", format!("the child that asks it: {why}"))
        .remedy("'nvidia-smi' must work first; 'dmesg' tells of crashes")
}
