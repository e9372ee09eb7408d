//! Waiting for a device: a place in the queue, and sleep until something changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Asker, Refused, Reserver};
use crate::failure::Failure;
use crate::lease::{End, Ticket, Watch};
use crate::policy::Earlier;
use crate::request::{Request, Wait, keys};

/// How often a change of place is worth a line, and how often no change is.
const TOLD: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// One who waits.
pub struct Waiter {
    /// Its place.
    pub ticket: Ticket,
    wait: Wait,
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
        let request: BTreeMap<String, String> = asker.request.clone().into();
        // What goes from here on wakes it, so that nothing is missed between the next look and the sleep after it.
        let watch = Watch::new(reserver.ledger)?;
        let time = reserver
            .patience
            .map_or(wait.duration(), |patience| wait.duration().min(patience));
        let ticket = Ticket::new(reserver.here, &asker.container.id, request, time)?;
        Ok(Some(Waiter {
            ticket,
            wait,
            watch,
            is_last: false,
            told: None,
        }))
    }

    /// Sleeps until something changes. After its time, has the node read a last time, and then gives up.
    pub fn sleep(
        &mut self,
        reserver: &Reserver<'_>,
        known: &mut super::Known,
        refused: Refused,
    ) -> Result<(), Failure> {
        let left = self.ticket.left();
        if left.is_zero() {
            if self.is_last {
                return Err(self.expired(&refused.failure));
            }
            self.is_last = true;
            return known.read_anew(reserver.gpus);
        }
        self.tell(reserver, &refused, left);
        self.watch.sleep(refused.ends.iter().chain(known.ends()), left);
        known.catch_up(reserver.gpus);
        Ok(())
    }

    fn tell(&mut self, reserver: &Reserver<'_>, refused: &Refused, left: Duration) {
        let now = Instant::now();
        let (changed, same) = TOLD;
        let is_due = self.told.is_none_or(|(before, at)| {
            let pause = if before == refused.before { same } else { changed };
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

    /// The refusal of one who has waited long enough.
    fn expired(&self, refused: &Failure) -> Failure {
        let (what, why, _) = refused.parts();
        let waited = Duration::from_millis(self.ticket.until - self.ticket.since);
        let failure = Failure::refused(format!("{what} within {}s", waited.as_secs()), why);
        match waited < self.wait.duration() {
            true => failure.remedy(format!(
                "{}={} is longer than the hook's own timeout allows: raise that in the hook's entry",
                keys::WAIT,
                self.wait
            )),
            false => failure.remedy(format!("raise {}, or see 'oci-mig-hook status'", keys::WAIT)),
        }
    }
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
