//! `oci-mig-hook cdi`: a file that engines read for themselves. It says what is true, it is one by CDI's own rules, and real
//! engines give what it says.

mod engines;
mod file;
mod refusals;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::machine::Machine;
use crate::support::scratch::Scratch;

/// The kind of what it offers.
const KIND: &str = "oci-mig-hook.local/gpu";

/// A machine, and a folder for its CDI file.
struct Place {
    machine: Machine,
    folder: Scratch,
}

impl Place {
    fn of(machine: Machine) -> Place {
        Place {
            machine,
            folder: Scratch::new("cdi"),
        }
    }

    fn named(node: &str) -> Place {
        Place::of(Machine::named(node))
    }

    fn path(&self) -> PathBuf {
        self.folder.join("mig.json")
    }

    /// `oci-mig-hook cdi --output FILE ARGS`
    fn cdi(&self, args: &[&str]) -> Command {
        self.cdi_to(&self.path(), args)
    }

    fn cdi_to(&self, path: &Path, args: &[&str]) -> Command {
        let mut command = self.machine.program("cdi");
        command.arg("--output").arg(path).args(args);
        command
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).expect("the CDI file")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text()).expect("JSON")
    }

    /// What lies in the folder.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder");
        entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name")
            })
            .collect()
    }
}
