//! Changes to a TOML text that leave every other byte of it as it is: comments, order, indentation.
//!
//! The parser tells where everything stands; what is added is read again before it is used, since a table can be
//! written in more ways than one (`[a.b]`, `b = {}`, `a.b.c = 1`) and not every text can be added to by a new header.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::spliced;
use crate::failure::Failure;

/// A text and what it says.
pub struct Toml<'t> {
    text: &'t str,
    table: DeTable<'t>,
}

/// One value and its key, with where they stand.
type Entry<'a, 't> = (&'a Spanned<DeString<'t>>, &'a Spanned<DeValue<'t>>);

impl<'t> Toml<'t> {
    /// Reads an engine's file.
    ///
    /// # Errors
    /// A host failure that names the file and the line.
    pub fn read(path: &Path, text: &'t str) -> Result<Toml<'t>, Failure> {
        let parsed = DeTable::parse(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            Failure::host(
                format!("{} is not TOML", path.display()),
                format!("line {line}: {}", error.message()),
            )
            .remedy("correct it first; nothing was changed")
        })?;
        Ok(Toml {
            text,
            table: parsed.into_inner(),
        })
    }

    /// Whether there is nothing but comments.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The value at the end of these keys.
    pub fn value(&self, path: &[&str]) -> Option<&Spanned<DeValue<'t>>> {
        self.entry(path).map(|(_, value)| value)
    }

    /// The string there.
    pub fn string(&self, path: &[&str]) -> Option<&str> {
        self.value(path)?.get_ref().as_str()
    }

    /// The whole number there.
    pub fn integer(&self, path: &[&str]) -> Option<i64> {
        let number = self.value(path)?.get_ref().as_integer()?;
        i64::from_str_radix(number.as_str(), number.radix()).ok()
    }

    /// The strings of the list there; other values in it are passed over.
    pub fn strings(&self, path: &[&str]) -> Option<Vec<&str>> {
        let list = self.value(path)?.get_ref().as_array()?;
        Some(list.iter().filter_map(|item| item.get_ref().as_str()).collect())
    }

    /// The table there.
    pub fn table(&self, path: &[&str]) -> Option<&DeTable<'t>> {
        match path {
            [] => Some(&self.table),
            _ => self.value(path)?.get_ref().as_table(),
        }
    }

    fn entry(&self, path: &[&str]) -> Option<Entry<'_, 't>> {
        let (last, parents) = path.split_last()?;
        let parent = self.table(parents)?;
        parent.iter().find(|(key, _)| key.get_ref() == last)
    }

    /// The text with this string in the place of the one there.
    pub fn with_string(&self, path: &[&str], new: &str) -> String {
        match self.value(path) {
            Some(old) => spliced(self.text, old.span(), &quoted(new)),
            None => self.text.to_owned(),
        }
    }

    /// The text without the table or value there, whatever lines it is spread over. Comments stay, but for those
    /// inside it and those in `marks`, which came with it.
    pub fn without(&self, path: &[&str], marks: &[&str]) -> String {
        let Some(entry) = self.entry(path) else {
            return self.text.to_owned();
        };
        let mut spans = Vec::new();
        collect(self.text, entry, &mut spans);
        let lines: Vec<&str> = self.text.split_inclusive('\n').collect();
        let gone = with_surroundings(&lines, lines_of(self.text, &spans), marks);
        let kept = lines.iter().enumerate().filter(|(at, _)| !gone.contains(at));
        let kept = kept.filter(|(_, line)| !marks.contains(&line.trim()));
        kept.map(|(_, line)| *line).collect()
    }
}

/// The text with a block of lines at its end, after an empty line.
pub fn appended(text: &str, block: &str) -> String {
    match text {
        "" => block.to_owned(),
        _ if text.ends_with('\n') => format!("{text}\n{block}"),
        _ => format!("{text}\n\n{block}"),
    }
}

/// A string as TOML has it.
pub fn quoted(text: &str) -> String {
    // JSON's way to write a string is one of TOML's.
    serde_json::Value::from(text).to_string()
}

/// Where an entry stands: each header, and each value with its key.
fn collect(text: &str, (key, value): Entry<'_, '_>, spans: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) if !text[value.span()].starts_with('{') => {
            if text[value.span()].starts_with('[') {
                spans.push(value.span());
            }
            table.iter().for_each(|entry| collect(text, entry, spans));
        }
        _ => spans.push(key.span().start..value.span().end),
    }
}

/// The numbers of the lines that these spans touch.
fn lines_of(text: &str, spans: &[Range<usize>]) -> BTreeSet<usize> {
    let line = |at: usize| text[..at].matches('\n').count();
    let touched = spans.iter().flat_map(|span| line(span.start)..=line(span.end));
    touched.collect()
}

/// These lines, what is blank or comment between two of them, the marks above each block of them, and one blank line
/// before it.
fn with_surroundings(lines: &[&str], touched: BTreeSet<usize>, marks: &[&str]) -> BTreeSet<usize> {
    let mut gone = touched.clone();
    let is_filling = |at: &usize| lines[*at].trim().is_empty() || lines[*at].trim_start().starts_with('#');
    let mut before = None;
    for line in touched {
        let between = before.map_or(line..line, |before| before + 1..line);
        if between.clone().all(|at| is_filling(&at)) && before.is_some() {
            gone.extend(between);
        } else {
            let mut top = line;
            while top > 0 && marks.contains(&lines[top - 1].trim()) {
                top -= 1;
            }
            if top > 0 && lines[top - 1].trim().is_empty() {
                top -= 1;
            }
            gone.extend(top..line);
        }
        before = Some(line);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(text: &str, path: &[&str]) -> String {
        let toml = Toml::read(Path::new("x"), text).unwrap();
        toml.without(path, &["# mark"])
    }

    #[test]
    fn a_table_goes_with_its_mark_and_leaves_the_rest() {
        let before = "version = 2\n\n# theirs\n[z]\n  x = 1 # y\n";
        let block = "# mark\n[a.\"b.c\".mig] # h\n  l = [\n    1, # one\n  ]\n\n  # in it\n  [a.\"b.c\".mig.o]\n    p = 'q'\n";
        let after = "\n# a comment\n[a.\"b.c\".other]\nmig = 1\n";
        let text = format!("{before}\n{block}{after}");
        assert_eq!(without(&text, &["a", "b.c", "mig"]), format!("{before}{after}"));
    }

    #[test]
    fn a_table_goes_however_it_is_written() {
        let kept = "[a]\nx = 1\n";
        for ours in [
            "mig = { p = 1 }\n",
            "mig.p = 1\nmig.q.r = [\n1,\n2\n]\n",
            "[a.mig.o]\np = 1\n",
        ] {
            assert_eq!(without(&format!("{kept}{ours}"), &["a", "mig"]), kept, "{ours}");
        }
        let spread = "[a.mig]\np = 1\n[z]\ny = 1\n[a.mig.o]\nq = 1\n";
        assert_eq!(without(spread, &["a", "mig"]), "[z]\ny = 1\n");
        assert_eq!(without(kept, &["a", "mig"]), kept);
    }

    #[test]
    fn what_cant_be_read_is_named_with_its_line() {
        let failure = Toml::read(Path::new("/x"), "a = 1\nb = \n").err().unwrap();
        assert_eq!(
            failure.to_string(),
            "/x is not TOML: line 2: string values must be quoted, expected literal string; correct it first; nothing was changed"
        );
    }
}
