//! A child that stands for this process: whoever signals us means it, and its end is ours.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A signal of the kernel's own (SI_KERNEL), such as a terminal's ^C: it went to the whole process group.
const FROM_THE_KERNEL: i32 = 0x80;

/// From now on signals end nothing here, and are read; and the mask that the child is to have, as it was before.
pub fn hold_signals() -> Result<(SigSet, SignalFd), Errno> {
    // Where an engine has it ignored, children leave no exit code. A handler, whatever it does, ends that.
    signal_hook::flag::register(Signal::SIGCHLD as i32, Arc::new(AtomicBool::new(false)))
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC)?;
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    Ok((before, signals))
}

/// Waits for `child`, passing on every signal that comes meanwhile; its exit code, as a shell has it.
pub fn wait(child: Pid, signals: &SignalFd) -> Result<u8, Errno> {
    loop {
        let Ok(Some(sent)) = signals.read_signal() else {
            // Then without signals: it is waited for all the same.
            return waitpid(child, None).map(exit_code);
        };
        let signal = i32::try_from(sent.ssi_signo)
            .ok()
            .and_then(|number| Signal::try_from(number).ok());
        match signal {
            Some(Signal::SIGCHLD) => {
                match waitpid(child, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED))? {
                    WaitStatus::StillAlive => {}
                    WaitStatus::Stopped(_, by) => stop_too(child, by),
                    ended => return Ok(exit_code(ended)),
                }
            }
            Some(signal) if sent.ssi_code != FROM_THE_KERNEL => {
                // It may just have ended.
                let _ = kill(child, signal);
            }
            _ => {}
        }
    }
}

/// A terminal's ^Z stops a job as a whole, or its shell would wait for ever.
fn stop_too(child: Pid, by: Signal) {
    if matches!(by, Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU) {
        let _ = raise(Signal::SIGSTOP);
        let _ = kill(child, Signal::SIGCONT);
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    match status {
        WaitStatus::Exited(_, code) => code as u8,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as u8,
        // waitpid tells of no others unless it is asked to.
        _ => u8::MAX,
    }
}
