//! Running a command with a deadline, and all that it said.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

/// Long enough for any step on a busy machine; a step that takes longer hangs.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    what: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Outcome {
    /// The exit code; a death by signal counts as 128 and the signal, as in a shell.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Itself, where the command succeeded; the test ends here where it did not.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{self}");
        self
    }

    /// Itself, where the command failed.
    #[track_caller]
    pub fn failed(self) -> Self {
        assert!(!self.status.success(), "it was to fail: {self}");
        self
    }

    /// Both streams, for a text that may be on either.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            what,
            status,
            stdout,
            stderr,
            took,
        } = self;
        write!(
            f,
            "{what}: {status} after {took:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---"
        )
    }
}

/// A command under way. Its output goes to files, not pipes: a container that outlives the command that created it
/// keeps the streams, and a pipe would not end before the container does.
#[derive(Debug)]
pub struct Running {
    pub child: Child,
    stdout: File,
    stderr: File,
    what: String,
    started: Instant,
}

/// Starts `command` with nothing on its standard input, unless `stdin` is given.
pub fn start(command: &mut Command, stdin: Option<&str>) -> Running {
    let input = match stdin {
        None => Stdio::null(),
        Some(text) => {
            let file = memory_file();
            file.write_all_at(text.as_bytes(), 0).expect("writing to memory");
            Stdio::from(file)
        }
    };
    start_on(command, input)
}

/// Starts `command` on this standard input.
pub fn start_on(command: &mut Command, stdin: Stdio) -> Running {
    let what = format!("{command:?}");
    let (stdout, stderr) = (memory_file(), memory_file());
    command.stdin(stdin);
    command.stdout(stdout.try_clone().expect("a second handle"));
    command.stderr(stderr.try_clone().expect("a second handle"));
    let child = command
        .spawn()
        .unwrap_or_else(|why| panic!("{what}: {why}; is it installed? run tests/setup"));
    Running {
        child,
        stdout,
        stderr,
        what,
        started: Instant::now(),
    }
}

/// Runs `command` to its end, at most [`DEADLINE`].
pub fn run(command: &mut Command) -> Outcome {
    start(command, None).wait(DEADLINE)
}

/// Runs `command` with `stdin` on its standard input.
pub fn run_with(command: &mut Command, stdin: &str) -> Outcome {
    start(command, Some(stdin)).wait(DEADLINE)
}

/// Runs `command` to its end, for clearing up: whatever goes wrong is no failure of the test, nor a second one while
/// it fails already.
pub fn quietly(command: &mut Command) {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return };
    if !holds_within(DEADLINE, || child.try_wait().is_ok_and(|ended| ended.is_some())) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Running {
    /// The command's process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// What the command, and the container that it may have left, said on standard output so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// The same for standard error.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("waiting for a child").is_none()
    }

    /// Waits for the end; past the deadline the command is killed and the test fails.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> Outcome {
        let end = Instant::now() + deadline;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waiting for a child") {
                break status;
            }
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                let (out, err) = (self.stdout(), self.stderr());
                panic!("{} did not end within {deadline:?}\n{out}\n{err}", self.what);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let what = self.what.clone();
        Outcome {
            what,
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
            took: self.started.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits until `done` says yes; the test fails, saying `what` was awaited, past the deadline.
#[track_caller]
pub fn until(what: &str, done: impl FnMut() -> bool) {
    assert!(
        holds_within(DEADLINE, done),
        "waited {DEADLINE:?} in vain for: {what}"
    );
}

/// Whether `done` says yes within `deadline`.
pub fn holds_within(deadline: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether this process runs: there, and not a zombie that nobody has waited for.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; the state follows it.
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// The processes whose command line is so. A zombie has none.
pub fn find(is_so: impl Fn(&[&str]) -> bool) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let line = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok();
    pids.filter(|pid| {
        let line = line(pid).unwrap_or_default();
        let words: Vec<_> = line.trim_end_matches('\0').split('\0').collect();
        is_so(&words)
    })
    .collect()
}

/// Says something on the terminal of whoever runs the tests; the test harness keeps println to itself.
pub fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// `kill -9`
pub fn kill(pid: i32) {
    kill_with(pid, Signal::SIGKILL);
}

/// `kill -SIGNAL`
pub fn kill_with(pid: i32, signal: Signal) {
    let sent = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
    sent.unwrap_or_else(|why| panic!("kill -{signal} {pid}: {why}"));
}

fn memory_file() -> File {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    File::from(rustix::fs::memfd_create("stream", flags).expect("a file in memory"))
}

fn text(file: &File) -> String {
    let length = file.metadata().expect("a file in memory").len() as usize;
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0).expect("reading memory");
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}
