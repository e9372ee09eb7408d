//! `gc`: takes back every lease whose holder is gone, and says why. A reservation does the same first; this is for who
//! wants to see it, or wants it done while nothing starts.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::words::{self, Standing, counted};
use crate::config::Config;
use crate::failure::{Failure, one_line};
use crate::lease::liveness::Here;
use crate::lease::transition::Fate;
use crate::lease::{Holder, Judge, Judged, Judgement, LeaseId, LeaseState, Ledger, LockedLedger, Unreadable};
use crate::mig::DeviceName;

/// What a collection did, or would do; `--json` prints it as it is.
#[derive(Default, Serialize)]
struct Collected {
    /// Nothing was changed.
    dry_run: bool,
    /// Leases whose devices are free now.
    taken_back: Vec<Told>,
    /// Leases whose devices are not free yet, though nobody can be seen to hold them.
    not_yet_free: Vec<Told>,
    /// How many containers hold their devices.
    in_use: usize,
    /// How many are being made.
    being_made: usize,
    /// What killed processes had left behind.
    leftovers: Vec<PathBuf>,
    /// Lease files that can't be read, and whose devices stay out of use.
    unreadable: Vec<UnreadableFile>,
}

#[derive(Serialize)]
struct Told {
    lease: LeaseId,
    devices: Vec<DeviceName>,
    holder: Holder,
    /// The state that it was in.
    state: LeaseState,
    /// `holder_gone`, `maker_gone`, `overdue`, `cgroup_empty` or `another_boot`; absent for one that isn't free yet.
    reason: Option<&'static str>,
    why: String,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct UnreadableFile {
    path: PathBuf,
    why: String,
    /// Absent where that is unknown: then nothing is handed out.
    devices: Option<Vec<DeviceName>>,
}

/// Takes back what is free. With `dry_run`, only says what that is.
///
/// # Errors
/// A host failure where the ledger can't be read, where something in it can't be removed, or where a lease file stays that
/// can't be read. What was done is printed all the same.
pub fn gc(config: Option<&Path>, dry_run: bool, json: bool) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let mut collected = Collected {
        dry_run,
        ..Collected::default()
    };
    let Some(ledger) = Ledger::existing(&config.ledger_dir)? else {
        return super::say(&collected, json, text);
    };
    let here = Here::look()?;
    let mut lock = if dry_run { None } else { Some(ledger.lock()?) };
    let judgement = Judge::new(&here, config.pending).all(ledger.contents()?);
    let mut failures = collected.leases(&judgement, lock.as_mut());
    // Only now: a lease that was completed has made a record its own that was left over before.
    let leftovers = ledger.leftovers(&here)?;
    failures.extend(collected.sweep(leftovers, lock.as_mut()));
    drop(lock);
    failures.extend(collected.unreadable(&judgement));
    super::say(&collected, json, text)?;
    Ok(Failure::first_of(failures.into_iter().map(Err))?)
}

impl Collected {
    /// Carries out what was decided on each lease, where the lock is held, and takes note of it. Everything is tried.
    fn leases(&mut self, judgement: &Judgement, mut lock: Option<&mut LockedLedger<'_>>) -> Vec<Failure> {
        let mut failures = Vec::new();
        for judged in &judgement.leases {
            let done = lock.as_mut().map_or(Ok(()), |ledger| ledger.carry_out(judged));
            match done {
                Ok(()) => self.note(judged),
                Err(failure) => failures.push(failure),
            }
        }
        failures
    }

    fn note(&mut self, judged: &Judged) {
        match words::standing(judged) {
            Standing::Free => self.taken_back.push(told(judged)),
            Standing::InUse => self.in_use += 1,
            Standing::BeingMade => self.being_made += 1,
            Standing::NotYetFree => self.not_yet_free.push(told(judged)),
        }
    }

    fn sweep(&mut self, leftovers: Vec<PathBuf>, mut lock: Option<&mut LockedLedger<'_>>) -> Vec<Failure> {
        let mut failures = Vec::new();
        for path in leftovers {
            match lock.as_mut().map_or(Ok(()), |ledger| ledger.sweep(&path)) {
                Ok(()) => self.leftovers.push(path),
                Err(failure) => failures.push(failure),
            }
        }
        failures
    }

    /// Takes note of the files that stay though they can't be read. The first is the failure that this ends in.
    fn unreadable(&mut self, judgement: &Judgement) -> Option<Failure> {
        let stays = |judged: &&Judged| judged.fate != Fate::Remove;
        let known = judgement.leases.iter().filter(stays);
        let files = known.filter_map(|judged| judged.unreadable.as_ref());
        let files: Vec<&Unreadable> = files.chain(&judgement.unknown).collect();
        self.unreadable = files.iter().map(|file| unreadable(file)).collect();
        files.first().map(|file| file.failure())
    }
}

fn unreadable(file: &Unreadable) -> UnreadableFile {
    let devices = |lease: &crate::lease::Lease| lease.names().collect();
    UnreadableFile {
        path: file.path.clone(),
        why: file.why.clone(),
        devices: file.known.as_ref().map(devices),
    }
}

fn told(judged: &Judged) -> Told {
    let (reason, why) = match judged.fate {
        Fate::Remove => {
            let (reason, why) = words::why_it_goes(judged);
            (Some(reason), why)
        }
        Fate::Keep | Fate::Release => (None, words::why_it_stays(judged)),
    };
    let lease = &judged.lease;
    let holder = one_line(&lease.holder.short_name());
    Told {
        lease: lease.id.clone(),
        devices: lease.names().collect(),
        holder: lease.holder.clone(),
        state: lease.state,
        reason,
        text: format!("{} of container {holder}: {why}", words::devices(lease)),
        why,
    }
}

fn text(collected: &Collected) -> String {
    let (took, removed) = match collected.dry_run {
        false => ("took back", "removed"),
        true => ("would take back", "would remove"),
    };
    let mut lines: Vec<String> = Vec::new();
    lines.extend(
        collected
            .taken_back
            .iter()
            .map(|it| format!("{took} {}", it.text)),
    );
    lines.extend(
        collected
            .not_yet_free
            .iter()
            .map(|it| format!("not free yet: {}", it.text)),
    );
    if !collected.leftovers.is_empty() {
        let leftovers = counted(collected.leftovers.len(), "leftover");
        lines.push(format!("{removed} {leftovers} of processes that were killed"));
    }
    let unreadable = collected.unreadable.iter();
    lines.extend(
        unreadable.map(|file| format!("unreadable: {}: {}", file.path.display(), one_line(&file.why))),
    );
    if collected.taken_back.is_empty() {
        lines.push("nothing to take back".to_owned());
    }
    lines.push(standing(collected));
    lines.join("\n") + "\n"
}

/// `3 containers hold devices, 1 is being made`.
fn standing(collected: &Collected) -> String {
    let held = match collected.in_use {
        0 => "no container holds a device".to_owned(),
        1 => "1 container holds its devices".to_owned(),
        many => format!("{many} containers hold their devices"),
    };
    match collected.being_made {
        0 => held,
        1 => format!("{held}, 1 is being made"),
        many => format!("{held}, {many} are being made"),
    }
}
