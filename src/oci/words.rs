//! A command line's words sorted into options and operands, where not every option is known: `--name VALUE`,
//! `--name=VALUE`, Go's `-name VALUE`, `-n VALUE` and `-nVALUE`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// An option that means something to us, or whose value must not be taken for something else.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    name: &'static str,
    letter: Option<char>,
    takes_value: bool,
}

impl Known {
    /// One that takes a value.
    pub const fn value(name: &'static str, letter: Option<char>) -> Known {
        Known {
            name,
            letter,
            takes_value: true,
        }
    }

    /// One that takes none.
    pub const fn flag(name: &'static str, letter: Option<char>) -> Known {
        Known {
            name,
            letter,
            takes_value: false,
        }
    }
}

/// The known options that were there.
#[derive(Debug, Default)]
pub struct Given<'a>(Vec<(&'static str, &'a OsStr)>);

impl<'a> Given<'a> {
    /// The option's value; of several, the last, as in every runtime.
    pub fn value(&self, name: &str) -> Option<&'a OsStr> {
        let mut values = self.0.iter().rev().filter(|(given, _)| *given == name);
        values.next().map(|(_, value)| *value)
    }

    /// Whether the option is there.
    pub fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value != "false")
    }
}

/// The words that are still to be read.
#[derive(Debug)]
pub struct Words<'a>(std::slice::Iter<'a, OsString>);

/// A word, as it stands by itself.
enum Word<'a> {
    Operand(&'a OsStr),
    /// Everything behind it is an operand.
    End,
    Option {
        known: Option<&'static Known>,
        /// The value that is in the same word.
        value: Option<&'a OsStr>,
    },
}

impl<'a> Words<'a> {
    /// All of `args`.
    pub fn new(args: &'a [OsString]) -> Words<'a> {
        Words(args.iter())
    }

    /// Reads options up to the first of `subcommands`. A word that is none may be the value of an option that isn't
    /// known; anywhere else it is an error of the caller's, and there is no subcommand.
    pub fn until(&mut self, known: &'static [Known], subcommands: &[&str]) -> (Given<'a>, Option<&'a OsStr>) {
        let mut given = Given::default();
        let mut may_be_value = false;
        while let Some(word) = self.0.next() {
            match read(word, known) {
                Word::Operand(word) if subcommands.iter().any(|name| word == *name) => {
                    return (given, Some(word));
                }
                Word::Operand(_) if may_be_value => may_be_value = false,
                Word::Operand(_) | Word::End => return (given, None),
                Word::Option { known, value } => {
                    may_be_value = known.is_none() && value.is_none();
                    self.take(known, value, &mut given);
                }
            }
        }
        (given, None)
    }

    /// Reads all that is left: options in any place, and operands.
    pub fn rest(mut self, known: &'static [Known]) -> (Given<'a>, Vec<&'a OsStr>) {
        let mut given = Given::default();
        let mut operands = Vec::new();
        while let Some(word) = self.0.next() {
            match read(word, known) {
                Word::Operand(word) => operands.push(word),
                Word::End => operands.extend(self.0.by_ref().map(OsString::as_os_str)),
                Word::Option { known, value } => self.take(known, value, &mut given),
            }
        }
        (given, operands)
    }

    fn take(&mut self, known: Option<&'static Known>, value: Option<&'a OsStr>, given: &mut Given<'a>) {
        let Some(known) = known else { return };
        let value = match value {
            None if known.takes_value => self.0.next().map(OsString::as_os_str),
            None => Some(OsStr::new("true")),
            value => value,
        };
        given.0.extend(value.map(|value| (known.name, value)));
    }
}

fn read<'a>(word: &'a OsStr, known: &'static [Known]) -> Word<'a> {
    let bytes = word.as_bytes();
    let (double, bare) = match bytes {
        b"--" => return Word::End,
        [b'-', b'-', bare @ ..] => (true, bare),
        [b'-', bare @ ..] if !bare.is_empty() => (false, bare),
        _ => return Word::Operand(word),
    };
    let (name, value) = match bare.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bare[..at], Some(OsStr::from_bytes(&bare[at + 1..]))),
        None => (bare, None),
    };
    let by_name = known.iter().find(|option| option.name.as_bytes() == name);
    if double || by_name.is_some() {
        return Word::Option {
            known: by_name,
            value,
        };
    }
    letter(bare, known)
}

/// `-b`, `-bVALUE`; `-b=VALUE` is Go's.
fn letter<'a>(bare: &'a [u8], known: &'static [Known]) -> Word<'a> {
    let by_letter = |option: &&Known| option.letter.is_some_and(|letter| bare[0] == letter as u8);
    let known = known.iter().find(by_letter);
    let attached = match &bare[1..] {
        [] => None,
        [b'=', value @ ..] | value => Some(OsStr::from_bytes(value)),
    };
    let takes_value = known.is_none_or(|option| option.takes_value);
    Word::Option {
        known,
        value: attached.filter(|_| takes_value),
    }
}
