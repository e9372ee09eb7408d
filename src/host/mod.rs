//! What this machine has: the driver and its files, its GPUs through NVML, its capabilities and its device nodes; and what is
//! remembered of them.

mod capabilities;
mod driver;
mod kept;
mod moment;
mod nodes;
pub mod nvml;
mod snapshot;
mod stuck;

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

pub use nodes::number_at;
pub use nvml::Survey;

use crate::config::{Config, Driver, Nvml, Unmanaged};
use crate::edits::ContainerEdits;
use crate::edits::driver::DriverFile;
use crate::failure::Failure;
use crate::mig::{Checked, Device, DeviceNode, Gpu, Gpus, Inventory, MigMode};
use nvml::{Asker, Certain, Everything, Trouble};
use snapshot::Key;
use stuck::Marks;

/// This machine, as the configuration says where to find it.
#[derive(Clone, Debug)]
pub struct Host {
    driver: Driver,
    nvml: Nvml,
    unmanaged: Unmanaged,
    /// Where it is remembered.
    ledger: PathBuf,
    /// The driver's version in the inventory that was given out last: what is checked was chosen from that.
    version: RefCell<String>,
    /// What the node looked like then.
    seen: RefCell<Option<Key>>,
    progress: fn(&str),
}

impl Host {
    /// The machine that `config` describes.
    pub fn new(config: &Config) -> Host {
        Host {
            driver: config.driver.clone(),
            nvml: config.nvml.clone(),
            unmanaged: config.unmanaged,
            ledger: config.ledger_dir.clone(),
            version: RefCell::default(),
            seen: RefCell::default(),
            progress: |_| {},
        }
    }

    /// Every major of NVIDIA's drivers; none where no driver is loaded.
    ///
    /// # Errors
    /// A host failure where /proc can't be read.
    pub fn majors(&self) -> Result<Vec<u32>, Failure> {
        capabilities::all_majors(&self.driver.proc)
    }

    /// Everything the node has now, remembered from here on, but for GPUs at which NVML hung a while ago; with `users`, who
    /// uses which device.
    ///
    /// # Errors
    /// A host failure where the driver can't be asked.
    pub fn survey(&self, users: bool) -> Result<Survey, Failure> {
        let avoid = self.marks().in_force();
        self.ask_for(Everything {
            users,
            avoid,
            proc: None,
        })
    }

    /// The same, with every GPU asked: one that answers is not left alone any more. The driver's files are looked for
    /// anew by the next container that asks.
    ///
    /// # Errors
    /// As [`Host::survey`].
    pub fn refresh(&self) -> Result<Inventory, Failure> {
        driver::forget(&self.ledger);
        Ok(self.ask_for(Everything::default())?.inventory)
    }

    fn ask_for(&self, question: Everything) -> Result<Survey, Failure> {
        // Before NVML is touched: as root, its init makes device nodes and calls nvidia-modprobe.
        driver::loaded(&self.driver.proc)?;
        let library = self.library();
        let before = self.key(&library);
        self.seen.replace(before.clone());
        let question = Everything {
            proc: Some(self.driver.proc.clone()),
            ..question
        };
        let mut found = self.marked(self.asker(&library).survey(&question))?;
        self.marks().clear_but(&question.avoid);
        let inventory = &mut found.inventory;
        let lacking = !inventory.left_out.is_empty();
        inventory.left_out.append(&mut found.excluded);
        // What changed while NVML was asked may be in its answer or not.
        if let Some(key) = before.filter(|before| self.key(&library).as_ref() == Some(before)) {
            snapshot::remember(&self.ledger, key, inventory, lacking);
        }
        self.version.replace(inventory.driver.clone());
        Ok(found)
    }

    /// The driver's files on this machine: as they were remembered, while nothing that can be seen has changed.
    ///
    /// # Errors
    /// A host failure where the driver isn't loaded, or there is no library of its version.
    pub fn driver_files(&self) -> Result<Vec<DriverFile>, Failure> {
        driver::files(&self.driver, &self.ledger)
    }

    /// What NVIDIA's own CDI file gives to every container.
    ///
    /// # Errors
    /// A host failure where there is none that can be used.
    pub fn cdi_edits(&self) -> Result<ContainerEdits, Failure> {
        driver::common_edits(&self.driver.cdi)
    }

    /// What was remembered last, whether or not it still holds: for telling people what changed.
    pub fn last_remembered(&self) -> Option<Inventory> {
        snapshot::last(&self.ledger)
    }

