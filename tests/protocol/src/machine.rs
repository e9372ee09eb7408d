//! The machine as it is, whether or not anybody can see it: which processes live, what each attempt has come to, and what
//! its config.json says.

use oci_mig_hook::lease::LeaseState;

use crate::cast::{Cast, MOST};
use crate::ledger::{Bound, Devices, Files, Holder, Lease};

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It hasn't begun.
    Idle,
    /// Its hook is about to reserve: at a live container, or for the second time.
    Choosing,
    /// Reserved; its hook asks the driver about the chosen devices.
    Asking,
    /// Its hook has bound the lease to the maker, and is about to hand the config on.
    Handing,
    /// Its config names its lease and devices; the container isn't made yet.
    Ready,
    /// The container's first process exists and waits for the hooks.
    Made,
    /// It has its lease, and its hook puts the devices into it.
    Injecting,
    /// A hook failed. The container's first process is about to be killed.
    TurnedAway,
    /// The container runs.
    Running,
    /// It has ended, or never came into being.
    Over,
}

/// What a config.json says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// The lease that it names.
    pub lease: u8,
    /// The devices that are edited into it.
    pub devices: Devices,
}

/// One attempt to make a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// How far it has come.
    pub phase: Phase,
    /// The container's first process lives.
    pub first: bool,
    /// Processes of the container live that its first one left behind.
    pub left: bool,
    /// What its config says; of one that is served live, what it was given.
    pub config: Option<Config>,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Which cast plays.
    pub cast: u16,
    /// The ledger.
    pub files: Files,
    /// The attempts.
    pub attempts: [Attempt; MOST],
    /// Which makers live.
    pub makers: [bool; MOST],
    /// The machine was restarted.
    pub rebooted: bool,
    /// It was decided to take a lease from a holder that lives.
    pub robbed: bool,
    /// Something is left, and without a disturbance nothing can happen any more.
    pub stuck: bool,
}

impl Attempt {
    const IDLE: Attempt = Attempt {
        phase: Phase::Idle,
        first: false,
        left: false,
        config: None,
    };

    /// It never came into being, and nothing is left of it.
    const OVER: Attempt = Attempt {
        phase: Phase::Over,
        ..Attempt::IDLE
    };

    /// The same, further on.
    pub fn now(self, phase: Phase) -> Attempt {
        Attempt { phase, ..self }
    }

    /// Its hook failed or was killed before the container was handed anything: a container that exists is killed.
    pub fn failed(self) -> Attempt {
        let phase = if self.first {
            Phase::TurnedAway
        } else {
            Phase::Over
        };
        Attempt {
            config: None,
            ..self.now(phase)
        }
    }

    /// Whether something runs that has the devices of its config.
    pub fn uses_devices(self) -> bool {
        self.phase == Phase::Running || self.left
    }

    /// The devices that something of it can use.
    pub fn used(self) -> Devices {
        match self.config {
            Some(config) if self.uses_devices() => config.devices,
            _ => 0,
        }
    }

    /// Its reserving hook lives.
    pub fn has_reserver(self) -> bool {
        matches!(
            self.phase,
            Phase::Choosing | Phase::Asking | Phase::Handing | Phase::Injecting
        )
    }
}

impl State {
    /// Nothing has happened.
    pub fn first(cast: u16) -> State {
        State {
            cast,
            files: Files::default(),
            attempts: [Attempt::IDLE; MOST],
            makers: [true; MOST],
            rebooted: false,
            robbed: false,
            stuck: false,
        }
    }

    /// Whether everything is over, and every device back.
    pub fn is_over(&self) -> bool {
        let is_over = |attempt: &Attempt| matches!(attempt.phase, Phase::Idle | Phase::Over) && !attempt.left;
        self.attempts.iter().all(is_over) && self.files.leases.iter().all(Option::is_none)
    }

    /// Whether a holder's very process lives.
    pub fn lives(&self, cast: &Cast, holder: Holder) -> bool {
        let who = usize::from(holder.who);
        match holder.bound {
            Bound::Reserver => self.attempts[who].has_reserver(),
            Bound::Maker => self.makers[usize::from(cast.role(who).maker)],
            Bound::First => self.attempts[who].first,
        }
    }

    /// Whether anything runs in the cgroup of `who`'s container, besides the first process of `besides`.
    pub fn is_populated(&self, cast: &Cast, who: usize, besides: Option<usize>) -> bool {
        let id = cast.role(who).id;
        let inside = |other: &usize| cast.role(*other).id == id && cast.role(*other).has_cgroup;
        let mut others = cast.attempts().filter(inside);
        others.any(|other| {
            let attempt = self.attempts[other];
            attempt.left || (attempt.first && besides != Some(other))
        })
    }

    /// A change of one lease's file that nobody writes.
    pub fn lease(&mut self, id: usize, change: impl FnOnce(&mut Lease)) {
        if let Some(lease) = &mut self.files.leases[id] {
            change(lease);
        }
    }

    /// `lease.pending` is over for that lease. Of others nobody asks, so that these have no age.
    pub fn time_is_up(&mut self, id: usize) {
        self.lease(id, |lease| lease.is_late |= lease.state == LeaseState::Pending);
        let records = self.files.records.iter_mut().flatten();
        for record in records.filter(|record| usize::from(record.lease) == id) {
            record.is_late |= record.state == LeaseState::Pending;
        }
    }

    /// Everything that runs ends. Attempts that hadn't begun may begin afterwards.
    pub fn reboot(&mut self, wipes: bool) {
        self.rebooted = true;
        for attempt in &mut self.attempts {
            if attempt.has_reserver() {
                *attempt = Attempt::OVER;
            } else if attempt.phase != Phase::Idle {
                *attempt = Attempt {
                    first: false,
                    left: false,
                    ..attempt.now(Phase::Over)
                };
            }
        }
        for id in 0..MOST {
            self.lease(id, |lease| lease.this_boot = false);
        }
        for record in self.files.records.iter_mut().flatten() {
            record.this_boot = false;
        }
        if wipes {
            self.files = Default::default();
        }
    }

    /// Forgets what can't matter any more, so that states which differ in nothing else are one.
    pub fn tidy(mut self, cast: &Cast) -> State {
        self.files.forget_leftovers();
        for maker in 0..MOST {
            self.makers[maker] &= self.needs_maker(cast, maker);
        }
        let all_begun = cast.attempts().all(|who| self.attempts[who].phase != Phase::Idle);
        for who in cast.attempts() {
            let attempt = &mut self.attempts[who];
            let names_nothing = |config: &Config| self.files.leases[usize::from(config.lease)].is_none();
            if all_begun && attempt.phase == Phase::Over && !attempt.left {
                attempt.config = attempt.config.filter(|config| !names_nothing(config));
            }
        }
        self
    }

    fn needs_maker(&self, cast: &Cast, maker: usize) -> bool {
        let is_its = |who: usize| usize::from(cast.role(who).maker) == maker;
        let to_come = cast.attempts().any(|who| {
            let phase = self.attempts[who].phase;
            is_its(who) && !matches!(phase, Phase::Running | Phase::TurnedAway | Phase::Over)
        });
        let names_it = |holder: Holder| holder.bound == Bound::Maker && is_its(usize::from(holder.who));
        let files = &self.files;
        let mut leases = files.leases.iter().flatten();
        to_come
            || leases.any(|lease| names_it(lease.holder))
            || files
                .records
                .iter()
                .flatten()
                .any(|record| names_it(record.holder))
    }
}
