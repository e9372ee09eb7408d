//! What is known of the node while one reservation is made: remembered at first, and better with each answer of the driver.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::lease::Lease;
use crate::mig::{Checked, Gpu, Gpus, Inventory, LeftOut, MigDevice, MigUuid, User};

/// The node, as far as it is known.
pub struct Known {
    inventory: Inventory,
    /// It was read by this very reservation.
    fresh: bool,
    /// Free devices that somebody outside our leases uses.
    used: BTreeMap<MigUuid, String>,
}

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
            inventory,
            fresh,
            used: BTreeMap::new(),
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

    /// Who uses that device without a lease, as people are told.
    pub fn used_by(&self, device: &MigUuid) -> Option<String> {
        self.used.get(device).cloned()
    }

    /// Leaves a device out of all further choice.
    pub fn forget(&mut self, device: &MigUuid) {
        self.inventory.forget(device);
    }

    /// Asks the driver for everything. What was found out about devices in use still holds.
    pub fn read_anew(&mut self, gpus: &dyn Gpus) -> Result<(), Failure> {
        self.inventory = gpus.inventory()?;
        self.fresh = true;
        Ok(())
    }

    /// Asks the driver about the lease's devices alone, and takes note of what it says.
    pub fn check(&mut self, gpus: &dyn Gpus, lease: &Lease) -> Result<Verdict, Failure> {
        let devices = self.devices_of(lease);
        let mut answers = Vec::with_capacity(devices.len());
        for (device, answer) in devices.iter().zip(gpus.check(&devices)?) {
            answers.push((device.1.uuid.clone(), answer));
        }
        let mut differs = false;
        let mut verdict = Verdict::Good;
        for (uuid, answer) in answers {
            match answer {
                Checked::AsKnown => continue,
                Checked::InUse(users) => drop(self.used.insert(uuid, named(&users))),
                Checked::Differs(_) if !self.fresh => differs = true,
                Checked::Differs(reason) => self.leave_out(&uuid, reason),
            }
            verdict = Verdict::Objects;
        }
        if differs {
            self.read_anew(gpus)?;
        }
        Ok(verdict)
    }

    fn devices_of(&self, lease: &Lease) -> Vec<(&Gpu, &MigDevice)> {
        lease
            .uuids()
            .filter_map(|uuid| self.inventory.device(uuid))
            .collect()
    }

    /// It changed between two answers: nobody can tell what it is.
    fn leave_out(&mut self, device: &MigUuid, reason: String) {
        self.inventory.forget(device);
        self.inventory.left_out.push(LeftOut {
            what: device.to_string(),
            reason,
        });
    }
}

/// `process 4711 (python3) outside any lease`, and how many others.
fn named(users: &[User]) -> String {
    let Some(first) = users.first() else {
        return "a process outside any lease".to_owned();
    };
    let name = match first.name.is_empty() {
        true => String::new(),
        false => format!(" ({})", first.name),
    };
    match users.len() {
        1 => format!("process {}{name} outside any lease", first.pid),
        count => format!(
            "process {}{name} and {} more outside any lease",
            first.pid,
            count - 1
        ),
    }
}
