//! Faults that can be planted, besides a check that isn't made: to see that the properties notice.

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// A process is known again by its pid alone, which is a stranger's once it has ended.
    PidAlone,
    /// What is written under the lock is written in reverse.
    Backwards,
    /// Nobody ever looks at another's lease but who reserves.
    NobodyLooks,
}
