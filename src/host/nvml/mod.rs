//! NVML, asked in a child process: it may hang, crash, or keep what it inherits, and the hook must not.
//!
//! The child is this very program, re-executed with a hidden subcommand. Before it touches NVML it becomes nobody's child,
//! with a session of its own and nothing of the engine's open: one that hangs in the driver can't be ended by anyone, and so
//! nobody is to wait for it. It writes [`Message`]s, one JSON line each, to its standard output, and ends itself once
//! nobody reads them. The deadline is for one call, not for all: a cold node needs seconds for each GPU.
//!
//! ```text
//! parent.rs    starts the child and waits for it
//! child.rs     what the child does besides asking
//! session.rs   init, and the GPUs that it gives access to
//! walk.rs      the question for everything
//! check.rs     the question whether certain devices are what they were
//! device.rs    what NVML says of one MIG device: both questions go through it
//! facts.rs     what images may require of the machine and its GPUs
//! profiles.rs  the profiles that a GPU offers
//! trouble.rs   NVML's errors, for people
//! users.rs     the processes that use a device
//! whole.rs     what NVML says of a GPU as a whole
//! raw.rs       calls that nvml-wrapper doesn't offer
//! ```

mod check;
mod child;
mod device;
mod facts;
mod parent;
mod profiles;
mod raw;
mod session;
mod trouble;
mod users;
mod walk;
mod whole;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::mig::{DeviceName, Inventory, LeftOut, User};

pub use child::asked;
pub use parent::{Asker, Trouble, broken, library};

/// The hidden subcommand that asks for everything; its arguments are the library, and an [`Everything`] in JSON.
pub const INVENTORY: &str = "nvml-inventory";

/// The hidden subcommand that asks about certain devices; its arguments are the library, and a [`Certain`] in JSON.
pub const CHECK: &str = "nvml-check";

/// Before either of them: go on as nobody's child. Without it the answer is this process's own, for tests and people.
const ALONE: &str = "nvml-alone";

/// The question for everything, as it may be put.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Everything {
    /// Whether to ask who uses each device.
    pub users: bool,
    /// GPUs that are not to be asked.
    pub avoid: Vec<Avoided>,
    /// Where the driver shows itself in /proc: its files answer by calls of the driver, which may hang as NVML's do.
    pub proc: Option<PathBuf>,
}

/// A GPU that is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Avoided {
    /// Its NVML index.
    pub gpu: u32,
    /// Why, for people.
    pub reason: String,
}

/// The question about certain devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certain {
    /// An inventory of those devices and nothing else: are they what it says?
    pub known: Inventory,
    /// Whether to ask who uses them.
    pub users: bool,
    /// Whether there are other GPUs that must not be attached, whatever the answers.
    pub on_demand_alone: bool,
}

/// What a child is to ask.
#[derive(Clone, Debug)]
enum Question {
    /// Everything.
    Inventory(Everything),
    /// Certain devices.
    Check(Box<Certain>),
}

impl Question {
    /// What these words of a command line ask. None where they are none of ours.
    fn parse(subcommand: &str, argument: &str) -> Option<Question> {
        match (subcommand, argument) {
            (INVENTORY, "") => Some(Question::Inventory(Everything::default())),
            (INVENTORY, how) => Some(Question::Inventory(serde_json::from_str(how).ok()?)),
            (CHECK, devices) => Some(Question::Check(serde_json::from_str(devices).ok()?)),
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
    pub users: BTreeMap<DeviceName, Vec<User>>,
    /// The GPUs that the driver leaves out, which NVML doesn't count. Not looked for while a GPU is to be left alone.
    #[serde(default)]
    pub excluded: Vec<LeftOut>,
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
pub struct Call {
    /// The GPU's NVML index, once it is about one.
    pub gpu: Option<u32>,
    /// NVML's function.
    pub function: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gpu {
            Some(gpu) => write!(f, "{} for GPU {gpu}", self.function),
            None => f.write_str(&self.function),
        }
    }
}

/// The failure that there is no child to ask with.
fn cannot_ask(why: &dyn fmt::Display) -> Failure {
    Failure::host("NVML can't be asked", why)
        .remedy("this machine may be out of processes or memory: see 'dmesg' and 'ulimit -a'")
}
