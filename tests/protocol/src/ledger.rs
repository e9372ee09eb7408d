//! The ledger's files, as the program's `lease/ledger.rs` writes them: a lease's device records before the lease, and removed
//! after it, each file at once.

use oci_mig_hook::lease::LeaseState;

use crate::cast::MOST;

/// The node's devices.
pub const DEVICES: usize = 2;

/// Some of the node's devices, a bit each.
pub type Devices = u8;

/// What a lease's holder is bound to: the process whose end is the holder's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// The program that reserves, while it asks the driver.
    Reserver,
    /// Who makes the container.
    Maker,
    /// The container's first process.
    First,
}

/// Who holds a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The attempt whose container it is.
    pub who: u8,
    /// Its process.
    pub bound: Bound,
}

/// `leases/<id>.json`. Its id is the attempt that reserved it: each reserves one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Where it is in its life.
    pub state: LeaseState,
    /// Whose it is.
    pub holder: Holder,
    /// What it holds.
    pub devices: Devices,
    /// It was written since the machine last started.
    pub this_boot: bool,
    /// It was written longer than `lease.pending` ago. Pending ones only: of others nobody asks.
    pub is_late: bool,
    /// Its file can be read.
    pub is_readable: bool,
}

/// `devices/<uuid>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The lease that holds the device.
    pub lease: u8,
    /// How many devices that lease holds.
    pub of: u8,
    /// As in the lease.
    pub state: LeaseState,
    /// As in the lease.
    pub holder: Holder,
    /// As in the lease.
    pub this_boot: bool,
    /// As in the lease, but it may be the younger.
    pub is_late: bool,
}

/// The folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Files {
    /// By lease id.
    pub leases: [Option<Lease>; MOST],
    /// By device.
    pub records: [Option<Record>; DEVICES],
}

/// A lease can't be told: any device may be its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

/// One rename or one unlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// `leases/<id>.json` comes to say this, or goes.
    Lease(u8, Option<Lease>),
    /// `devices/<uuid>` comes to say this, or goes.
    Record(usize, Option<Record>),
}

impl Files {
    /// One write.
    pub fn write(&mut self, write: Write) {
        match write {
            Write::Lease(id, lease) => self.leases[usize::from(id)] = lease,
            Write::Record(device, record) => self.records[device] = record,
        }
    }

    /// What can be told of that lease: what it says, or what its devices' records say together where it can't be read.
    ///
    /// # Errors
    /// They say too little.
    pub fn known(&self, id: usize) -> Result<Option<Lease>, Unknown> {
        match self.leases[id] {
            Some(lease) if !lease.is_readable => self.by_records(id).map(Some).ok_or(Unknown),
            lease => Ok(lease),
        }
    }

    /// The records that name that lease.
    pub fn records_of(&self, id: usize) -> impl Iterator<Item = &Record> {
        let of_it = move |record: &&Record| usize::from(record.lease) == id;
        self.records.iter().flatten().filter(of_it)
    }

    /// What its devices' records say of a lease that is there, as the program's `DeviceRecord::together`. A lease's records are
    /// written in their order, so that the first is the youngest.
    pub fn by_records(&self, id: usize) -> Option<Lease> {
        let lease = self.leases[id]?;
        let youngest = self.records_of(id).next()?;
        let is_its = |device: &usize| self.records[*device].is_some_and(|it| usize::from(it.lease) == id);
        let devices = (0..DEVICES)
            .filter(is_its)
            .fold(0, |all, device| all | 1 << device);
        (count(devices) == youngest.of).then_some(Lease {
            state: youngest.state,
            holder: youngest.holder,
            this_boot: youngest.this_boot,
            is_late: youngest.is_late,
            devices,
            ..lease
        })
    }

    /// Removes a lease, and then the records of `devices`, which it has or had. Where it is gone those may be another's.
    pub fn remove(&self, id: u8, devices: Devices, writes: &mut Vec<Write>) {
        if self.leases[usize::from(id)].is_some() {
            writes.push(Write::Lease(id, None));
            writes.extend(each(devices).map(|device| Write::Record(device, None)));
        }
    }

    /// Whether every lease has its devices' records.
    pub fn leases_have_their_records(&self) -> bool {
        (0..MOST).all(|id| {
            let devices = self.leases[id].map_or(0, |lease| lease.devices);
            each(devices).all(|device| {
                let record = self.records[device];
                record.is_some_and(|record| usize::from(record.lease) == id)
            })
        })
    }

    /// Forgets records whose lease isn't there: nobody reads those.
    pub fn forget_leftovers(&mut self) {
        for record in &mut self.records {
            if record.is_some_and(|record| self.leases[usize::from(record.lease)].is_none()) {
                *record = None;
            }
        }
    }
}

/// Writes a lease: its devices' records first.
pub fn put(id: u8, lease: Lease, writes: &mut Vec<Write>) {
    for device in each(lease.devices) {
        let record = Record {
            lease: id,
            of: count(lease.devices),
            state: lease.state,
            holder: lease.holder,
            this_boot: lease.this_boot,
            is_late: lease.is_late,
        };
        writes.push(Write::Record(device, Some(record)));
    }
    writes.push(Write::Lease(id, Some(lease)));
}

/// Each of those devices.
pub fn each(devices: Devices) -> impl Iterator<Item = usize> {
    (0..DEVICES).filter(move |device| devices & 1 << device != 0)
}

/// How many those are.
pub fn count(devices: Devices) -> u8 {
    each(devices).map(|_| 1).sum()
}
