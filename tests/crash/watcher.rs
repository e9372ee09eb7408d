//! Who decides what happens at a traced call.

use nix::errno::Errno;

use crate::call::Call;

/// What is to happen at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Go,
    /// The process is killed before the kernel does anything.
    KillBefore,
    /// It is killed when the kernel has done it.
    KillAfter,
    /// The kernel does nothing and says this.
    Fail(Errno),
    /// It reads or writes one byte only.
    Shorten,
}

/// Who decides.
pub trait Watcher {
    /// A process of the stage's is about to make this call, in its `main` or later.
    fn enters(&mut self, call: &Call) -> Order;

    /// That process's call is done.
    fn leaves(&mut self, process: usize, result: i64);

    /// Whether there is nothing more to decide.
    fn is_done(&self) -> bool;
}
