//! Front doors for people.

#![forbid(unsafe_code)]

mod completions;
mod progress;
mod refresh;
mod setup;
mod status;
mod table;

use std::io::{ErrorKind, Write};

use anyhow::Context;

pub use completions::completions;
pub use refresh::refresh;
pub use setup::{Engine, Setup, setup};
pub use status::status;

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
