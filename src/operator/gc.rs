//! `gc`: takes back every lease whose holder is gone, and says why. A reservation does the same first; this is for who
//! wants to see it, or wants it done while nothing starts.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::words;
use crate::config::Config;
use crate::failure::{Failure, one_line};
use crate::lease::liveness::Here;
use crate::lease::transition::Fate;
use crate::lease::{self, Holder, Judged, Judgement, LeaseId, LeaseState, Ledger, Unreadable};
use crate::mig::MigUuid;

/// What a collection did, or would do; `--json` prints it as it is.
#[derive(Default, Serialize)]
struct Collected {
    /// Nothing was changed.
    dry_run: bool,
    /// Leases whose devices are free now.
    taken_back: Vec<Taken>,
    /// Leases whose container has ended, and whose devices are free when what it left behind has.
    ending: Vec<Taken>,
    /// How many others stand.
    standing: usize,
    /// What killed processes had left behind.
    leftovers: Vec<PathBuf>,
    /// Lease files that can't be read, and what holds their devices still.
    unreadable: Vec<Kept>,
}

#[derive(Serialize)]
struct Taken {
    lease: LeaseId,
    devices: Vec<MigUuid>,
    holder: Holder,
    /// The state that it was in.
    state: LeaseState,
    /// `holder_gone`, `maker_gone`, `overdue`, `cgroup_empty` or `another_boot`; absent for one that is ending.
    reason: Option<&'static str>,
    why: String,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct Kept {
    path: PathBuf,
    why: String,
}

/// Takes back what is free. With `dry_run`, only says what that is.
///
/// # Errors
/// A host failure where the ledger can't be read or changed: then what could be done is done, and not told; or where it has
/// a file that can't be read.
pub fn gc(config: Option<&Path>, dry_run: bool, json: bool) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let Some(ledger) = Ledger::existing(&config.ledger_dir)? else {
        return say(
            &Collected {
                dry_run,
                ..Collected::default()
            },
            json,
        );
    };
    let here = Here::look()?;
    let lock = if dry_run { None } else { Some(ledger.lock()?) };
    let judgement = lease::judge(ledger.contents()?, &here, config.pending, None);
    let leftovers = ledger.leftovers(&here)?;
    let done = match lock {
        Some(mut locked) => carry_out(&mut locked, &judgement, &leftovers),
        None => Ok(()),
    };
    done?;
    let failure = judgement.unknown.first().map(Unreadable::failure);
    say(&collected(judgement, leftovers, dry_run), json)?;
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}

/// Everything is tried before the first failure is told.
fn carry_out(
    ledger: &mut lease::LockedLedger<'_>,
    judgement: &Judgement,
    leftovers: &[PathBuf],
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for judged in &judgement.leases {
        failures.extend(ledger.carry_out_judged(judged).err());
    }
    failures.extend(ledger.sweep(leftovers).err());
    let mut failures = failures.into_iter();
    match failures.next() {
        None => Ok(()),
        Some(first) => Err(failures.fold(first, |first, next| first.and(&next))),
    }
}

fn collected(judgement: Judgement, leftovers: Vec<PathBuf>, dry_run: bool) -> Collected {
    let mut collected = Collected {
        dry_run,
        leftovers,
        ..Collected::default()
    };
    for judged in &judgement.leases {
        match judged.fate {
            Fate::Remove => collected.taken_back.push(taken(judged)),
            Fate::Release => collected.ending.push(taken(judged)),
            Fate::Keep => collected.standing += 1,
        }
    }
    collected.unreadable = judgement
        .unknown
        .into_iter()
        .map(|file| Kept {
            path: file.path,
            why: file.why,
        })
        .collect();
    collected
}

fn taken(judged: &Judged) -> Taken {
    let (reason, why) = match judged.fate {
        Fate::Remove => {
            let (reason, why) = words::why_it_goes(judged);
            (Some(reason), why)
        }
        Fate::Keep | Fate::Release => (None, words::why_it_stays(judged)),
    };
    let lease = &judged.lease;
    Taken {
        lease: lease.id.clone(),
        devices: lease.uuids().cloned().collect(),
        holder: lease.holder.clone(),
        state: lease.state,
        reason,
        text: format!(
            "{} of container {}: {why}",
            words::devices(lease),
            one_line(&lease.holder.short_name())
        ),
        why,
    }
}

fn say(collected: &Collected, json: bool) -> anyhow::Result<()> {
    let text = match json {
        true => serde_json::to_string_pretty(collected)? + "\n",
        false => text(collected),
    };
    super::print(text.as_bytes())
}

fn text(collected: &Collected) -> String {
    let (took, removed, ending) = match collected.dry_run {
        false => ("took back", "removed", "will take back when its cgroup is empty:"),
        true => ("would take back", "would remove", "would wait for the cgroup of"),
    };
    let mut lines: Vec<String> = Vec::new();
    lines.extend(
        collected
            .taken_back
            .iter()
            .map(|it| format!("{took} {}", it.text)),
    );
    lines.extend(collected.ending.iter().map(|it| format!("{ending} {}", it.text)));
    if !collected.leftovers.is_empty() {
        let leftovers = words::counted(collected.leftovers.len(), "leftover");
        lines.push(format!("{removed} {leftovers} of processes that were killed"));
    }
    let standing = words::counted(collected.standing, "lease");
    let nothing = lines.is_empty();
    lines.push(match (nothing, collected.standing) {
        (true, 0) => "nothing to take back: no leases".to_owned(),
        (true, _) => format!("nothing to take back: {standing} in use"),
        (false, _) => format!("{standing} in use"),
    });
    lines.join("\n") + "\n"
}
