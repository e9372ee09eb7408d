//! The transaction: take back what is free, decide, record. Two reservations never get one device, and a request
//! for several gets all or none.
//!
//! The driver is slow, so the ledger's lock is never held while it is asked:
//!
//! 1. Under the lock: take back what is free, choose from what is remembered of the node, and record the lease, Pending,
//!    bound to this very process. From here on the devices are nobody else's; if this process dies they are taken back.
//! 2. Without it: ask the driver about the chosen devices alone, whether they are what they were and nobody uses them.
//! 3. Under the lock: bind the lease to who makes the container (Pending), or to the container that exists (Held).
//!
//! Where the driver says otherwise in 2, the lease goes back, everything is read anew, and it begins again at 1. Nobody is
//! refused from memory either: a refusal is only given from what was just read.
//!
//! One who waits (`mig.wait`) has a ticket, and in 1 leaves to earlier ones, as everybody does, what they could be served
//! with. Refused in 1 he sleeps until something changes, and begins again. His ticket goes when he is served or gives up.

#![forbid(unsafe_code)]

mod asker;
mod choice;
mod known;
mod places;
mod used;
mod waiter;

use std::time::Duration;

use crate::failure::Failure;
use crate::lease::liveness::{self, Here};
use crate::lease::transition::{self, Checks, Fate};
use crate::lease::{
    Container, End, Holder, Judge, Judged, Lease, LeaseId, LeaseState, LeasedDevice, Ledger, LockedLedger,
    Ticket, layout,
};
use crate::mig::Gpus;
use crate::policy::Limits;

pub use asker::Asker;
use asker::runs_already;
use choice::Chooser;
use known::{Known, Verdict};
use waiter::Waiter;

/// What a reservation works with.
pub struct Reserver<'a> {
    /// This node's GPUs.
    pub gpus: &'a dyn Gpus,
    /// The leases.
    pub ledger: &'a Ledger,
    /// Where we stand, to judge other holders from.
    pub here: &'a Here,
    /// What any one container may take.
    pub limits: &'a Limits,
    /// How long a lease may wait for its container.
    pub pending: Duration,
    /// How many may wait at once.
    pub waiting: usize,
    /// How long the engine lets us take, where that is known.
    pub patience: Option<Duration>,
    /// Hears of a wait, now and then.
    pub tell: &'a dyn Fn(&Failure),
}

/// What came of one try.
enum Tried {
    /// The asker has it.
    Served(Lease),
    /// The asker has it once the driver agrees.
    Reserved(Lease),
    /// Nothing serves it, as far as is known.
    Refused(Refused),
}

/// Why nothing serves an asker.
struct Refused {
    failure: Failure,
    /// It is a matter of time.
    may_pass: bool,
    /// How many wait before it.
    before: usize,
    /// The ends of those who may be in its way.
    ends: Vec<End>,
}

