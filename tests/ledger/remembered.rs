//! A reservation from memory: what is remembered of the node serves only as long as the driver agrees, refuses nobody, and
//! the devices are nobody else's while the driver is asked.

use std::cell::{Cell, RefCell};

use oci_mig_hook::failure::Failure;
use oci_mig_hook::lease::{LeaseState, Ledger};
use oci_mig_hook::mig::{Checked, Device, DeviceName, DeviceNode, Gpus, Inventory, MigDevice, MigMode, User};

use crate::node::{Scratch, SevenSlices, called, container};
use crate::transaction::reserve_on;

type Answer<'a> = dyn Fn(&MigDevice) -> Checked + 'a;

/// Seven devices, as many of them remembered as wanted, and a driver that answers as it is told.
struct Node<'a> {
    remembered: usize,
    read: Cell<u32>,
    asked: RefCell<Vec<DeviceName>>,
    answer: Box<Answer<'a>>,
}

impl<'a> Node<'a> {
    fn new(remembered: usize, answer: impl Fn(&MigDevice) -> Checked + 'a) -> Node<'a> {
        Node {
            remembered,
            read: Cell::new(0),
            asked: RefCell::default(),
            answer: Box::new(answer),
        }
    }

    fn asked(&self) -> Vec<DeviceName> {
        self.asked.borrow().clone()
    }
}

impl Gpus for Node<'_> {
    fn has_changed(&self) -> bool {
        false
    }

    fn remembered(&self) -> Option<Inventory> {
        let mut inventory = SevenSlices.inventory().unwrap();
        if let MigMode::Enabled { devices, .. } = &mut inventory.gpus[0].mig {
            devices.truncate(self.remembered);
        }
        (self.remembered > 0).then_some(inventory)
    }

    fn inventory(&self) -> Result<Inventory, Failure> {
        self.read.set(self.read.get() + 1);
        SevenSlices.inventory()
    }

    fn check(&self, devices: &[Device<'_>]) -> Result<Vec<Checked>, Failure> {
        let asked = devices.iter().map(|device| device.name());
        self.asked.borrow_mut().extend(asked);
        let answer = |device: &Device<'_>| match device {
            Device::Mig { device, .. } => (self.answer)(device),
            Device::Whole { .. } => panic!("no whole GPU: {device:?}"),
        };
        Ok(devices.iter().map(answer).collect())
    }

    fn nodes(&self, _: Device<'_>) -> Result<Vec<DeviceNode>, Failure> {
        Ok(vec![])
    }
}

const ONE: &[(&str, &str)] = &[("mig.profile", "1g.10gb")];

fn slice(device: &MigDevice) -> u32 {
    device.placement.start
}

#[test]
fn what_is_remembered_serves_and_only_the_chosen_device_is_asked_about() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let node = Node::new(7, |_| Checked::AsKnown);
    let lease = reserve_on(&node, &ledger, ONE, container("a"), LeaseState::Held).unwrap();
    assert_eq!((node.read.get(), node.asked()), (0, vec![called(0)]));
    assert_eq!(ledger.contents().unwrap().leases, [lease]);
}

#[test]
fn while_the_driver_is_asked_the_device_is_nobody_elses_and_bound_to_who_asks() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let seen = RefCell::new(Vec::new());
    let node = Node::new(7, |_| {
        seen.replace(ledger.contents().unwrap().leases);
        let other = Node::new(7, |_| Checked::AsKnown);
        let lease = reserve_on(&other, &ledger, ONE, container("b"), LeaseState::Held).unwrap();
        assert_eq!(lease.names().collect::<Vec<_>>(), [called(1)]);
        Checked::AsKnown
    });
    let lease = reserve_on(&node, &ledger, ONE, container("a"), LeaseState::Held).unwrap();
    let seen = seen.take();
    assert_eq!(
        (seen.len(), seen[0].state, &seen[0].id),
        (1, LeaseState::Pending, &lease.id)
    );
    assert_eq!(seen[0].holder.container().process.pid, std::process::id() as i32);
    assert_eq!(lease.state, LeaseState::Held);
}

#[test]
fn a_device_that_differs_from_memory_has_all_read_anew_and_is_chosen_again() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let differs = Cell::new(true);
    let node = Node::new(7, |_| match differs.replace(false) {
        true => Checked::Differs("it is another".into()),
        false => Checked::AsKnown,
    });
    let lease = reserve_on(&node, &ledger, ONE, container("a"), LeaseState::Held).unwrap();
    assert_eq!((node.read.get(), node.asked()), (1, vec![called(0), called(0)]));
    assert_eq!(
        ledger.contents().unwrap().leases,
        [lease],
        "the first lease went back"
    );
}

/// A waiter wakes again and again; a device that differs from what was just read is left alone for a while, and so is one that
/// somebody uses. The driver is asked once about each, and read once at the end.
#[test]
fn a_waiter_does_not_ask_the_driver_without_pause() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let node = Node::new(7, |device| match slice(device) {
        0 => Checked::InUse(vec![User {
            pid: std::process::id(),
            name: "test".into(),
        }]),
        _ => Checked::Differs("made up".into()),
    });
    let waits = [("mig.profile", "1g.10gb"), ("mig.wait", "3s")];
    let failure = reserve_on(&node, &ledger, &waits, container("a"), LeaseState::Held).unwrap_err();
    assert!(failure.to_string().contains("made up"), "{failure}");
    assert!(node.read.get() <= 2, "read {} times", node.read.get());
    assert!(node.asked().len() <= 3 * 7, "asked {} times", node.asked().len());
    assert_eq!(ledger.contents().unwrap().leases, []);
}

