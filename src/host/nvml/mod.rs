//! NVML, asked in a child process: it may hang, crash, or keep what it inherits, and the hook must not.
//!
//! The child is this very program, re-executed with the hidden subcommand [`SUBCOMMAND`]. It has a session of its
//! own and nothing of the engine's open, and writes [`Message`]s, one JSON line each, to its standard output.
//! The deadline is for one call, not for all: a cold node needs seconds for each GPU.

mod child;
mod parent;
mod raw;
mod walk;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::mig::Inventory;

pub use child::answer;
pub use parent::{inventory, reap};

/// The hidden subcommand that makes this program the child; its one argument is the library.
pub const SUBCOMMAND: &str = "nvml-inventory";

/// What the child tells its parent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// NVML answered something since the last message; this is what it is asked now.
    Asking(Question),
    /// The answer; the last message.
    Inventory(Box<Inventory>),
    /// There is none; the last message.
    Failed {
        what: String,
        why: String,
        remedy: String,
    },
}

/// One call of NVML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Question {
    /// The GPU's NVML index, once it is about one.
    gpu: Option<u32>,
    /// NVML's function.
    call: String,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gpu {
            Some(gpu) => write!(f, "{} for GPU {gpu}", self.call),
            None => f.write_str(&self.call),
        }
    }
}
