//! How a JSON text is laid out, and a new member in that layout.

#![forbid(unsafe_code)]

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// How a text is laid out.
pub struct Style {
    /// One level's indentation; `None` where everything is on one line.
    indent: Option<String>,
    /// Whether there is a space after colons and commas on one line.
    is_spaced: bool,
    newline: &'static str,
}

impl Style {
    /// The text's own.
    pub fn of(text: &str) -> Style {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let lines = text.trim().lines().skip(1);
        let first = lines.into_iter().find(|line| !line.trim().is_empty());
        let blank = |line: &str| line[..line.len() - line.trim_start().len()].to_owned();
        let is_bare = text
            .trim_start_matches(['{', '}', ' ', '\t', '\r', '\n'])
            .is_empty();
        let indent = match first {
            _ if is_bare => Some("    ".to_owned()),
            None => None,
            Some(line) => Some(blank(line)),
        };
        Style {
            indent,
            is_spaced: false,
            newline,
        }
    }

    /// The same for an object that is written like this.
    pub fn on_the_lines_of(self, object: &str) -> Style {
        Style {
            indent: self.indent.filter(|_| object.contains('\n')),
            is_spaced: object.contains("\": "),
            ..self
        }
    }

    /// The beginning of a line `depth` levels deep.
    pub fn line(&self, depth: usize) -> String {
        match &self.indent {
            Some(indent) => self.newline.to_owned() + &indent.repeat(depth),
            None => String::new(),
        }
    }

    /// A member on a line of its own, `depth` levels deep.
    pub fn member(&self, depth: usize, name: &str, value: &Value) -> String {
        let name = Value::from(name);
        let Some(indent) = &self.indent else {
            return match self.is_spaced {
                true => format!(" {name}: {}", rendered(value, Spaced)),
                false => format!("{name}:{value}"),
            };
        };
        let pretty = PrettyFormatter::with_indent(indent.as_bytes());
        let value = rendered(value, pretty).replace('\n', &self.line(depth));
        format!("{}{name}: {value}", self.line(depth))
    }
}

/// A value on one line as people type it: `{"a": 1, "b": 2}`.
pub struct Spaced;

impl Formatter for Spaced {
    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// A value, laid out.
pub fn rendered(value: &Value, format: impl Formatter) -> String {
    let mut text = Vec::new();
    match value.serialize(&mut Serializer::with_formatter(&mut text, format)) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => value.to_string(),
    }
}
