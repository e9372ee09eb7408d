//! `release`: gives back one lease by hand, named by its container, its device or itself; or those that can't be read.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::words;
use crate::config::Config;
use crate::failure::{Failure, one_line};
use crate::lease::liveness::Here;
use crate::lease::transition::Fate;
use crate::lease::{self, Holder, Judged, LeaseId, Ledger, LockedLedger, Unreadable};
use crate::mig::MigUuid;

/// Which leases are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one of that container (its id, or how it begins), device or lease id.
    Named(String),
    /// Those that can't be read.
    Unreadable,
}

/// What `release` was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Which.
    pub which: Which,
    /// Also from a holder that lives, or of which nobody can tell.
    pub force: bool,
    /// JSON instead of text.
    pub json: bool,
    /// `--config FILE`.
    pub config: Option<PathBuf>,
}

/// One lease that went; `--json` prints a list of them.
#[derive(Serialize)]
struct Released {
    /// Absent for a file that isn't named for any.
    lease: Option<LeaseId>,
    /// Absent where that is unknown.
    devices: Option<Vec<MigUuid>>,
    holder: Option<Holder>,
    /// The file, of one that could not be read.
    path: Option<PathBuf>,
    /// Its holder may still use the devices.
    forced: bool,
    #[serde(skip)]
    text: String,
}

/// Gives back what `release` names.
///
/// # Errors
/// A refusal where there is no such lease, or its holder lives and `force` isn't given; a usage failure where the name is
/// several leases'; a host failure of the ledger. Nothing is given back then.
pub fn release(release: &Release) -> anyhow::Result<()> {
    let config = Config::load(release.config.as_deref())?;
    let ledger = Ledger::existing(&config.ledger_dir)?.ok_or_else(|| none(&release.which))?;
    let here = Here::look()?;
    let mut locked = ledger.lock()?;
    let released = match &release.which {
        Which::Named(name) => vec![named(&mut locked, &here, config.pending, name, release.force)?],
        Which::Unreadable => unreadable(&mut locked, &here, config.pending, release.force)?,
    };
    drop(locked);
    let text = match release.json {
        true => serde_json::to_string_pretty(&released)? + "\n",
        false => released.into_iter().map(|it| it.text + "\n").collect(),
    };
    super::print(text.as_bytes())
}

fn named(
    ledger: &mut LockedLedger<'_>,
    here: &Here,
    pending: Duration,
    name: &str,
    force: bool,
) -> Result<Released, Failure> {
    let judgement = lease::judge(ledger.contents()?, here, pending, None);
    let judged = only(matching(&judgement.leases, name), name)?;
    if judged.fate != Fate::Remove && !force {
        return Err(may_live(judged));
    }
    ledger.remove(&judged.lease)?;
    Ok(released(judged))
}

/// The leases that `name` names: whole names before beginnings of a container's id.
fn matching<'a>(leases: &'a [Judged], name: &str) -> Vec<&'a Judged> {
    let of = |wanted: &dyn Fn(&Judged) -> bool| leases.iter().filter(|it| wanted(it)).collect::<Vec<_>>();
    let whole = of(&|it| {
        let lease = &it.lease;
        let is_device = || lease.uuids().any(|uuid| uuid.to_string() == name);
        lease.id.to_string() == name || lease.holder.container().id == name || is_device()
    });
    match whole.is_empty() {
        true => of(&|it| it.lease.holder.container().id.starts_with(name)),
        false => whole,
    }
}

fn only<'a>(mut found: Vec<&'a Judged>, name: &str) -> Result<&'a Judged, Failure> {
    if found.len() > 1 {
        let ids: Vec<String> = found
            .iter()
            .map(|it| format!("{} of {}", it.lease.id, it.lease.holder.short_name()))
            .collect();
        let why = format!(
            "it is the name of {}: {}",
            words::counted(ids.len(), "lease"),
            ids.join(", ")
        );
        return Err(
            Failure::usage(format!("'{}' says too little", one_line(name)), why)
                .remedy("name the lease by its own id"),
        );
    }
    found.pop().ok_or_else(|| none(&Which::Named(name.to_owned())))
}

/// All of them, or none: who can't be judged is taken for gone, because a person says so.
fn unreadable(
    ledger: &mut LockedLedger<'_>,
    here: &Here,
    pending: Duration,
    force: bool,
) -> Result<Vec<Released>, Failure> {
    let contents = ledger.contents()?;
    let files = contents.unreadable.clone();
    let judgement = lease::judge(contents, here, pending, None);
    let known = || judgement.leases.iter().filter(|it| !it.is_readable);
    match known().find(|it| words::is_seen_alive(it)) {
        Some(judged) if !force => return Err(may_live(judged)),
        _ => {}
    }
    if files.is_empty() {
        return Err(none(&Which::Unreadable));
    }
    for file in &files {
        ledger.discard(file)?;
    }
    let judged = |file: &Unreadable| known().find(|it| Some(&it.lease) == file.known.as_ref());
    Ok(files.iter().map(|file| discarded(file, judged(file))).collect())
}

fn released(judged: &Judged) -> Released {
    let lease = &judged.lease;
    let forced = judged.fate != Fate::Remove;
    let why = match forced {
        true => format!(
            "{}; it may go on using what it has open",
            words::why_it_stays(judged)
        ),
        false => words::why_it_goes(judged).1,
    };
    Released {
        lease: Some(lease.id.clone()),
        devices: Some(lease.uuids().cloned().collect()),
        holder: Some(lease.holder.clone()),
        path: None,
        forced,
        text: format!(
            "released {} of container {}: {why}",
            words::devices(lease),
            one_line(&lease.holder.short_name())
        ),
    }
}

fn discarded(file: &Unreadable, judged: Option<&Judged>) -> Released {
    let path = file.path.display();
    match judged {
        Some(judged) => {
            let released = released(judged);
            Released {
                text: format!("{} (unreadable lease {path})", released.text),
                path: Some(file.path.clone()),
                ..released
            }
        }
        None => Released {
            lease: None,
            devices: None,
            holder: None,
            path: Some(file.path.clone()),
            forced: true,
            text: format!("removed {path}: nobody can tell which devices it held"),
        },
    }
}

fn may_live(judged: &Judged) -> Failure {
    let holder = judged.lease.holder.short_name();
    Failure::refused(
        format!("{} stays with container {holder}", words::devices(&judged.lease)),
        words::why_it_stays(judged),
    )
    .remedy("end the container first; --force takes it away all the same, and the next container may get it while this one still uses it")
}

fn none(which: &Which) -> Failure {
    match which {
        Which::Named(name) => {
            let what = format!("no lease of '{name}'");
            Failure::refused(
                what,
                "no lease, container or device of that name holds or is held",
            )
        }
        Which::Unreadable => Failure::refused("nothing to release", "every lease can be read"),
    }
    .remedy("see 'oci-mig-hook status'")
}
