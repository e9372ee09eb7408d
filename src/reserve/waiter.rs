//! Waiting for a device: a place in the queue, and sleep until something changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Asker, Known, Refused, Reserver};
use crate::failure::{Exit, Failure};
use crate::lease::transition::ProcessState;
use crate::lease::{End, LockedLedger, Process, Ticket, Watch};
use crate::policy::Earlier;
use crate::request::{Request, Wait, keys};

/// How often a change of place is worth a line.
const CHANGED: Duration = Duration::from_secs(10);

/// How often no change is.
const UNCHANGED: Duration = Duration::from_secs(60);

/// One who waits.
pub struct Waiter {
    /// Its place.
    pub ticket: Ticket,
    wait: Wait,
    /// The process whose end would be the lease's.
    maker: Process,
    watch: Watch,
    /// Its time is over, and the node was read a last time.
    is_last: bool,
    told: Option<(usize, Instant)>,
}

impl Waiter {
    /// A waiter without a place yet; none where the asker doesn't wait.
    pub fn new(reserver: &Reserver<'_>, asker: &Asker) -> Result<Option<Waiter>, Failure> {
        let Some(wait) = asker.request.wait() else {
            return Ok(None);
        };
        let mut request: BTreeMap<String, String> = asker.request.clone().into();
        // Or what it can't use would be kept for it.
        request.extend(asker.request.requirements().variables());
        // What goes from here on wakes it, so that nothing is missed between the next look and the sleep after it.
        let watch = Watch::new(reserver.ledger)?;
        let time = reserver
            .patience
            .map_or(wait.duration(), |patience| wait.duration().min(patience));
        let ticket = Ticket::new(reserver.here, &asker.container.id, request, time)?;
        Ok(Some(Waiter {
            ticket,
            wait,
            maker: asker.container.process,
            watch,
            is_last: false,
            told: None,
        }))
    }

    /// Sleeps until something changes. After its time, has the node read a last time, and then gives up.
    pub fn sleep(
        &mut self,
        reserver: &Reserver<'_>,
        known: &mut Known,
        refused: Refused,
    ) -> Result<(), Failure> {
        if reserver.here.process_state(&self.maker) == ProcessState::Gone {
            return Err(self.in_vain());
        }
        let left = self.ticket.left();
        if left.is_zero() {
            if self.is_last {
                return Err(self.expired(refused.failure));
            }
            self.is_last = true;
            return known.look_afresh(reserver.gpus);
        }
        self.tell(reserver, &refused, left);
        let maker = reserver.here.end_of(&self.maker);
        let ends = refused.ends.iter().chain(known.ends()).chain(&maker);
        self.watch.sleep(ends, left);
        known.catch_up(reserver.gpus);
        Ok(())
    }

    /// Nobody will take what it would get: its engine was killed, or the container has ended.
    fn in_vain(&self) -> Failure {
        let what = format!("container {} waits no longer", self.ticket.short_name());
        let why = format!("process {}, for which it waited, is gone", self.maker.pid);
        Failure::refused(what, why).remedy("start it again")
    }

    fn tell(&mut self, reserver: &Reserver<'_>, refused: &Refused, left: Duration) {
        let now = Instant::now();
        let is_due = self.told.is_none_or(|(before, at)| {
            let pause = if before == refused.before {
                UNCHANGED
            } else {
                CHANGED
            };
            now.duration_since(at) >= pause
        });
        if !is_due {
            return;
        }
        self.told = Some((refused.before, now));
        let place = match refused.before {
            0 => "first in line".to_owned(),
            before => format!("{before} before it"),
        };
        let (what, why, _) = refused.failure.parts();
        let seconds = left.as_secs_f64().ceil();
        (reserver.tell)(&Failure::refused(
            format!("container {} waits", self.ticket.short_name()),
            format!("{what}: {why}; {place}, {seconds}s left"),
        ));
    }

    /// The refusal of one who has waited long enough. What isn't a matter of waiting stays as it is.
    fn expired(&self, refused: Failure) -> Failure {
        if refused.exit() != Exit::Refused {
            return refused;
        }
        let (what, why, _) = refused.parts();
        let waited = Duration::from_millis(self.ticket.until - self.ticket.since);
        let failure = Failure::refused(format!("{what} within {}s", waited.as_secs()), why);
        match waited < self.wait.duration() {
            true => failure.remedy(format!(
                "{}={} is longer than the hook may take: raise 'timeout' in the hook's entry",
                keys::WAIT,
                self.wait
            )),
            false => failure.remedy(format!("raise {}, or see 'oci-mig-hook status'", keys::WAIT)),
        }
    }
}

/// Gives a waiter its place, or writes down what it has found out, so that nothing is kept for it that it can't use.
///
/// # Errors
/// A refusal where too many wait already; a host failure where the ledger can't be changed.
pub fn take_place(
    ledger: &mut LockedLedger<'_>,
    queue: &[Ticket],
    ticket: &mut Ticket,
    known: &Known,
    most: usize,
) -> Result<(), Failure> {
    if !ticket.has_place() && queue.len() >= most {
        let why = format!("{} wait already, and no more may (limits.waiting)", queue.len());
        return Err(Failure::refused("no place in the queue", why)
            .remedy("start it again later, or raise limits.waiting in the configuration"));
    }
    ticket.served = false;
    ticket.avoids = known.used().devices();
    ledger.enter(queue, ticket)
}

/// Those in the queue before `ticket` (all of them, where it has no place) that something is to be kept for.
pub fn earlier(queue: &[Ticket], ticket: Option<&Ticket>) -> Vec<Earlier> {
    let own = ticket.filter(|ticket| ticket.has_place());
    let before = queue
        .iter()
        .filter(|other| !other.served && own.is_none_or(|own| other.number < own.number));
    before
        .filter_map(|ticket| {
            Some(Earlier {
                // One that this version doesn't understand keeps nothing.
                request: Request::try_from(ticket.request.clone()).ok()?,
                name: ticket.short_name(),
                avoids: ticket.avoids.clone(),
            })
        })
        .collect()
}

/// The ends that could change what an asker was refused: of those who hold, and of those before it in the queue.
pub fn ends(reserver: &Reserver<'_>, living: &[crate::lease::Lease], queue: &[Ticket]) -> Vec<End> {
    let holders = living.iter().map(|lease| &lease.holder.container().process);
    let mut processes: Vec<_> = holders
        .chain(queue.iter().map(|ticket| &ticket.process))
        .copied()
        .collect();
    processes.retain(|process| process.pid != nix::unistd::getpid().as_raw());
    processes.sort_by_key(|process| (process.pid_namespace, process.pid, process.start));
    processes.dedup();
    processes
        .iter()
        .filter_map(|process| reserver.here.end_of(process))
        .collect()
}
