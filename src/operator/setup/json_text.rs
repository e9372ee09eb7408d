//! Changes to a JSON text that leave every other byte of it as it is: order, indentation, numbers as they were typed.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::json_style::Style;
use super::spliced;

/// Where an object stands in a text, and where its members' values do.
#[derive(Debug)]
pub struct Object {
    /// From its opening brace to its closing one.
    span: Range<usize>,
    members: Vec<(String, Range<usize>)>,
}

/// The members of an object in their order, each as it was typed.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl Object {
    /// The text's outermost object.
    pub fn outermost(text: &str) -> serde_json::Result<Object> {
        let raw: &RawValue = serde_json::from_str(text)?;
        Object::read(text, raw)
    }

    /// The object that is this member's value; `None` without such a member. The last of several counts, as engines
    /// see it.
    pub fn object(&self, text: &str, name: &str) -> serde_json::Result<Option<Object>> {
        let Some(span) = self.value(name) else {
            return Ok(None);
        };
        let raw: &RawValue = serde_json::from_str(&text[span])?;
        Object::read(text, raw).map(Some)
    }

    /// Where this member's value stands.
    pub fn value(&self, name: &str) -> Option<Range<usize>> {
        let found = self.members.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, span)| span.clone())
    }

    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn read(text: &str, raw: &RawValue) -> serde_json::Result<Object> {
        let Members(members) = serde_json::from_str(raw.get())?;
        let place = |raw: &RawValue| {
            // `raw` borrows from `text`.
            let start = raw.get().as_ptr() as usize - text.as_ptr() as usize;
            start..start + raw.get().len()
        };
        Ok(Object {
            span: place(raw),
            members: members.into_iter().map(|(key, raw)| (key, place(raw))).collect(),
        })
    }

    /// The text with one more member at the end of this object, which lies `depth` objects deep.
    pub fn with(&self, text: &str, depth: usize, name: &str, value: &Value) -> String {
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
    pub fn without(&self, text: &str, name: &str) -> String {
        let Some(at) = self.members.iter().rposition(|(key, _)| key == name) else {
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

impl<'t> Deserialize<'t> for Members<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'t> Visitor<'t> for Collect {
            type Value = Members<'t>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{hash_set, vec};
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::json;
    use serde_json::ser::PrettyFormatter;

    use super::super::json_style::{Spaced, rendered};
    use super::*;

    fn put(text: &str) -> String {
        Object::outermost(text)
            .unwrap()
            .with(text, 0, "new", &json!({"a": [1]}))
    }

    fn take(text: &str) -> String {
        Object::outermost(text).unwrap().without(text, "new")
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
            assert!(Object::outermost(text).is_err(), "{text}");
        }
    }
}
