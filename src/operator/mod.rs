//! Front doors for people.

#![forbid(unsafe_code)]

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

pub use completions::completions;
pub use gc::gc;
pub use refresh::refresh;
pub use release::{Release, Which, release};
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
