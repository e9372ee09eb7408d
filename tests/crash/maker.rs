//! Who calls a stage: a shell in the engine's place, which runs it, says how it ended, and lives until it is let go. A
//! reservation of precreate's is bound to it.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::ptrace;
use nix::sys::wait::WaitStatus;
use nix::unistd::{Pid, pipe2};

use crate::support::process::{DEADLINE, Running, holds_within, is_alive, start_on};
use crate::support::scratch::Scratch;
use crate::tracer::{End, Tracer, Traces};
use crate::watchdog::Watchdog;
use crate::watcher::Watcher;

/// Runs what follows $1 with that file on its standard input, writes its exit code beside the file, and waits for the
/// end of its own standard input.
const SCRIPT: &str = r#"document=$1; shift
"$@" <"$document"; echo $? >"$document.code"
read -r _"#;

/// A stage's call: who calls, with what on standard input.
pub struct Call {
    folder: Scratch,
    document: PathBuf,
}

/// How a call ended; whoever made it lives on.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// It had to be killed.
    pub hung: bool,
    /// The ends of its processes, if it was traced.
    pub ends: Vec<End>,
    maker: Running,
    life: Option<OwnedFd>,
    _folder: Scratch,
}

impl Call {
    pub fn with(stdin: &str) -> Self {
        let folder = Scratch::new("call");
        let document = folder.file("document", stdin);
        Self { folder, document }
    }

    /// The words before the stage's own command.
    pub fn words(&self) -> [PathBuf; 5] {
        let document = self.document.clone();
        ["sh".into(), "-c".into(), SCRIPT.into(), "sh".into(), document]
    }

    /// Runs `command`, which begins with [`Call::words`].
    pub fn run(self, mut command: Command) -> Ended {
        let (maker, life) = begin(&mut command);
        self.ended(maker, life, Traces::default(), None)
    }

    /// The same with `watcher` at each of its calls.
    pub fn run_traced(self, mut command: Command, watcher: &mut dyn Watcher) -> Ended {
        let ask = || Ok(ptrace::traceme()?);
        // SAFETY: between fork and exec this makes one system call, which allocates nothing.
        unsafe { command.pre_exec(ask) };
        let (maker, life) = begin(&mut command);
        let watchdog = Watchdog::new();
        let shell = Pid::from_raw(maker.pid());
        let traces = Tracer::new(watcher, &watchdog).run(shell);
        self.ended(maker, life, traces, Some(watchdog))
    }

    fn ended(self, maker: Running, life: OwnedFd, traces: Traces, watchdog: Option<Watchdog>) -> Ended {
        // A real runtime that a stage became, or started, may still be at work.
        let idle = traces
            .others
            .iter()
            .all(|pid| holds_within(DEADLINE, || !is_alive(*pid)));
        let code = await_code(&self.document.with_extension("code"));
        let bitten = watchdog.is_some_and(|watchdog| watchdog.has_bitten());
        Ended {
            code: code.unwrap_or(-1),
            stdout: maker.stdout(),
            stderr: maker.stderr(),
            hung: bitten || code.is_none() || !idle,
            ends: traces.ends,
            maker,
            life: Some(life),
            _folder: self.folder,
        }
    }
}

fn await_code(file: &Path) -> Option<i32> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if let Some(code) = text.strip_suffix('\n') {
            return code.parse().ok();
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
}

impl Ended {
    /// The maker's process.
    pub fn maker(&self) -> i32 {
        self.maker.pid()
    }

    /// Ends the maker, and waits for its end.
    pub fn end_maker(&mut self) {
        if self.life.take().is_some() {
            self.maker.wait(DEADLINE);
        }
    }

    /// Whether the stage's first process was killed.
    pub fn was_killed(&self) -> bool {
        let killed = |end: &End| end.process == 0 && matches!(end.how, WaitStatus::Signaled(..));
        self.ends.iter().any(killed)
    }
}

fn begin(command: &mut Command) -> (Running, OwnedFd) {
    let (end, life) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
    (start_on(command, Stdio::from(end)), life)
}