#[test]
fn nobody_is_refused_from_memory() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    // One device is remembered, and there are seven.
    let node = Node::new(1, |_| Checked::AsKnown);
    let two = [("mig.profile", "1g.10gb"), ("mig.count", "2")];
    reserve_on(&node, &ledger, &two, container("a"), LeaseState::Held).unwrap();
    assert_eq!(node.read.get(), 1);
    let none = [("mig.profile", "7g.80gb")];
    let failure = reserve_on(&node, &ledger, &none, container("b"), LeaseState::Held).unwrap_err();
    assert_eq!((failure.exit() as i32, node.read.get()), (1, 2));
}

#[test]
fn what_somebody_outside_our_leases_uses_is_passed_over_and_named() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let user = |pid| User {
        pid,
        name: "python3".into(),
    };
    let node = Node::new(7, |device| match slice(device) {
        0 => Checked::InUse(vec![user(4711)]),
        1 => Checked::InUse(vec![user(1), user(2)]),
        _ => Checked::AsKnown,
    });
    let lease = reserve_on(&node, &ledger, ONE, container("a"), LeaseState::Held).unwrap();
    assert_eq!(lease.names().collect::<Vec<_>>(), [called(2)]);
    assert_eq!((node.read.get(), node.asked().len()), (0, 3));
    let six = [("mig.profile", "1g.10gb"), ("mig.count", "6")];
    let refusal = reserve_on(&node, &ledger, &six, container("b"), LeaseState::Held).unwrap_err();
    let five = [("mig.profile", "1g.10gb"), ("mig.count", "5")];
    let named = reserve_on(&node, &ledger, &five, container("b"), LeaseState::Held).unwrap_err();
    assert_eq!((refusal.exit() as i32, named.exit() as i32), (1, 1));
    for name in [
        "process 4711 (python3) outside any lease",
        "process 1 (python3) and 1 more outside any lease",
    ] {
        assert!(named.to_string().contains(name), "{named}");
    }
    assert_eq!(ledger.contents().unwrap().leases, [lease]);
}

#[test]
fn a_device_that_changes_between_two_answers_is_left_out_and_named() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let node = Node::new(0, |device| match slice(device) {
        0 => Checked::Differs("its profile changes".into()),
        _ => Checked::AsKnown,
    });
    let all = [("mig.profile", "1g.10gb"), ("mig.count", "7")];
    let failure = reserve_on(&node, &ledger, &all, container("a"), LeaseState::Held).unwrap_err();
    assert!(failure.to_string().contains("its profile changes"), "{failure}");
    assert_eq!(ledger.contents().unwrap().leases, []);
}

#[test]
fn a_driver_that_does_not_answer_leaves_nothing_reserved() {
    struct Mute;
    impl Gpus for Mute {
        fn has_changed(&self) -> bool {
            false
        }

        fn remembered(&self) -> Option<Inventory> {
            Some(SevenSlices.inventory().unwrap())
        }
        fn inventory(&self) -> Result<Inventory, Failure> {
            Err(Failure::host("mute", "made up"))
        }
        fn check(&self, _: &[Device<'_>]) -> Result<Vec<Checked>, Failure> {
            Err(Failure::host("mute", "made up"))
        }
        fn nodes(&self, _: Device<'_>) -> Result<Vec<DeviceNode>, Failure> {
            Ok(vec![])
        }
    }
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let failure = reserve_on(&Mute, &ledger, ONE, container("a"), LeaseState::Held).unwrap_err();
    assert_eq!(failure.to_string(), "mute: made up");
    assert_eq!(ledger.contents().unwrap().leases, []);
}

/// It was overdue, or somebody released it: another may have the device by now.
#[test]
fn a_reservation_that_is_taken_back_while_the_driver_is_asked_is_not_handed_over() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let node = Node::new(7, |_| {
        let lease = ledger.contents().unwrap().leases.remove(0);
        ledger.lock().unwrap().remove(&lease).unwrap();
        Checked::AsKnown
    });
    let failure = reserve_on(&node, &ledger, ONE, container("a"), LeaseState::Held).unwrap_err();
    assert!(
        failure
            .to_string()
            .starts_with("this container's reservation was taken back: ")
    );
    assert_eq!(failure.exit() as i32, 3);
    assert_eq!(ledger.contents().unwrap().leases, []);
}

/// Its devices are free at once, not only once somebody finds that the process which reserved them is gone.
#[test]
fn a_reservation_that_can_not_be_handed_over_goes_back() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let devices = scratch.path().join("devices");
    let node = Node::new(7, |_| {
        std::fs::rename(&devices, scratch.path().join("elsewhere")).unwrap();
        std::fs::write(&devices, "no folder").unwrap();
        Checked::AsKnown
    });
    let failure = reserve_on(&node, &ledger, ONE, container("a"), LeaseState::Held).unwrap_err();
    let text = failure.to_string();
    assert!(text.starts_with("ledger: can't write "), "{text}");
    assert_eq!(ledger.contents().unwrap().leases, []);
}
