//! Front doors for people.

#![forbid(unsafe_code)]

mod cdi;
mod completions;
mod gc;
mod progress;
mod refresh;
mod release;
mod setup;
mod status;
mod table;
mod words;

use std::io::{ErrorKind, Write};

use anyhow::Context;

use crate::failure::is_unprintable;

pub use cdi::{Cdi, DEFAULT_OUTPUT, cdi};
pub use completions::completions;
pub use gc::gc;
pub use refresh::refresh;
pub use release::{Release, Which, release};
pub use setup::{Engine, Setup, setup};
pub use status::status;

/// Prints what is known: as JSON, or as people are told.
fn say<T: serde::Serialize>(
    known: &T,
    as_json: bool,
    as_text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let text = match as_json {
        true => visible(&serde_json::to_string_pretty(known)?) + "\n",
        false => as_text(known),
    };
    print(text.as_bytes())
}

/// JSON with what would drive or mislead a terminal escaped. Such characters only ever stand in its strings.
fn visible(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c != '\n' && is_unprintable(c) {
            false => escaped.push(c),
            true => {
                let mut units = [0; 2];
                escaped.extend(
                    c.encode_utf16(&mut units)
                        .iter()
                        .map(|unit| format!("\\u{unit:04x}")),
                );
            }
        }
    }
    escaped
}

/// Writes to standard output. A reader that has gone (`| head`) has had enough: no error.
fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("can't write to standard output")
        }
        _ => Ok(()),
    }
}
