//! `status`: which MIG devices and whole GPUs this machine has, and who holds or uses them.

mod report;
mod text;
mod view;

use std::path::Path;

use super::progress;
use crate::config::Config;
use crate::host::Host;
use crate::lease::liveness::Here;
use crate::lease::{Contents, Ledger};
use view::View;

/// Prints the machine's MIG devices and whole GPUs, and who holds them: a table, or JSON.
///
/// # Errors
/// A host failure where the driver can't be asked, or the ledger can't be read or has a file that can't. What is known
/// is printed all the same.
pub fn status(config: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let here = Here::look()?;
    let (contents, tickets) = match Ledger::existing(&config.ledger_dir)? {
        Some(ledger) => (ledger.contents()?, ledger.tickets()?),
        None => (Contents::default(), Vec::new()),
    };
    let host = Host::new(&config);
    let survey = progress::shown(host).survey(true);
    progress::clear();
    let view = View {
        here: &here,
        contents: &contents,
        tickets: &tickets,
        config: &config,
    };
    let status = view.status(survey.as_ref());
    super::say(&status, json, text::table)?;
    survey?;
    match contents.unreadable.first() {
        Some(file) => Err(file.failure().into()),
        None => Ok(()),
    }
}
