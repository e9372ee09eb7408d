//! `release`: gives back one lease by hand, named by its container, its device or itself; or those that can't be read.

use std::path::PathBuf;

use serde::Serialize;

use super::words;
use crate::config::Config;
use crate::failure::{Failure, one_line};
use crate::lease::liveness::Here;
use crate::lease::transition::Fate;
use crate::lease::{Holder, Judge, Judged, LeaseId, Ledger, LockedLedger, Unreadable};
use crate::mig::DeviceName;

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
    /// Absent for a file of which nothing is known.
    lease: Option<LeaseId>,
    /// Absent where that is unknown.
    devices: Option<Vec<DeviceName>>,
    holder: Option<Holder>,
    /// The file, of one that could not be read.
    path: Option<PathBuf>,
    /// Its holder lives, or nobody can tell: the devices may be in use.
    may_be_used: bool,
    #[serde(skip)]
    text: String,
}

/// Gives back what `release` names.
///
/// # Errors
/// A refusal where there is no such lease, or its holder lives and `force` isn't given; a usage failure where the name is
/// several leases': nothing is given back then. A host failure where the ledger can't be changed, after all was tried.
pub fn release(release: &Release) -> anyhow::Result<()> {
    let config = Config::load(release.config.as_deref())?;
    let ledger = Ledger::existing(&config.ledger_dir)?.ok_or_else(|| none(&release.which))?;
    let here = Here::look()?;
    let mut locked = ledger.lock()?;
    let judge = Judge::new(&here, config.pending);
    let released = match &release.which {
        Which::Named(name) => vec![named(&mut locked, judge, name, release.force)?],
        Which::Unreadable => unreadable(&mut locked, judge, release.force)?,
    };
    drop(locked);
    super::say(&released, release.json, |released| {
        released.iter().map(|it| format!("{}\n", it.text)).collect()
    })
}

fn named(
    ledger: &mut LockedLedger<'_>,
    judge: Judge<'_>,
    name: &str,
    force: bool,
) -> Result<Released, Failure> {
    let judgement = judge.all(ledger.contents()?);
    let judged = only(matching(&judgement.leases, name), name)?;
    if judged.fate != Fate::Remove && !force {
        return Err(may_live(judged));
    }
    ledger.remove(&judged.lease)?;
    Ok(released(judged))
}

/// The leases that `name` names. A container may be called as another's id begins: then it names both.
fn matching<'a>(leases: &'a [Judged], name: &str) -> Vec<&'a Judged> {
    let is_named = |it: &&Judged| {
        let lease = &it.lease;
        let is_device = || lease.names().any(|device| device.to_string() == name);
        lease.id.to_string() == name || lease.holder.container().id.starts_with(name) || is_device()
    };
    leases.iter().filter(is_named).collect()
}

fn only<'a>(mut found: Vec<&'a Judged>, name: &str) -> Result<&'a Judged, Failure> {
    if found.len() > 1 {
        let ids: Vec<String> = found
            .iter()
            .map(|it| format!("{} of {}", it.lease.id, it.lease.holder.short_name()))
            .collect();
        let why = format!(
            "it fits {}: {}",
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

/// All of them, or none.
fn unreadable(
    ledger: &mut LockedLedger<'_>,
    judge: Judge<'_>,
    force: bool,
) -> Result<Vec<Released>, Failure> {
    let judgement = judge.all(ledger.contents()?);
    let known = judgement.leases.iter();
    let known = known.filter_map(|judged| Some((judged.unreadable.as_ref()?, Some(judged))));
    let unknown = judgement.unknown.iter().map(|file| (file, None));
    let files: Vec<(&Unreadable, Option<&Judged>)> = known.chain(unknown).collect();
    if files.is_empty() {
        return Err(none(&Which::Unreadable));
    }
    if !force {
        files
            .iter()
            .try_for_each(|(file, judged)| is_gone(file, *judged))?;
    }
    Failure::first_of(files.iter().map(|(file, _)| ledger.discard(file)))?;
    Ok(files
        .into_iter()
        .map(|(file, judged)| discarded(file, judged))
        .collect())
}

fn released(judged: &Judged) -> Released {
    let lease = &judged.lease;
    let may_be_used = judged.fate != Fate::Remove;
    let why = match may_be_used {
        true => format!(
            "{}; it may go on using what it has open",
            words::why_it_stays(judged)
        ),
        false => words::why_it_goes(judged).1,
    };
    Released {
        lease: Some(lease.id.clone()),
        devices: Some(lease.names().collect()),
        holder: Some(lease.holder.clone()),
        path: None,
        may_be_used,
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
            may_be_used: true,
            text: format!("removed {path}: nobody can tell which devices it held"),
        },
    }
}

/// Without force only what is seen to be gone goes.
fn is_gone(file: &Unreadable, judged: Option<&Judged>) -> Result<(), Failure> {
    match judged {
        Some(judged) if judged.fate == Fate::Remove => Ok(()),
        Some(judged) => Err(may_live(judged)),
        None => Err(Failure::refused(
            format!("{} stays", file.path.display()),
            "nobody can tell which devices it holds, nor whose it is",
        )
        .remedy("end all containers that have a device, and repeat with --force")),
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
            Failure::refused(what, "nothing of that name has a lease")
        }
        Which::Unreadable => Failure::refused("nothing to release", "every lease can be read"),
    }
    .remedy("see 'oci-mig-hook status'")
}
