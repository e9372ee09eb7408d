//! A time in which ^Z must not stop us.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// A process that ^Z doesn't stop, until this is dropped. Podman's hooks are in the process group of whoever typed the
/// command: that must not stop us while we hold the lock that every other container waits for.
pub struct Unstoppable {
    before: Option<SigSet>,
}

impl Unstoppable {
    /// Begins it.
    pub fn from_now_on() -> Unstoppable {
        let mut stops = SigSet::empty();
        stops.extend([Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU]);
        // Fails for no valid set.
        Unstoppable {
            before: stops.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok(),
        }
    }
}

impl Drop for Unstoppable {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = before.thread_set_mask();
        }
    }
}