impl Reserver<'_> {
    /// Reserves devices for `asker`. One that asks again for the same gets its lease again.
    ///
    /// # Errors
    /// A refusal with its evidence; a host failure of the driver or the ledger. Nothing is reserved then.
    pub fn reserve(&self, asker: Asker) -> Result<Lease, Failure> {
        let mut waiter = None;
        let reserved = self.try_until_served(&asker, &mut waiter);
        if let Some(waiter) = waiter.filter(|waiter| waiter.ticket.has_place()) {
            // Where it can't be removed it is void all the same, once this process has ended or its time is over.
            let _ = self
                .ledger
                .lock()
                .and_then(|mut ledger| ledger.leave(&waiter.ticket));
        }
        reserved
    }

    fn try_until_served(&self, asker: &Asker, waiter: &mut Option<Waiter>) -> Result<Lease, Failure> {
        let mut known = Known::of(self.gpus)?;
        loop {
            let ticket = waiter.as_mut().map(|waiter| &mut waiter.ticket);
            let refused = match self.choose(asker, &mut known, ticket)? {
                Tried::Served(lease) => return Ok(lease),
                Tried::Reserved(lease) => match self.with_the_drivers_word(asker, &mut known, lease)? {
                    Some(lease) => return Ok(lease),
                    None => continue,
                },
                Tried::Refused(refused) => refused,
            };
            match waiter {
                Some(waiter) if refused.may_pass => waiter.sleep(self, &mut known, refused)?,
                _ if !known.is_fresh() => known.read_anew(self.gpus)?,
                None if refused.may_pass => match Waiter::new(self, asker)? {
                    None => return Err(refused.failure),
                    new => *waiter = new,
                },
                _ => return Err(refused.failure),
            }
        }
    }

    /// The first step: a lease for devices that nobody holds and nobody waits for longer, as far as is known of them. One
    /// who waits, and is refused, has his place from here on.
    fn choose(
        &self,
        asker: &Asker,
        known: &mut Known,
        mut ticket: Option<&mut Ticket>,
    ) -> Result<Tried, Failure> {
        let mut ledger = self.ledger.lock()?;
        let living = self.living(&mut ledger, asker)?;
        let queue = ledger.living_queue(self.here)?;
        if living.iter().any(|lease| asker.is_another_run_of(lease)) {
            return Err(runs_already(&asker.container));
        }
        if let Some(same) = living.iter().find(|lease| asker.asked_for(lease)) {
            return renew(&mut ledger, same.clone(), asker.container.clone()).map(Tried::Served);
        }
        // A container isn't made twice at once: what it reserved for an earlier try is void once this one is served.
        let (void, held): (Vec<_>, Vec<_>) = living
            .iter()
            .partition(|lease| asker.holds(lease) && lease.state == LeaseState::Pending);
        let chooser = Chooser {
            gpus: self.gpus,
            limits: self.limits,
            held,
            earlier: waiter::earlier(&queue, ticket.as_deref()),
        };
        let devices = match chooser.choose(&asker.request, known) {
            Ok(devices) => devices,
            Err((failure, may_pass)) => {
                if let Some(ticket) = ticket.filter(|_| may_pass) {
                    waiter::take_place(&mut ledger, &queue, ticket, known, self.waiting)?;
                }
                return Ok(Tried::Refused(Refused {
                    failure,
                    may_pass,
                    before: chooser.earlier.len(),
                    ends: waiter::ends(self, &living, &queue),
                }));
            }
        };
        let lease = self.lease(asker, known, devices)?;
        for earlier in void {
            ledger.remove(earlier)?;
        }
        ledger.put(&lease)?;
        if let Some(ticket) = ticket.as_mut().filter(|ticket| ticket.has_place()) {
            ticket.served = true;
            ledger.enter(&queue, ticket)?;
        }
        Ok(Tried::Reserved(lease))
    }

    /// The leases that stand after those of gone holders are taken back. One that can't be read stands for its devices,
    /// as far as they are known. Of others' no more is known than their devices' records say.
    fn living(&self, ledger: &mut LockedLedger<'_>, asker: &Asker) -> Result<Vec<Lease>, Failure> {
        let judge = Judge {
            here: self.here,
            pending: self.pending,
            besides: asker.own_process(),
        };
        // Whatever of its own name may be its own lease, to be given to it again as it is.
        let is_of_its_name = |lease: &Lease| lease.holder.container().id == asker.container.id;
        let judgement = ledger.judge(judge, is_of_its_name)?;
        if let Some(unknown) = judgement.unknown.first() {
            return Err(unknown.failure());
        }
        for judged in &judgement.leases {
            ledger.carry_out(judged)?;
        }
        ledger.seal();
        let stands = |judged: Judged| (judged.fate != Fate::Remove).then_some(judged.lease);
        Ok(judgement.leases.into_iter().filter_map(stands).collect())
    }

    /// A lease that lasts as long as this process, or `lease.pending`.
    fn lease(&self, asker: &Asker, known: &Known, devices: Vec<LeasedDevice>) -> Result<Lease, Failure> {
        let own = nix::unistd::getpid().as_raw();
        Ok(Lease {
            version: layout(&devices),
            id: LeaseId::random()?,
            state: LeaseState::Pending,
            devices,
            holder: Holder::Container(Container {
                process: self.here.name_process(own)?,
                own_pid_namespace: false,
                ..asker.container.clone()
            }),
            request: asker.request.clone().into(),
            boot_id: self.here.boot_id.clone(),
            driver: known.driver().to_owned(),
            written: liveness::now(),
        })
    }

    /// The second step and the third: the lease as the asker is to have it. None where the driver objects to a device:
    /// then it is known better, and the lease is gone.
    fn with_the_drivers_word(
        &self,
        asker: &Asker,
        known: &mut Known,
        lease: Lease,
    ) -> Result<Option<Lease>, Failure> {
        match known.check(self.gpus, self.here, &lease) {
            Ok(Verdict::Good) => self.hand_over(asker, lease).map(Some),
            Ok(Verdict::Objects) => {
                self.ledger.lock()?.remove(&lease)?;
                Ok(None)
            }
            Err(failure) => Err(self.undo(&lease, failure)),
        }
    }

    fn hand_over(&self, asker: &Asker, lease: Lease) -> Result<Lease, Failure> {
        let lease = Lease {
            state: asker.state,
            holder: Holder::Container(asker.container.clone()),
            written: liveness::now(),
            ..lease
        };
        let mut ledger = self.ledger.lock()?;
        let found = ledger.get(&lease.id)?.map(|found| found.state);
        if !transition::is_still_reserved(found, Checks::ALL) {
            return Err(taken_back_meanwhile());
        }
        match ledger.put(&lease) {
            Ok(()) => Ok(lease),
            // It would stand as this process's own until somebody looks.
            Err(failure) => Err(match ledger.remove(&lease) {
                Ok(()) => failure,
                Err(other) => failure.and(&other),
            }),
        }
    }

    fn undo(&self, lease: &Lease, failure: Failure) -> Failure {
        match self.ledger.lock().and_then(|mut ledger| ledger.remove(lease)) {
            Ok(()) => failure,
            Err(other) => failure.and(&other),
        }
    }
}

fn taken_back_meanwhile() -> Failure {
    let why = "asking the driver took longer than lease.pending, or somebody released it";
    Failure::host("this container's reservation was taken back", why)
        .remedy("start the container again; if it happens again, raise lease.pending")
}

/// Gives a pending lease its whole time again, bound to who makes its container now. Any other stays as it is.
///
/// # Errors
/// A host failure where the ledger can't be changed.
pub fn renew(
    ledger: &mut LockedLedger<'_>,
    mut lease: Lease,
    container: Container,
) -> Result<Lease, Failure> {
    if lease.state == LeaseState::Pending {
        lease.holder = Holder::Container(container);
        lease.written = liveness::now();
        ledger.put(&lease)?;
    }
    Ok(lease)
}
