//! Changes to a JSON text that leave every other byte of it as it is: order, indentation, numbers as they were typed.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::json_style::Style;

/// The text with this value at the end of these keys.
pub fn with(text: &str, keys: &[&str], value: &Value) -> serde_json::Result<String> {
    let mut object = Object::read(text, serde_json::from_str(text)?)?;
    for (depth, key) in keys.iter().enumerate() {
        let rest = &keys[depth + 1..];
        object = match object.value(key) {
            None => {
                let value = rest
                    .iter()
                    .rfold(value.clone(), |value, key| json!({ *key: value }));
                return Ok(object.with(text, depth, key, &value));
            }
            Some(span) if rest.is_empty() => return Ok(spliced(text, span, &value.to_string())),
            Some(span) => Object::read(text, serde_json::from_str(&text[span])?)?,
        };
    }
    Ok(text.to_owned())
}

/// The text without the member at the end of these keys.
pub fn without(text: &str, keys: &[&str]) -> serde_json::Result<String> {
    let mut object = Object::read(text, serde_json::from_str(text)?)?;
    let (last, parents) = keys.split_last().unwrap_or((&"", &[]));
    for key in parents {
        let Some(span) = object.value(key) else {
            return Ok(text.to_owned());
        };
        object = Object::read(text, serde_json::from_str(&text[span])?)?;
    }
    Ok(object.without(text, last))
}

/// Where an object stands in a text, and where its members' values do.
struct Object {
    /// From its opening brace to its closing one.
    span: Range<usize>,
    /// In their order; of several with one name the last, as engines see it.
    members: Vec<(String, Range<usize>)>,
}

impl Object {
    /// `raw` borrows from `text`.
    fn read(text: &str, raw: &RawValue) -> serde_json::Result<Object> {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get())?;
        let place = |raw: &RawValue| {
            let start = raw.get().as_ptr() as usize - text.as_ptr() as usize;
            start..start + raw.get().len()
        };
        let mut members: Vec<_> = members.into_iter().map(|(key, raw)| (key, place(raw))).collect();
        members.sort_by_key(|(_, span)| span.start);
        Ok(Object {
            span: place(raw),
            members,
        })
    }

    /// Where this member's value stands.
    fn value(&self, name: &str) -> Option<Range<usize>> {
        let found = self.members.iter().find(|(key, _)| key == name);
        found.map(|(_, span)| span.clone())
    }

    /// The text with one more member at the end of this object, which lies `depth` objects deep.
    fn with(&self, text: &str, depth: usize, name: &str, value: &Value) -> String {
        let style = match self.members.is_empty() {
            true => Style::of(text),
            // An object on one line stays on it.
            false => Style::of(text).on_the_lines_of(&text[self.span.clone()]),
        };
        let member = style.member(depth + 1, name, value);
        let (at, inserted) = match self.members.last() {
            Some((_, last)) => (last.end..last.end, format!(",{member}")),
            None => {
                let inside = self.span.start + 1..self.span.end - 1;
                (inside, member + &style.line(depth))
            }
        };
        spliced(text, at, &inserted)
    }

    /// The text without this member.
    fn without(&self, text: &str, name: &str) -> String {
        let Some(at) = self.members.iter().position(|(key, _)| key == name) else {
            return text.to_owned();
        };
        let value = &self.members[at].1;
        let next_key = |from: usize| text[from..].find('"').map_or(from, |quote| from + quote);
        let cut = if at > 0 {
            self.members[at - 1].1.end..value.end
        } else if self.members.len() > 1 {
            next_key(self.span.start)..next_key(value.end)
        } else {
            self.span.start + 1..self.span.end - 1
        };
        spliced(text, cut, "")
    }
}

/// The text with `range` replaced.
fn spliced(text: &str, range: Range<usize>, by: &str) -> String {
    format!("{}{by}{}", &text[..range.start], &text[range.end..])
}

#[cfg(test)]
mod tests {
    use proptest::collection::{hash_set, vec};
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::ser::PrettyFormatter;

    use super::super::json_style::{Spaced, rendered};
    use super::*;

    fn put(text: &str) -> String {
        with(text, &["new"], &json!({"a": [1]})).unwrap()
    }

    fn take(text: &str) -> String {
        without(text, &["new"]).unwrap()
    }

    #[test]
    fn a_member_is_added_in_the_text_s_own_style() {
        for (text, expected) in [
            (
                "{}",
                "{\n    \"new\": {\n        \"a\": [\n            1\n        ]\n    }\n}",
            ),
            ("{\"x\": 1}\n", "{\"x\": 1, \"new\": {\"a\": [1]}}\n"),
            ("{\"x\":1}\n", "{\"x\":1,\"new\":{\"a\":[1]}}\n"),
            (
                "{\n\t\"x\" :\t1.0e3\n}\n",
                "{\n\t\"x\" :\t1.0e3,\n\t\"new\": {\n\t\t\"a\": [\n\t\t\t1\n\t\t]\n\t}\n}\n",
            ),
            (
                "{\r\n  \"x\": \"}\"\r\n}",
                "{\r\n  \"x\": \"}\",\r\n  \"new\": {\r\n    \"a\": [\r\n      1\r\n    ]\r\n  }\r\n}",
            ),
        ] {
            assert_eq!(put(text), expected);
            assert_eq!(take(&put(text)), text, "and leaves no trace");
        }
    }

    #[test]
    fn a_member_goes_from_anywhere() {
        for (text, expected) in [
            ("{ \"new\": 1, \"b\": 2 }", "{ \"b\": 2 }"),
            (
                "{\n \"a\": 1,\n \"new\": [2],\n \"b\": 3\n}",
                "{\n \"a\": 1,\n \"b\": 3\n}",
            ),
            ("{\"a\": 1}", "{\"a\": 1}"),
            ("{\"a\": 1, \"new\": 1, \"new\": 2}", "{\"a\": 1}"),
        ] {
            assert_eq!(take(text), expected);
        }
    }

    proptest! {
        /// Whatever the file says and however it is laid out.
        #[test]
        fn in_and_out_leaves_every_byte(
            names in hash_set("[a-z\"\\\\{}, ]{0,6}", 0..5),
            values in vec(select(vec![json!(1), json!("a, \"}"), json!([]), json!({"b": {}}), json!(null)]), 5),
            indent in select(vec!["", " ", "  ", "\t"]),
        ) {
            let all: serde_json::Map<_, _> = names.into_iter().zip(values).collect();
            let format = PrettyFormatter::with_indent(indent.as_bytes());
            for text in [rendered(&json!(all), format), rendered(&json!(all), Spaced), json!(all).to_string()] {
                let with = put(&text);
                let mut expected = all.clone();
                expected.insert("new".to_owned(), json!({"a": [1]}));
                prop_assert_eq!(serde_json::from_str::<Value>(&with).unwrap(), json!(expected), "{}", &with);
                prop_assert_eq!(take(&with), text);
            }
        }
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for text in ["[]", "{\"a\": 1,}", "", "{} x", "// c\n{}"] {
            assert!(without(text, &["a"]).is_err(), "{text}");
        }
    }
}
