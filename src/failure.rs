//! The one error type: what went wrong, why, and what to do about it, on one line, with its exit code.
//!
//! Everything that can end a command ends in a [`Failure`]. It never captures a backtrace: a hook's own error
//! output must not cost more than the hook.

#![forbid(unsafe_code)]

use std::fmt;

/// The process's exit code, as the README's table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The request is understood and can't be met: all held, no such profile, can't be isolated.
    Refused = 1,
    /// The command line, or a request that doesn't parse.
    Usage = 2,
    /// The machine: driver, NVML, deadline, config file, ledger.
    Host = 3,
}

/// What went wrong, why, and the remedy. Printed as `what: why; remedy`, always one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    what: String,
    why: String,
    remedy: String,
}

/// Most characters that one field prints: a hostile annotation must not flood a log.
const FIELD_LIMIT: usize = 600;

impl Failure {
    /// A failure with its exit code; the remedy comes by [`Failure::remedy`].
    pub fn new(exit: Exit, what: impl Into<String>, why: impl fmt::Display) -> Self {
        Failure {
            exit,
            what: what.into(),
            why: why.to_string(),
            remedy: String::new(),
        }
    }

    /// The request can't be met: exit 1.
    pub fn refused(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Failure::new(Exit::Refused, what, why)
    }

    /// The command line or the request is wrong: exit 2.
    pub fn usage(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Failure::new(Exit::Usage, what, why)
    }

    /// The machine is at fault: exit 3.
    pub fn host(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Failure::new(Exit::Host, what, why)
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Names a second thing that went wrong while cleaning up after the first.
    #[must_use]
    pub fn and(mut self, other: &Failure) -> Self {
        self.why = format!("{} (and then: {})", self.why, other);
        self
    }

    /// Waits for every result; the first failure tells of the others.
    ///
    /// # Errors
    /// That one, where any failed.
    pub fn first_of(results: impl Iterator<Item = Result<(), Failure>>) -> Result<(), Failure> {
        let failures: Vec<Failure> = results.filter_map(Result::err).collect();
        match failures.into_iter().reduce(|first, next| first.and(&next)) {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }

    /// What, why and remedy, as they were given.
    pub fn parts(&self) -> (&str, &str, &str) {
        (&self.what, &self.why, &self.remedy)
    }

    /// The exit code this failure ends the process with.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.what))?;
        if !self.why.is_empty() {
            write!(f, ": {}", one_line(&self.why))?;
        }
        if !self.remedy.is_empty() {
            write!(f, "; {}", one_line(&self.remedy))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// `text` with control characters escaped and a bounded length, so that hostile text can neither forge a second
/// line nor drive a terminal.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for (count, c) in text.chars().enumerate() {
        if count == FIELD_LIMIT {
            line.push_str("...");
            break;
        }
        if is_unprintable(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// Whether a character would drive a terminal, or break, reorder or hide what a line says.
pub fn is_unprintable(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// Line separators, direction overrides and characters without a glyph: not control characters to Unicode, but they
/// break, reorder or hide what a line says.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_why_and_remedy_on_one_line() {
        let failure = Failure::refused("no free 2g.20gb", "3 of 3 held").remedy("see 'oci-mig-hook status'");
        assert_eq!(
            failure.to_string(),
            "no free 2g.20gb: 3 of 3 held; see 'oci-mig-hook status'"
        );
        assert_eq!(failure.exit(), Exit::Refused);
    }

    #[test]
    fn hostile_text_stays_on_the_line() {
        let line = Failure::usage("mig.profile", "x\nroot: ok\x1b[2J\u{202e}").to_string();
        assert_eq!(line, "mig.profile: x\\nroot: ok\\u{1b}[2J\\u{202e}");
        let long = Failure::usage("mig.profile", "y".repeat(100_000)).to_string();
        assert!(long.len() < 1000, "{} bytes", long.len());
    }
}
