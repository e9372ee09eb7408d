//! NVML, asked in a child process: it may hang, crash, or keep what it inherits, and the hook must not.
//!
//! The child is this very program, re-executed with a hidden subcommand. It has a session of its own and nothing of the
//! engine's open, and writes [`Message`]s, one JSON line each, to its standard output. The deadline is for one call,
//! not for all: a cold node needs seconds for each GPU.
//!
//! ```text
//! parent.rs    starts the child and waits for it
//! child.rs     what the child does besides asking
//! session.rs   init, and the GPUs that it gives access to
//! walk.rs      the question for everything
//! check.rs     the question whether certain devices are what they were
//! device.rs    what NVML says of one MIG device: both questions go through it
//! profiles.rs  the profiles that a GPU offers
//! trouble.rs   NVML's errors, for people
//! raw.rs       calls that nvml-wrapper doesn't offer
//! ```

mod check;
mod child;
mod device;
mod parent;
mod profiles;
mod raw;
mod session;
mod trouble;
mod walk;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::mig::Inventory;

pub use child::answer;
pub use parent::{broken, check, inventory, library, reap};

/// The hidden subcommand that asks for everything; its one argument is the library.
pub const INVENTORY: &str = "nvml-inventory";

/// The hidden subcommand that asks about certain devices; its arguments are the library, and those devices in JSON: an
/// [`Inventory`] of nothing else.
pub const CHECK: &str = "nvml-check";

/// What a child is to ask.
#[derive(Clone, Debug)]
pub enum Question {
    /// Everything.
    Inventory,
    /// Whether the devices of this inventory are what it says.
    Check(Box<Inventory>),
}

impl Question {
    /// What these words of a command line ask, the subcommand first. None where they are none of ours.
    pub fn parse(subcommand: &str, argument: Option<&str>) -> Option<Question> {
        match (subcommand, argument) {
            (INVENTORY, None) => Some(Question::Inventory),
            (CHECK, Some(devices)) => Some(Question::Check(serde_json::from_str(devices).ok()?)),
            _ => None,
        }
    }
}

/// What the child tells its parent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message<Answer> {
    /// NVML answered something since the last message; this is what it is asked now.
    Asking(Call),
    /// The answer; the last message.
    Answer(Answer),
    /// There is none; the last message.
    Failed {
        what: String,
        why: String,
        remedy: String,
    },
}

/// One call of NVML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Call {
    /// The GPU's NVML index, once it is about one.
    gpu: Option<u32>,
    /// NVML's function.
    function: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gpu {
            Some(gpu) => write!(f, "{} for GPU {gpu}", self.function),
            None => f.write_str(&self.function),
        }
    }
}
