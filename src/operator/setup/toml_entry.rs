//! Our runtime's table in an engine's TOML file: whose it is, in, up to date, out.

#![forbid(unsafe_code)]

use std::path::Path;

use super::program;
use super::toml_file::{Toml, appended};
use crate::failure::Failure;

/// Where an engine's file has our runtime.
pub struct Entry<'a> {
    /// The file, for messages.
    pub file: &'a Path,
    /// The keys that lead to our table.
    pub table: &'a [&'a str],
    /// The keys in our table that lead to the program.
    pub program: &'a [&'a str],
    /// A wrapper that was named and so is ours, whatever it is called.
    pub named: Option<&'a Path>,
}

impl Entry<'_> {
    fn program_keys(&self) -> Vec<&str> {
        self.table.iter().chain(self.program).copied().collect()
    }

    /// The program of our entry; `None` where there is no entry.
    ///
    /// # Errors
    /// There is one under our name that isn't ours.
    pub fn wrapper(&self, toml: &Toml) -> Result<Option<String>, Failure> {
        if toml.item(self.table).is_none() {
            return Ok(None);
        }
        match toml.string(&self.program_keys()) {
            Some(path) if program::is_wrapper(path, self.named) => Ok(Some(path.to_owned())),
            other => Err(program::not_ours(self.file, other)),
        }
    }

    /// The text with our entry, which is `block` where there is none yet, calling `wrapper`.
    pub fn put_in(&self, text: &str, block: &str, wrapper: &str) -> Result<String, Failure> {
        let toml = Toml::read(self.file, text)?;
        let after = match self.wrapper(&toml)? {
            Some(old) if old == wrapper => return Ok(text.to_owned()),
            Some(_) => toml.with_string(&self.program_keys(), wrapper),
            None => appended(text, block),
        };
        let reads = Toml::read(self.file, &after).and_then(|toml| self.wrapper(&toml));
        match reads {
            Ok(Some(_)) => Ok(after),
            _ => Err(self.written_inline()),
        }
    }

    fn written_inline(&self) -> Failure {
        let table = self.table[..self.table.len() - 1].join(".");
        Failure::refused(
            format!("{} can't be added to", self.file.display()),
            format!("{table} is written inline, in braces or with dots"),
        )
        .remedy("write it as a [table], or add the runtime by hand; nothing was changed")
    }
}
