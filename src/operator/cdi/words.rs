//! What `cdi` tells people.

use std::path::Path;

use super::earlier::Earlier;
use crate::edits::cdi::KIND;
use crate::failure::{Failure, one_line};
use crate::mig::{Inventory, LeftOut};
use crate::operator::words::counted;

/// Most names that one line has.
const NAMED: usize = 6;

/// What the driver said, and how it is told.
pub struct Seen {
    /// What this machine has.
    pub inventory: Inventory,
}

impl Seen {
    /// That there is nothing to write. CDI knows no file without a device.
    pub fn nothing_to_offer(&self) -> Failure {
        let none = "this machine has no MIG device, and no GPU that is not in MIG mode".to_owned();
        let left_out = self.inventory.left_out.iter();
        let left_out: Vec<String> = left_out
            .map(|one| format!("{} ({})", one.what, one.reason))
            .collect();
        let left_out: Vec<&str> = left_out.iter().map(String::as_str).collect();
        let why = match left_out.is_empty() {
            true => none,
            false => format!("{none}; left out: {}", list(&left_out)),
        };
        Failure::refused("no CDI file to write", why)
            .remedy("create MIG devices with 'nvidia-smi mig -cgi PROFILE -C', and repeat")
    }

    /// That the file says what is true.
    pub fn up_to_date(&self, path: &Path) -> String {
        format!("{} is up to date: {}\n", path.display(), self.counts())
    }

    /// That it was written, and what is another than before.
    pub fn written(&self, earlier: &Earlier, now: &[String]) -> String {
        let mut text = format!("{}: {} of kind {KIND}\n", earlier.path().display(), self.counts());
        if earlier.text().is_some() {
            let (gone, new) = earlier.changes(now);
            text.extend(gone.iter().map(|name| format!("- {}\n", one_line(name))));
            text.extend(new.iter().map(|name| format!("+ {name}\n")));
        }
        let left_out = |left: &LeftOut| format!("left out: {}: {}\n", left.what, one_line(&left.reason));
        text.extend(self.inventory.left_out.iter().map(left_out));
        text += "whoever takes one with --device takes no lease: another container may have the same one\n";
        text
    }

    /// `6 MIG devices and 1 whole GPU`.
    fn counts(&self) -> String {
        let gpus = &self.inventory.gpus;
        let devices = gpus.iter().map(|gpu| gpu.devices().len()).sum();
        let whole = gpus.iter().filter(|gpu| gpu.whole().is_some()).count();
        match whole {
            0 => counted(devices, "MIG device"),
            whole => format!(
                "{} and {}",
                counted(devices, "MIG device"),
                counted(whole, "whole GPU")
            ),
        }
    }
}

/// That the file that was there went, since there is nothing to offer.
pub fn removed(path: &Path, nothing: &Failure) -> Failure {
    let (_, why, remedy) = nothing.parts();
    let what = format!("CDI file {} was stale, and is removed", path.display());
    Failure::refused(what, why).remedy(remedy)
}

/// `0:7:0, 0:8:0 and 3 more`.
pub fn list(names: &[&str]) -> String {
    let first = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
