//! The CDI file that is there already: whose it is, and what it offers.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::words;
use crate::edits::cdi::{CdiVersion, KIND};
use crate::failure::Failure;
use crate::operator::setup::file::Found;

/// A file of ours, or the place where one will be.
pub struct Earlier {
    found: Found,
    /// The names that it offers.
    names: BTreeSet<String>,
    /// The version of CDI that it is of.
    version: CdiVersion,
}

/// As much of a CDI file as tells whose it is.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offered {
    kind: String,
    #[serde(default)]
    cdi_version: String,
    #[serde(default)]
    devices: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Earlier {
    /// Reads what stands at `path`.
    ///
    /// # Errors
    /// A refusal where it is another's; a host failure where it can't be read.
    pub fn look(path: &Path) -> Result<Earlier, Failure> {
        let found = Found::look(path)?;
        let offered = match &found.text {
            None => Offered::default(),
            Some(text) => match serde_json::from_str::<Offered>(text) {
                Ok(offered) if offered.kind == KIND => offered,
                Ok(offered) => return Err(anothers(path, &format!("it is of the kind {}", offered.kind))),
                Err(error) => return Err(anothers(path, &error.to_string())),
            },
        };
        Ok(Earlier {
            found,
            version: offered.cdi_version.parse().unwrap_or_default(),
            names: offered.devices.into_iter().map(|device| device.name).collect(),
        })
    }

    /// What it says; none where there is no such file.
    pub fn text(&self) -> Option<&str> {
        self.found.text.as_deref()
    }

    /// The version of CDI that it is of; the newest, where it isn't there.
    pub fn version(&self) -> CdiVersion {
        self.version
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.found.path
    }

    /// Makes it say that.
    pub fn write(&self, text: &str) -> Result<(), Failure> {
        match self.text() == Some(text) {
            true => Ok(()),
            false => self.found.write(Some(text)),
        }
    }

    /// Removes it; whether it was there.
    pub fn remove(&self) -> Result<bool, Failure> {
        match self.text() {
            None => Ok(false),
            Some(_) => self.found.write(None).map(|()| true),
        }
    }

    /// The names that it offers, and are not among `now`; and the other way round.
    pub fn changes<'a>(&'a self, now: &'a [String]) -> (Vec<&'a str>, Vec<&'a str>) {
        let is_there = |name: &&String| now.contains(name);
        let gone = self.names.iter().filter(|name| !is_there(name));
        let new = now.iter().filter(|name| !self.names.contains(*name));
        (
            gone.map(String::as_str).collect(),
            new.map(String::as_str).collect(),
        )
    }

    /// That it isn't there.
    pub fn missing(&self) -> Failure {
        Failure::refused(
            format!("no CDI file {}", self.path().display()),
            "nobody has written it, or this machine was restarted",
        )
        .remedy("write it with 'oci-mig-hook cdi'")
    }

    /// That it says what isn't true any more, where this machine offers `now`.
    pub fn stale(&self, now: &[String]) -> Failure {
        let (gone, new) = self.changes(now);
        let mut why = Vec::new();
        if !gone.is_empty() {
            why.push(format!("gone: {}", words::list(&gone)));
        }
        if !new.is_empty() {
            why.push(format!("new: {}", words::list(&new)));
        }
        if why.is_empty() {
            why.push("its devices are the same by name, and not in what they are or need".to_owned());
        }
        Failure::refused(
            format!("CDI file {} is stale", self.path().display()),
            why.join("; "),
        )
        .remedy("write it anew with 'oci-mig-hook cdi'")
    }
}

fn anothers(path: &Path, why: &str) -> Failure {
    Failure::refused(
        format!("{} is not a CDI file of oci-mig-hook", path.display()),
        why,
    )
    .remedy("it was left alone: name another file with --output")
}
