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
//! users.rs     the processes that use a device
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
mod users;
mod walk;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::mig::{Inventory, MigUuid, User};

pub use child::answer;
pub use parent::{Asker, broken, library, reap};

/// The hidden subcommand that asks for everything; its arguments are the library, and an [`Everything`] in JSON.
pub const INVENTORY: &str = "nvml-inventory";

/// The hidden subcommand that asks about certain devices; its arguments are the library, and a [`Certain`] in JSON.
pub const CHECK: &str = "nvml-check";

/// The question for everything, as it may be put.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Everything {
    /// Whether to ask who uses each device.
    pub users: bool,
}

/// The question about certain devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certain {
    /// An inventory of those devices and nothing else: are they what it says?
    pub known: Inventory,
    /// Whether to ask who uses them.
    pub users: bool,
}

/// What a child is to ask.
#[derive(Clone, Debug)]
pub enum Question {
    /// Everything.
    Inventory(Everything),
    /// Certain devices.
    Check(Box<Certain>),
}

impl Question {
    /// What these words of a command line ask, the subcommand first. None where they are none of ours.
    pub fn parse(subcommand: &str, argument: Option<&str>) -> Option<Question> {
        match (subcommand, argument) {
            (INVENTORY, None) => Some(Question::Inventory(Everything::default())),
            (INVENTORY, Some(how)) => Some(Question::Inventory(serde_json::from_str(how).ok()?)),
            (CHECK, Some(devices)) => Some(Question::Check(serde_json::from_str(devices).ok()?)),
            _ => None,
        }
    }
}

/// Everything, and who uses what of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// What there is.
    pub inventory: Inventory,
    /// The processes that use a device, where NVML was asked and told.
    pub users: BTreeMap<MigUuid, Vec<User>>,
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