    /// This, telling `progress` what NVML is asked whenever its answer takes long.
    #[must_use]
    pub fn with_progress(self, progress: fn(&str)) -> Host {
        Host { progress, ..self }
    }

    fn library(&self) -> OsString {
        nvml::library(&self.nvml, &self.driver.root)
    }

    fn key(&self, library: &OsStr) -> Option<Key> {
        Key::look(&self.driver.proc, library)
    }

    fn marks(&self) -> Marks<'_> {
        Marks {
            ledger: &self.ledger,
            gpus: snapshot::gpus(&self.driver.proc).unwrap_or_default(),
            avoid: self.nvml.avoid,
        }
    }

    /// An answer of NVML. Where there is none because it hangs at a GPU, that one is left alone from here on.
    fn marked<Answer>(&self, answer: Result<Answer, Trouble>) -> Result<Answer, Failure> {
        answer.map_err(|Trouble { failure, hung_at }| {
            let call = hung_at.as_ref();
            match call.and_then(|call| Some((call.gpu?, self.marks().put(call)?))) {
                Some((gpu, avoid)) => stuck::told(&failure, gpu, avoid),
                None => failure,
            }
        })
    }

    /// These devices, as the inventory that they were chosen from has them, and nothing else.
    fn question(&self, devices: &[Device<'_>]) -> Inventory {
        let mut gpus: Vec<&Gpu> = devices.iter().map(|device| device.gpu()).collect();
        gpus.sort_by_key(|gpu| gpu.pci);
        gpus.dedup_by_key(|gpu| gpu.pci);
        let asked = |gpu: &Gpu| Gpu {
            mig: asked_of(gpu, devices),
            ..gpu.clone()
        };
        Inventory {
            driver: self.version.borrow().clone(),
            // The driver brings it: where that is the same, so is this.
            cuda: None,
            gpus: gpus.into_iter().map(asked).collect(),
            left_out: Vec::new(),
        }
    }

    fn asker<'a>(&self, library: &'a OsStr) -> Asker<'a> {
        Asker {
            library,
            deadline: self.nvml.deadline,
            progress: self.progress,
        }
    }
}

/// A GPU's mode with those of its devices that are asked about.
fn asked_of(gpu: &Gpu, devices: &[Device<'_>]) -> MigMode {
    let asked = |asked: &Device<'_>| match asked {
        Device::Mig { gpu: of, device } if of.pci == gpu.pci => Some((*device).clone()),
        _ => None,
    };
    match &gpu.mig {
        MigMode::Enabled { profiles, .. } => MigMode::Enabled {
            profiles: profiles.clone(),
            devices: devices.iter().filter_map(asked).collect(),
        },
        whole => whole.clone(),
    }
}

impl Gpus for Host {
    fn remembered(&self) -> Option<Inventory> {
        let key = self.key(&self.library())?;
        self.seen.replace(Some(key.clone()));
        let mut inventory = snapshot::remembered(&self.ledger, &key)?;
        stuck::leave_out(&mut inventory, self.marks().in_force());
        self.version.replace(inventory.driver.clone());
        Some(inventory)
    }

    fn inventory(&self) -> Result<Inventory, Failure> {
        Ok(self.survey(false)?.inventory)
    }

    fn has_changed(&self) -> bool {
        let now = self.key(&self.library());
        now.is_some() && *self.seen.borrow() != now
    }

    fn check(&self, devices: &[Device<'_>]) -> Result<Vec<Checked>, Failure> {
        driver::loaded(&self.driver.proc)?;
        let question = Certain {
            known: self.question(devices),
            users: self.unmanaged == Unmanaged::Skip,
            on_demand_alone: !self.marks().in_force().is_empty(),
        };
        let answers = self.marked(self.asker(&self.library()).check(&question))?;
        let of = |device: &Device<'_>| {
            let mut asked = question.known.devices().zip(&answers);
            asked
                .find(|(asked, _)| asked.is_called(&device.name()))
                .map(|(_, answer)| answer.clone())
        };
        let answers = devices.iter().map(of).collect::<Option<_>>();
        answers.ok_or_else(|| nvml::broken("it left a device out"))
    }

    fn nodes(&self, device: Device<'_>) -> Result<Vec<DeviceNode>, Failure> {
        nodes::of_device(&self.driver, device)
    }
}
