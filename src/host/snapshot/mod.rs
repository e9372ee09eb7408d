//! The inventory remembered: what NVML said last, for as long as nothing that can be seen without it has changed.
//!
//! A snapshot is for choosing. What is chosen from it is checked with the driver, so what it has wrong costs time, never
//! a device. What it lacks is only missed until something else makes somebody read all anew.

#![forbid(unsafe_code)]

mod key;

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::kept::Folder;
use super::moment::since_boot;
use crate::mig::Inventory;
pub use key::{Key, gpus};

/// The file's name in the ledger's folder.
const NAME: &str = "inventory.json";

/// The layout of the file. Any other than this is not read.
const VERSION: u32 = 2;

/// For how long, in milliseconds, an inventory is remembered that lacks what may come back any moment without a trace in
/// /proc: a GPU that was reset, a device that NVML had an error for. Otherwise a node with one broken GPU would be read
/// anew for each container; and yet what is back is to be found before the last of the others is given away, since who
/// asks by size gets the smallest that suffices.
const LACKING_MS: u64 = 60_000;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    version: u32,
    key: Key,
    /// When, in milliseconds since boot.
    taken: u64,
    /// Whether something is left out that may come back without a trace in the key.
    lacking: bool,
    inventory: Inventory,
}

/// The inventory that was remembered for `key`.
pub fn remembered(ledger: &Path, key: &Key) -> Option<Inventory> {
    let snapshot = read(ledger)?;
    let age = since_boot()?.checked_sub(snapshot.taken)?;
    let valid =
        snapshot.version == VERSION && snapshot.key == *key && !(snapshot.lacking && age > LACKING_MS);
    valid.then_some(snapshot.inventory)
}

/// The inventory that was remembered last, valid or not: for telling people what changed, and for nothing else.
pub fn last(ledger: &Path) -> Option<Inventory> {
    read(ledger).map(|snapshot| snapshot.inventory)
}

fn read(ledger: &Path) -> Option<Snapshot> {
    let text = Folder::of_ledger(ledger)?.read(NAME)?;
    let snapshot: Snapshot = serde_json::from_slice(&text).ok()?;
    (snapshot.version == VERSION).then_some(snapshot)
}

/// Remembers `inventory`, which was read while `key` held. Does nothing where that can't be.
pub fn remember(ledger: &Path, key: Key, inventory: &Inventory, lacking: bool) {
    let _ = try_to_remember(ledger, key, inventory, lacking);
}

fn try_to_remember(ledger: &Path, key: Key, inventory: &Inventory, lacking: bool) -> Option<()> {
    let snapshot = Snapshot {
        version: VERSION,
        key,
        taken: since_boot()?,
        lacking,
        inventory: inventory.clone(),
    };
    Folder::of_ledger(ledger)?.write(NAME, &serde_json::to_vec(&snapshot).ok()?)
}
