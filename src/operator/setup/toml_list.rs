//! One more string in a list of a TOML text, and out of it again, with the list's own layout and its comments kept.

#![forbid(unsafe_code)]

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::spliced;
use super::toml_text::quoted;

/// A list, and the text it stands in.
pub struct List<'t> {
    text: &'t str,
    span: Range<usize>,
    /// Each item: where it stands, and what it is where it is a string.
    items: Vec<(Range<usize>, Option<String>)>,
}

impl<'t> List<'t> {
    /// The list that this value is.
    pub fn new(text: &'t str, value: &Spanned<DeValue<'_>>) -> Option<List<'t>> {
        let item = |item: &Spanned<DeValue<'_>>| (item.span(), item.get_ref().as_str().map(str::to_owned));
        Some(List {
            text,
            span: value.span(),
            items: value.get_ref().as_array()?.iter().map(item).collect(),
        })
    }

    fn position(&self, string: &str) -> Option<usize> {
        self.items
            .iter()
            .position(|(_, item)| item.as_deref() == Some(string))
    }

    /// The text with `string` in the list after its last string: an `{append=true}` of Podman's stays the last.
    pub fn with(&self, string: &str) -> String {
        let string = quoted(string);
        let Some(at) = self.items.iter().rposition(|(_, item)| item.is_some()) else {
            let inner = self.span.start + 1..self.span.start + 1;
            let comma = if self.items.is_empty() { "" } else { ", " };
            return spliced(self.text, inner, &format!("{string}{comma}"));
        };
        let end = self.items[at].0.end;
        let lead = self.lead(at);
        let tail = &self.text[end..self.end_of_gap(at)];
        let (Some(hash), Some(line)) = (tail.find('#'), tail.find('\n')) else {
            return spliced(self.text, end..end, &format!(",{lead}{string}"));
        };
        // A comment beside the last string stays beside it.
        match tail[..hash].contains(',') {
            true => spliced(self.text, end + line..end + line, &format!("{lead}{string},")),
            false => {
                let text = spliced(self.text, end + line..end + line, &format!("{lead}{string}"));
                spliced(&text, end..end, ",")
            }
        }
    }

    /// The text without `string` in the list.
    pub fn without(&self, string: &str) -> String {
        let Some(at) = self.position(string) else {
            return self.text.to_owned();
        };
        let own = self.items[at].0.clone();
        let before = match at {
            0 => self.span.start + 1,
            _ => self.items[at - 1].0.end,
        };
        let comma = self.comma_after(at);
        let is_alone = at == 0 && self.items.len() == 1;
        let gap = &self.text[before..own.start];
        let lead = gap.len() - gap.trim_end().len();
        match gap.contains('#') {
            false if is_alone => spliced(self.text, before..comma.unwrap_or(own.end), ""),
            false if at == 0 => spliced(self.text, own.start..self.items[1].0.start, ""),
            false => spliced(self.text, before..own.end, ""),
            // A comment stands between it and the one before.
            true if comma.is_some() || at == 0 => {
                spliced(self.text, own.start - lead..comma.unwrap_or(own.end), "")
            }
            true => {
                let text = spliced(self.text, own.start - lead..own.end, "");
                let comma = gap
                    .find(',')
                    .map_or(before..before, |at| before + at..before + at + 1);
                spliced(&text, comma, "")
            }
        }
    }

    /// What stands before an item: a space, or a line's end and indentation.
    fn lead(&self, at: usize) -> &str {
        let before = match at {
            0 => self.span.start + 1,
            _ => self.items[at - 1].0.end,
        };
        let gap = &self.text[before..self.items[at].0.start];
        match gap.rfind('\n') {
            Some(line) => &gap[line..],
            None => " ",
        }
    }

    fn end_of_gap(&self, at: usize) -> usize {
        match self.items.get(at + 1) {
            Some((next, _)) => next.start,
            None => self.span.end - 1,
        }
    }

    /// Where the comma after an item ends.
    fn comma_after(&self, at: usize) -> Option<usize> {
        let own = &self.items[at].0;
        let gap = &self.text[own.end..self.end_of_gap(at)];
        let code = gap.split('#').next().unwrap_or_default();
        code.find(',').map(|comma| own.end + comma + 1)
    }
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    fn list(text: &str, change: impl Fn(&List<'_>) -> String) -> String {
        let table = DeTable::parse(text).unwrap();
        change(&List::new(text, table.get_ref().get("d").unwrap()).unwrap())
    }

    #[test]
    fn a_string_is_added_in_the_list_s_own_layout_and_leaves_no_trace() {
        for (text, expected) in [
            ("d = []\n", "d = [\"/o\"]\n"),
            ("d = [\"/a\"]\n", "d = [\"/a\", \"/o\"]\n"),
            ("d = ['/a', '/b',]", "d = ['/a', '/b', \"/o\",]"),
            ("d = [\n  \"/a\",\n]\n", "d = [\n  \"/a\",\n  \"/o\",\n]\n"),
            (
                "d = [\n\t\"/a\",\n\t\"/b\"\n]\n",
                "d = [\n\t\"/a\",\n\t\"/b\",\n\t\"/o\"\n]\n",
            ),
            (
                "d = [\n  \"/a\", # ours, mine\n]\n",
                "d = [\n  \"/a\", # ours, mine\n  \"/o\",\n]\n",
            ),
            (
                "d = [\n  \"/a\" # ours, mine\n]\n",
                "d = [\n  \"/a\", # ours, mine\n  \"/o\"\n]\n",
            ),
            (
                "d = [\"/a\", {append=true}]\n",
                "d = [\"/a\", \"/o\", {append=true}]\n",
            ),
            ("d = [{append=true}]\n", "d = [\"/o\", {append=true}]\n"),
        ] {
            let with = list(text, |list| list.with("/o"));
            assert_eq!(with, expected);
            assert_eq!(list(&with, |list| list.without("/o")), text, "from {with}");
        }
    }

    #[test]
    fn a_string_goes_from_anywhere_and_comments_stay() {
        for (text, expected) in [
            ("d = [\"/o\", \"/b\"]", "d = [\"/b\"]"),
            (
                "d = [\n  # mine\n  \"/o\",\n  \"/b\",\n]",
                "d = [\n  # mine\n  \"/b\",\n]",
            ),
            ("d = [ \"/b\" ]", "d = [ \"/b\" ]"),
        ] {
            assert_eq!(list(text, |list| list.without("/o")), expected);
        }
    }
}
