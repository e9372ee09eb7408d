//! An engine's TOML file, read and changed: comments, order and layout of what isn't ours stay.

#![forbid(unsafe_code)]

use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, TomlError, Value};

use super::toml_header;
use crate::failure::Failure;

/// A file, read.
pub struct Toml {
    all: DocumentMut,
    /// Whether its lines end in CR LF.
    is_crlf: bool,
}

impl Toml {
    /// Reads an engine's file.
    ///
    /// # Errors
    /// A host failure that names the file and the line.
    pub fn read(path: &Path, text: &str) -> Result<Toml, Failure> {
        // The library writes LF, whatever it read.
        let is_crlf = text.contains("\r\n");
        let text = text.replace("\r\n", "\n");
        let all = text.parse().map_err(|error: TomlError| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            Failure::host(
                format!("{} is not TOML", path.display()),
                format!("line {line}: {}", error.message()),
            )
            .remedy("correct it first; nothing was changed")
        })?;
        Ok(Toml { all, is_crlf })
    }

    /// Whether there is nothing but comments.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What is at the end of these keys.
    pub fn item(&self, keys: &[&str]) -> Option<&Item> {
        keys.iter()
            .try_fold(self.all.as_item(), |item, key| item.get(key))
    }

    /// The string there.
    pub fn string(&self, keys: &[&str]) -> Option<&str> {
        self.item(keys)?.as_str()
    }

    /// The whole number there.
    pub fn integer(&self, keys: &[&str]) -> Option<i64> {
        self.item(keys)?.as_integer()
    }

    /// The strings of the list there; other values in it are passed over.
    pub fn strings(&self, keys: &[&str]) -> Option<Vec<&str>> {
        let list = self.item(keys)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).collect())
    }

    /// The text with this string in the place of the value there.
    pub fn with_string(&self, keys: &[&str], new: &str) -> String {
        let mut all = self.all.clone();
        if let Some(old) = item_mut(&mut all, keys).and_then(Item::as_value_mut) {
            let decor = old.decor().clone();
            *old = new.into();
            *old.decor_mut() = decor;
        }
        self.text(&all)
    }

    /// The text with the list there changed; `None` where there is no list.
    pub fn with_list(&self, keys: &[&str], change: impl FnOnce(&mut Array)) -> Option<String> {
        let mut all = self.all.clone();
        change(item_mut(&mut all, keys)?.as_array_mut()?);
        Some(self.text(&all))
    }

    /// The text with one more value at the end of these keys; `None` where they lead to no `[table]`.
    pub fn with_value(&self, keys: &[&str], value: Item) -> Option<String> {
        let mut all = self.all.clone();
        let (last, parents) = keys.split_last()?;
        item_mut(&mut all, parents)?.as_table_mut()?.insert(last, value);
        Some(self.text(&all))
    }

    /// The text without the table or value there, however it is written, and without the comments of `template`, with
    /// which it came. Other comments above a table stay; those inside it go.
    pub fn without(&self, keys: &[&str], template: &str) -> String {
        let mut all = self.all.clone();
        let (last, parents) = keys.split_last().unwrap_or((&"", &[]));
        let parent = item_mut(&mut all, parents).and_then(Item::as_table_like_mut);
        let gone = parent.and_then(|parent| parent.remove(last));
        if gone.is_some_and(|gone| !toml_header::pass_on(gone, &mut all, template)) {
            if let Some(table) = item_mut(&mut all, parents).and_then(Item::as_table_mut) {
                toml_header::clear(table, template);
            }
        }
        self.text(&all)
    }

    fn text(&self, all: &DocumentMut) -> String {
        match self.is_crlf {
            true => all.to_string().replace('\n', "\r\n"),
            false => all.to_string(),
        }
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
    Value::from(text).to_string()
}

fn item_mut<'t>(all: &'t mut DocumentMut, keys: &[&str]) -> Option<&'t mut Item> {
    keys.iter().try_fold(all.as_item_mut(), |item, key| {
        item.as_table_like_mut()?.get_mut(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(text: &str, keys: &[&str]) -> String {
        let toml = Toml::read(Path::new("x"), text).unwrap();
        toml.without(keys, "# mark\n[it]\n")
    }

    #[test]
    fn a_table_goes_with_its_mark_and_leaves_the_rest() {
        let before = "version = 2\n\n# theirs\n[z]\n  x = 1 # y\n";
        let block = "# mark\n[a.\"b.c\".mig] # h\n  l = [\n    1, # one\n  ]\n\n  # in it\n  [a.\"b.c\".mig.o]\n    p = 'q'\n";
        for after in ["\n# a comment\n[a.\"b.c\".other]\nmig = 1\n", "", "\n# the end"] {
            for newline in ["\n", "\r\n"] {
                let text = format!("{before}\n{block}{after}").replace('\n', newline);
                let left = format!("{before}{after}").replace('\n', newline);
                assert_eq!(without(&text, &["a", "b.c", "mig"]), left);
            }
        }
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
    fn comments_that_are_not_ours_stay_above_what_follows() {
        let text = "[b]\n\n# theirs\n\n# mark\n[a.mig]\n# in it\nx = 1\n\n# next\n[c]\n";
        assert_eq!(without(text, &["a", "mig"]), "[b]\n\n# theirs\n\n# next\n[c]\n");
        assert_eq!(
            without("# mark\n[a]\nx = 1\ny = 2\n", &["a", "x"]),
            "[a]\ny = 2\n"
        );
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
