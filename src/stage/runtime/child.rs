//! A child that stands for this process: whoever signals us means it, and its end is ours.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, pidfd_open};

/// A signal of the kernel's own (SI_KERNEL), such as a terminal's ^C: it went to the whole process group.
const FROM_THE_KERNEL: i32 = 0x80;

/// Waits for `child`, passing on every signal that comes meanwhile; its exit code, as a shell has it. All signals must
/// be blocked.
pub fn wait(child: Pid) -> Result<u8, Errno> {
    // Not by SIGCHLD: an engine may have it ignored.
    let pid = rustix::process::Pid::from_raw(child.as_raw()).ok_or(Errno::ECHILD)?;
    let end = pidfd_open(pid, PidfdFlags::empty()).map_err(errno)?;
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    loop {
        let mut polled = [
            PollFd::new(&end, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
        ];
        match poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result.map_err(errno)?,
        };
        if !polled[0].revents().is_empty() {
            return waitpid(child, None).map(exit_code);
        }
        pass_on(&signals, child)?;
    }
}

fn pass_on(signals: &SignalFd, child: Pid) -> Result<(), Errno> {
    while let Some(sent) = signals.read_signal()? {
        let signal = i32::try_from(sent.ssi_signo)
            .ok()
            .and_then(|number| Signal::try_from(number).ok());
        if let Some(signal) = signal.filter(|signal| *signal != Signal::SIGCHLD) {
            if sent.ssi_code != FROM_THE_KERNEL {
                // It may just have ended.
                let _ = kill(child, signal);
            }
        }
    }
    Ok(())
}

fn exit_code(status: WaitStatus) -> u8 {
    match status {
        WaitStatus::Exited(_, code) => code as u8,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as u8,
        // waitpid tells of no others unless it is asked to.
        _ => u8::MAX,
    }
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}
