//! A command line's words sorted into options and operands, where not every option is known: `--name VALUE`,
//! `--name=VALUE`, Go's `-name VALUE`, getopt_long's `--nam VALUE`, and `-n VALUE`, `-nVALUE`, `-xn VALUE`.

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
    /// Several where letters are joined: only the last can take a value.
    Options(Vec<Written<'a>>),
}

/// An option as it was written.
struct Written<'a> {
    known: Option<&'static Known>,
    /// The value that is in the same word.
    value: Option<&'a OsStr>,
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
                Word::Operand(_) => return (given, None),
                // What follows is the subcommand all the same.
                Word::End => may_be_value = false,
                Word::Options(options) => {
                    let is_open = |option: &Written| option.known.is_none() && option.value.is_none();
                    may_be_value = options.iter().any(is_open);
                    self.take(options, &mut given);
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
                Word::Options(options) => self.take(options, &mut given),
            }
        }
        (given, operands)
    }

    fn take(&mut self, options: Vec<Written<'a>>, given: &mut Given<'a>) {
        for Written { known, value } in options {
            let Some(known) = known else { continue };
            let value = match value {
                None if known.takes_value => self.0.next().map(OsString::as_os_str),
                None => Some(OsStr::new("true")),
                value => value,
            };
            given.0.extend(value.map(|value| (known.name, value)));
        }
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
    match by_name(name, known, double) {
        None if !double => Word::Options(letters(bare, known)),
        known => Word::Options(vec![Written { known, value }]),
    }
}

/// getopt_long, crun's, takes the beginning of a name for it, where it can mean only one: others reject that. `--roo` is
/// `--root` to it, and not `--rootless`.
fn by_name(name: &[u8], known: &'static [Known], may_be_begun: bool) -> Option<&'static Known> {
    let exact = known.iter().find(|option| option.name.as_bytes() == name);
    let begun = || -> Option<&'static Known> {
        let mut begun = known
            .iter()
            .filter(|option| option.name.as_bytes().starts_with(name));
        let shortest = begun.clone().min_by_key(|option| option.name.len())?;
        begun
            .all(|option| option.name.starts_with(shortest.name))
            .then_some(shortest)
    };
    exact.or_else(|| begun().filter(|_| may_be_begun))
}

/// `-b`, `-bVALUE`, `-db VALUE`: letters without a value may stand before the one that takes it.
fn letters<'a>(bare: &'a [u8], known: &'static [Known]) -> Vec<Written<'a>> {
    let mut options = Vec::new();
    for (at, letter) in bare.iter().enumerate() {
        let is_it = |option: &&Known| option.letter.is_some_and(|known| known as u8 == *letter);
        let known = known.iter().find(is_it);
        let rest = Some(&bare[at + 1..]).filter(|rest| !rest.is_empty());
        let is_flag = known.is_some_and(|option| !option.takes_value);
        options.push(Written {
            known,
            value: rest.filter(|_| !is_flag).map(OsStr::from_bytes),
        });
        if !is_flag {
            break;
        }
    }
    options
}
