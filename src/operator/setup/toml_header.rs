//! The comments above a TOML file's `[headers]`, where one of them goes.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use toml_edit::visit_mut::{self, VisitMut};
use toml_edit::{Decor, DocumentMut, Item, RawString, Table};

/// What to do at a header, given its place in the file and what stands around it.
struct AtHeaders<'a>(&'a mut dyn FnMut(isize, &mut Decor));

impl VisitMut for AtHeaders<'_> {
    fn visit_table_mut(&mut self, table: &mut Table) {
        // A table without a header of its own has no place.
        if let Some(place) = table.position() {
            (self.0)(place, table.decor_mut());
        }
        visit_mut::visit_table_mut(self, table);
    }
}

/// Each header of an item, and what stands above it, in the file's order.
fn headers(item: &mut Item) -> BTreeMap<isize, String> {
    let mut all = BTreeMap::new();
    let mut insert = |place, decor: &mut Decor| drop(all.insert(place, text(decor.prefix()).to_owned()));
    AtHeaders(&mut insert).visit_item_mut(item);
    all
}

/// Lets what stood above an item's first header stand above what follows, but for the comments of `template` and the
/// empty line with which it came. `false` where the item has no header.
pub fn pass_on(mut gone: Item, all: &mut DocumentMut, template: &str) -> bool {
    let Some((first, above)) = headers(&mut gone).pop_first() else {
        return false;
    };
    let mut above = others(&above, template);
    if above == "\n" || above.ends_with("\n\n") {
        above.pop();
    }
    match headers(all.as_item_mut()).range(first..).next() {
        Some((next, below)) => {
            let mut set = |place, decor: &mut Decor| {
                if place == *next {
                    decor.set_prefix(format!("{above}{below}"));
                }
            };
            AtHeaders(&mut set).visit_document_mut(all);
        }
        None => all.set_trailing(above + text(Some(all.trailing()))),
    }
    true
}

/// Takes the comments of `template` away from above a table.
pub fn clear(table: &mut Table, template: &str) {
    let above = others(text(table.decor().prefix()), template);
    table.decor_mut().set_prefix(above);
}

/// The lines that aren't comments of `template`.
fn others(above: &str, template: &str) -> String {
    let is_ours = |line: &str| line.starts_with('#') && template.lines().any(|own| own == line.trim_end());
    let lines = above.split_inclusive('\n');
    lines.filter(|line| !is_ours(line)).collect()
}

fn text(raw: Option<&RawString>) -> &str {
    raw.and_then(RawString::as_str).unwrap_or_default()
}
