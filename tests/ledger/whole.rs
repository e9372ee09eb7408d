//! Leases of whole GPUs, and MIG mode that is switched while a lease stands: what is under a lease stays under it, whatever
//! it is called by then.

use std::cell::Cell;
use std::fs;

use oci_mig_hook::failure::Failure;
use oci_mig_hook::lease::{Lease, LeaseState, LeasedDevice, Ledger};
use oci_mig_hook::mig::{Checked, Device, DeviceNode, Gpus, Inventory, MigMode, WholeGpu};

use crate::node::{Scratch, SevenSlices, called, container, lease};
use crate::transaction::{gone, reserve_on};

/// The GPU of seven devices, whose MIG mode can be switched.
struct Switched {
    whole: Cell<bool>,
}

impl Switched {
    fn new(whole: bool) -> Switched {
        Switched {
            whole: Cell::new(whole),
        }
    }
}

impl Gpus for Switched {
    fn inventory(&self) -> Result<Inventory, Failure> {
        let mut inventory = SevenSlices.inventory()?;
        if self.whole.get() {
            inventory.gpus[0].mig = MigMode::Disabled(WholeGpu {
                memory_mib: Some(81_920),
            });
        }
        Ok(inventory)
    }

    fn has_changed(&self) -> bool {
        false
    }

    fn remembered(&self) -> Option<Inventory> {
        None
    }

    fn check(&self, devices: &[Device<'_>]) -> Result<Vec<Checked>, Failure> {
        SevenSlices.check(devices)
    }

    fn nodes(&self, device: Device<'_>) -> Result<Vec<DeviceNode>, Failure> {
        SevenSlices.nodes(device)
    }
}

const WHOLE: &[(&str, &str)] = &[("mig.profile", "gpu")];
const PART: &[(&str, &str)] = &[("mig.profile", "1g.10gb")];

fn file(scratch: &Scratch, name: &str) -> serde_json::Value {
    let text = fs::read_to_string(scratch.path().join(name)).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

fn reserve(node: &Switched, ledger: &Ledger, asks: &[(&str, &str)], id: &str) -> Result<Lease, Failure> {
    reserve_on(node, ledger, asks, container(id), LeaseState::Held)
}

#[test]
fn a_gpu_that_is_leased_whole_is_nobody_elses_in_parts_either() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let node = Switched::new(true);
    let whole = reserve(&node, &ledger, WHOLE, "whole").unwrap();
    assert!(matches!(whole.devices[..], [LeasedDevice::Gpu(_)]));
    let refusal = reserve(&node, &ledger, WHOLE, "b").unwrap_err().to_string();
    assert!(
        refusal.starts_with("no free whole GPU: 1 of 1 held (gpu 0: whole)"),
        "{refusal}"
    );
    node.whole.set(false);
    let refusal = reserve(&node, &ledger, PART, "b").unwrap_err().to_string();
    assert!(
        refusal.starts_with("no free 1g.10gb: 7 of 7 held (gpu 0: whole"),
        "{refusal}"
    );
    ledger.lock().unwrap().remove(&whole).unwrap();
    assert!(
        reserve(&node, &ledger, PART, "b")
            .unwrap()
            .names()
            .eq([called(0)])
    );
}

#[test]
fn a_gpu_of_which_a_part_is_leased_is_nobodys_as_a_whole() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let node = Switched::new(false);
    let part = reserve(&node, &ledger, PART, "part").unwrap();
    node.whole.set(true);
    let refusal = reserve(&node, &ledger, WHOLE, "b").unwrap_err().to_string();
    assert!(
        refusal.starts_with("no free whole GPU: 1 of 1 held (gpu 0: part)"),
        "{refusal}"
    );
    ledger.lock().unwrap().remove(&part).unwrap();
    reserve(&node, &ledger, WHOLE, "b").unwrap();
}

/// Its lease can't be read: what its record says of it counts for its parts too.
#[test]
fn an_unreadable_lease_of_a_whole_gpu_costs_that_gpu() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let node = Switched::new(true);
    let whole = reserve(&node, &ledger, WHOLE, "whole").unwrap();
    let path = scratch.path().join(format!("leases/{}.json", whole.id));
    fs::write(path, "{\"version\":3,").unwrap();
    node.whole.set(false);
    let refusal = reserve(&node, &ledger, PART, "b").unwrap_err().to_string();
    assert!(refusal.contains("7 of 7 held (gpu 0: whole"), "{refusal}");
}

/// So that an earlier program, which knows of no whole GPUs, reads what it can read, and stops at what it can't.
#[test]
fn each_lease_is_of_the_oldest_layout_that_can_say_it() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let node = Switched::new(true);
    let whole = reserve(&node, &ledger, WHOLE, "whole").unwrap();
    let name = whole.names().next().unwrap();
    let written = file(&scratch, &format!("leases/{}.json", whole.id));
    assert_eq!(written["version"], 3);
    assert_eq!(written["devices"][0]["gpu"]["uuid"], name.to_string());
    assert_eq!(file(&scratch, &format!("devices/{name}"))["version"], 3);
    ledger.lock().unwrap().remove(&whole).unwrap();
    assert_eq!(fs::read_dir(scratch.path().join("devices")).unwrap().count(), 0);
    node.whole.set(false);
    let part = reserve(&node, &ledger, PART, "part").unwrap();
    assert_eq!(file(&scratch, &format!("leases/{}.json", part.id))["version"], 2);
    assert_eq!(file(&scratch, &format!("devices/{}", called(0)))["version"], 2);
}

/// Nobody writes it anew for the sake of the number: an earlier program would lose sight of it.
#[test]
fn a_mig_lease_stays_in_its_layout_when_others_reserve() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let old = lease("old", LeaseState::Held);
    ledger.lock().unwrap().put(&old).unwrap();
    reserve(&Switched::new(false), &ledger, PART, "new").unwrap();
    assert_eq!(file(&scratch, &format!("leases/{}.json", old.id))["version"], 2);
}

#[test]
fn a_whole_gpu_of_a_holder_that_is_gone_comes_back() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let node = Switched::new(true);
    reserve_on(&node, &ledger, WHOLE, gone("gone"), LeaseState::Held).unwrap();
    node.whole.set(false);
    let seven = [("mig.profile", "1g.10gb"), ("mig.count", "7")];
    assert_eq!(reserve(&node, &ledger, &seven, "b").unwrap().devices.len(), 7);
}
