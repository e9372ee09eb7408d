//! GPUs at which NVML hung: each has a mark in the ledger's folder, `stuck/<NVML index>`, and is left alone for a while.
//! Without it, every container that asks would wait out the deadline at the same GPU.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kept::Folder;
use super::moment::{boot, since_boot};
use super::nvml::{Avoided, Call};
use crate::failure::Failure;
use crate::mig::{Inventory, LeftOut};

/// The folder's name.
const NAME: &str = "stuck";

/// The layout of a mark. Any other than this is not read.
const VERSION: u32 = 1;

/// What stands in a mark.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    version: u32,
    boot: String,
    /// The bus ids of the GPUs that there were: with others, the index may be another's.
    gpus: Vec<String>,
    /// NVML's function.
    call: String,
    /// When, in milliseconds since boot.
    at: u64,
}

/// The marks of a node, and how long one counts.
pub struct Marks<'a> {
    /// The ledger's folder.
    pub ledger: &'a Path,
    /// The bus ids of the GPUs that there are.
    pub gpus: Vec<String>,
    /// For how long a GPU is left alone; none where it never is.
    pub avoid: Option<Duration>,
}

impl Marks<'_> {
    /// The GPUs to leave alone now, and why.
    pub fn in_force(&self) -> Vec<Avoided> {
        let Some(folder) = self.existing() else {
            return Vec::new();
        };
        let names = folder.names().into_iter();
        let mut avoided: Vec<Avoided> = names.filter_map(|name| self.avoided(&folder, &name)).collect();
        avoided.sort_by_key(|avoided| avoided.gpu);
        avoided
    }

    /// Marks the GPU that this call hung at. Says for how long it is left alone; none where no GPU is to blame, or no mark
    /// can be made.
    pub fn put(&self, call: &Call) -> Option<Duration> {
        let (gpu, avoid) = (call.gpu?, self.avoid?);
        let mark = Mark {
            version: VERSION,
            boot: boot()?,
            gpus: self.gpus.clone(),
            call: call.function.clone(),
            at: since_boot()?,
        };
        let folder = Folder::of_ledger(self.ledger)?.made(NAME)?;
        folder.write(&gpu.to_string(), &serde_json::to_vec(&mark).ok()?)?;
        Some(avoid)
    }

    /// Takes away every mark but of those that were left alone: the others have answered since, or are void.
    pub fn clear_but(&self, kept: &[Avoided]) {
        let Some(folder) = self.existing() else {
            return;
        };
        let is_kept = |name: &String| kept.iter().any(|kept| kept.gpu.to_string() == *name);
        for name in folder.names().iter().filter(|name| !is_kept(name)) {
            folder.remove(name);
        }
    }

    fn existing(&self) -> Option<Folder> {
        Folder::of_ledger(self.ledger)?.existing(NAME)
    }

    fn avoided(&self, folder: &Folder, name: &str) -> Option<Avoided> {
        let gpu = name.parse().ok()?;
        let mark: Mark = serde_json::from_slice(&folder.read(name)?).ok()?;
        let age = Duration::from_millis(since_boot()?.checked_sub(mark.at)?);
        let left = self.avoid?.checked_sub(age)?;
        let holds = mark.version == VERSION && mark.boot == boot()? && mark.gpus == self.gpus;
        holds.then(|| Avoided {
            gpu,
            reason: format!(
                "the driver hung at {} {} ago, so it is left alone for {} more ('oci-mig-hook refresh' asks it again)",
                mark.call,
                shown(age),
                shown(left)
            ),
        })
    }
}

/// Takes those GPUs out of an inventory that was remembered before they were marked.
pub fn leave_out(inventory: &mut Inventory, avoided: Vec<Avoided>) {
    for Avoided { gpu, reason } in avoided {
        let what = format!("GPU {gpu}");
        inventory.gpus.retain(|known| known.index != gpu);
        inventory.left_out.retain(|known| known.what != what);
        inventory.left_out.push(LeftOut { what, reason });
    }
}

/// The failure of a call that hung, with what follows from it.
pub fn told(failure: &Failure, gpu: u32, avoid: Duration) -> Failure {
    let (what, why, remedy) = failure.parts();
    let why = format!("{why}, so GPU {gpu} is left alone for {}", shown(avoid));
    Failure::host(what, why).remedy(remedy)
}

/// A length of time for a glance.
fn shown(length: Duration) -> String {
    match length.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3600),
    }
}
