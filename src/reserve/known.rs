//! What is known of the node while one reservation is made: remembered at first, and better with each answer of the driver.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::lease::liveness::Here;
use crate::lease::{End, Lease};
use crate::mig::{Checked, Device, DeviceName, Gpus, Inventory, LeftOut};

use super::used::Used;

/// The node, as far as it is known.
pub struct Known {
    /// As it was read or remembered.
    read: Inventory,
    /// The same, less what turned out to be of no use.
    inventory: Inventory,
    /// It was read by this very reservation.
    fresh: bool,
    used: Used,
    /// Devices that were not what had just been read of them, since when, and how.
    differing: BTreeMap<DeviceName, (Instant, String)>,
}

/// For how long such a device is left alone: or a waiter would ask the driver without pause.
const DIFFERS: Duration = Duration::from_secs(30);

/// What the driver said of a lease's devices.
pub enum Verdict {
    /// They are what they were, and nobody uses them.
    Good,
    /// One is not, or somebody does; the node is known better now.
    Objects,
}

impl Known {
    /// What is remembered, or what the driver says.
    pub fn of(gpus: &dyn Gpus) -> Result<Known, Failure> {
        let (inventory, fresh) = match gpus.remembered() {
            Some(inventory) => (inventory, false),
            None => (gpus.inventory()?, true),
        };
        Ok(Known {
            read: inventory.clone(),
            inventory,
            fresh,
            used: Used::default(),
            differing: BTreeMap::new(),
        })
    }

    /// Whether it may be the ground of a refusal.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The node.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The driver's version.
    pub fn driver(&self) -> &str {
        &self.inventory.driver
    }

    /// Free devices that somebody uses without a lease.
    pub fn used(&self) -> &Used {
        &self.used
    }

    /// Leaves a device out of all further choice.
    pub fn forget(&mut self, device: &DeviceName) {
        self.inventory.forget(device);
    }

    /// Asks the driver for everything, and forgets what was found out about single devices.
    pub fn look_afresh(&mut self, gpus: &dyn Gpus) -> Result<(), Failure> {
        self.used.clear();
        self.differing.clear();
        self.read_anew(gpus)
    }

    /// Asks the driver for everything. What was found out about single devices still holds.
    pub fn read_anew(&mut self, gpus: &dyn Gpus) -> Result<(), Failure> {
        self.take(gpus.inventory()?, true);
        Ok(())
    }

    /// After a while: what somebody else has found out since, and who has let go of a device. What was of no use then may be
    /// by now. The driver is asked only where the node doesn't look as it did.
    pub fn catch_up(&mut self, gpus: &dyn Gpus) {
        let changed = gpus.has_changed();
        self.used.drop_ended();
        match gpus.remembered() {
            Some(inventory) => self.take(inventory, false),
            // Repartitioned, and nobody has read it since. Where that fails it is tried again with the next change.
            None if changed && self.read_anew(gpus).is_ok() => {}
            None => self.take(self.read.clone(), false),
        }
    }

    fn take(&mut self, inventory: Inventory, fresh: bool) {
        self.read = inventory.clone();
        self.inventory = inventory;
        self.fresh = fresh;
        self.differing.retain(|_, (since, _)| since.elapsed() < DIFFERS);
        for (device, (_, reason)) in &self.differing {
            self.inventory.forget(device);
            self.inventory.left_out.push(left_out(device, reason));
        }
    }

    /// Asks the driver about the lease's devices alone, and takes note of what it says.
    pub fn check(&mut self, gpus: &dyn Gpus, here: &Here, lease: &Lease) -> Result<Verdict, Failure> {
        let devices = self.devices_of(lease);
        let asked: Vec<DeviceName> = devices.iter().map(|device| device.name()).collect();
        let answers = gpus.check(&devices)?;
        let mut verdict = Verdict::Good;
        let mut differs = false;
        for (device, answer) in asked.into_iter().zip(answers) {
            match answer {
                Checked::AsKnown => continue,
                Checked::InUse(users) => self.used.note(here, device, &users),
                Checked::Differs(_) if !self.fresh => differs = true,
                Checked::Differs(reason) => self.leave_out(device, reason),
            }
            verdict = Verdict::Objects;
        }
        if differs {
            self.read_anew(gpus)?;
        }
        Ok(verdict)
    }

    /// The ends of those who use devices without a lease.
    pub fn ends(&self) -> impl Iterator<Item = &End> {
        self.used.ends()
    }

    fn devices_of(&self, lease: &Lease) -> Vec<Device<'_>> {
        lease
            .names()
            .filter_map(|name| self.inventory.device(&name))
            .collect()
    }

    /// It changed between two answers: nobody can tell what it is.
    fn leave_out(&mut self, device: DeviceName, reason: String) {
        self.inventory.forget(&device);
        self.inventory.left_out.push(left_out(&device, &reason));
        self.differing.insert(device, (Instant::now(), reason));
    }
}

fn left_out(device: &DeviceName, reason: &str) -> LeftOut {
    LeftOut {
        what: device.to_string(),
        reason: reason.to_owned(),
    }
}
