//! One more string in a list of a TOML file, and out of it again, with the list's own layout and its comments kept.

#![forbid(unsafe_code)]

use toml_edit::{Array, RawString, Value};

/// Adds `string` after the list's last string: an `{append=true}` of Podman's stays the last.
pub fn add(list: &mut Array, string: &str) {
    let last = (0..list.len()).rfind(|at| list.get(*at).is_some_and(Value::is_str));
    let at = last.map_or(0, |last| last + 1);
    let gap = take_gap(list, at);
    // A comment beside the last string stays beside it.
    let (beside, rest) = at_last_newline(&gap);
    let (before, after) = match last.and_then(|last| list.get(last)) {
        Some(last) => {
            let lead = match at_last_newline(above(last)) {
                (_, lead) if lead.starts_with('\n') => lead,
                _ if rest.starts_with('\n') => "\n",
                _ => " ",
            };
            (format!("{beside}{lead}"), rest)
        }
        None if list.is_empty() || rest.starts_with('\n') => (gap.clone(), rest),
        None => (gap.clone(), " "),
    };
    list.insert_formatted(at, Value::from(string).decorated(before, ""));
    set_gap(list, at + 1, after);
}

/// Takes `string` out of the list.
pub fn remove(list: &mut Array, string: &str) {
    let Some(at) = list.iter().position(|item| item.as_str() == Some(string)) else {
        return;
    };
    let gap = take_gap(list, at + 1);
    let gone = list.remove(at);
    let (beside, lead) = at_last_newline(above(&gone));
    let left = match at {
        0 if !list.is_empty() => above(&gone).to_owned(),
        // A comment needs its line's end.
        _ if beside.contains('#') && !gap.contains('\n') => format!("{beside}{lead}{gap}"),
        _ => format!("{beside}{gap}"),
    };
    set_gap(list, at, &left);
}

/// Takes what stands before the item at this place, or before the list's end, but for the comma.
fn take_gap(list: &mut Array, at: usize) -> String {
    let mut gap = String::new();
    if at == list.len() {
        if let Some(last) = list.iter_mut().last() {
            gap += text(last.decor().suffix());
            last.decor_mut().set_suffix("");
        }
    }
    gap += list.get(at).map_or(text(Some(list.trailing())), above);
    set_gap(list, at, "");
    gap
}

fn set_gap(list: &mut Array, at: usize, text: &str) {
    match list.get_mut(at) {
        Some(next) => next.decor_mut().set_prefix(text),
        None => list.set_trailing(text),
    }
}

fn above(item: &Value) -> &str {
    text(item.decor().prefix())
}

fn text(raw: Option<&RawString>) -> &str {
    raw.and_then(RawString::as_str).unwrap_or_default()
}

fn at_last_newline(text: &str) -> (&str, &str) {
    text.split_at(text.rfind('\n').unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use toml_edit::DocumentMut;

    use super::*;

    fn changed(text: &str, change: impl Fn(&mut Array, &str)) -> String {
        let mut all: DocumentMut = text.parse().unwrap();
        change(all["d"].as_array_mut().unwrap(), "/o");
        all.to_string()
    }

    #[test]
    fn a_string_is_added_in_the_list_s_own_layout_and_leaves_no_trace() {
        for (text, expected) in [
            ("d = []\n", "d = [\"/o\"]\n"),
            ("d = [\"/a\"]\n", "d = [\"/a\", \"/o\"]\n"),
            ("d = ['/a', '/b',]\n", "d = ['/a', '/b', \"/o\",]\n"),
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
            let with = changed(text, add);
            assert_eq!(with, expected);
            assert_eq!(changed(&with, remove), text, "from {with}");
        }
    }

    #[test]
    fn a_string_goes_from_anywhere_and_comments_stay() {
        for (text, expected) in [
            ("d = [\"/o\", \"/b\"]\n", "d = [\"/b\"]\n"),
            (
                "d = [\n  # mine\n  \"/o\",\n  \"/b\",\n]\n",
                "d = [\n  # mine\n  \"/b\",\n]\n",
            ),
            ("d = [ \"/b\" ]\n", "d = [ \"/b\" ]\n"),
        ] {
            assert_eq!(changed(text, remove), expected);
        }
    }
}
