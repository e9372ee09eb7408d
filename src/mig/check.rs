//! What the driver said when it was asked about certain devices alone.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One device, held against what is remembered of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checked {
    /// It is there and is what it was, and nobody is known to use it.
    AsKnown,
    /// It is gone or another, or its GPU can't be used: one sentence.
    Differs(String),
    /// It is what it was, and these processes use it.
    InUse(Vec<User>),
}

/// A process that uses a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct User {
    /// Its process id, as the host sees it.
    pub pid: u32,
    /// Its name as the kernel has it, for one line; empty where it can't be told.
    pub name: String,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.is_empty() {
            true => write!(f, "pid {}", self.pid),
            false => write!(f, "pid {} ({})", self.pid, self.name),
        }
    }
}
