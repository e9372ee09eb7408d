//! Keeps the house in order: which module may know which, who may do I/O, name NVML or say `unsafe`.
//! The table is in `table.rs`; these tests hold the sources against it, and the rules against planted breaches.

mod reader;
mod rules;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rules::{Source, arrows_drawn, breaches};
use table::*;

/// Every Rust file below src/.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_sources_keep_the_rules() {
    let sources = sources();
    assert!(
        sources.iter().any(|(name, _)| name == "lib.rs"),
        "no sources read"
    );
    let breaches = breaches(&sources);
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// A reader that sees nothing would find every house in order.
#[test]
fn the_reader_sees_the_arrows_that_are_there() {
    let drawn = arrows_drawn(&sources());
    for (from, to) in [("mig", "failure"), ("edits", "mig")] {
        assert!(
            drawn.contains(&(from.to_owned(), to.to_owned())),
            "{from} -> {to} not seen in {drawn:?}"
        );
    }
}

#[test]
fn no_arrow_of_the_table_points_up() {
    for (at, (module, allowed)) in ARROWS.iter().enumerate() {
        for other in *allowed {
            let above = ARROWS[..at].iter().any(|(known, _)| known == other);
            assert!(above, "{module} -> {other} points to a line below, or to none");
        }
    }
}

/// A permission that nobody uses is an arrow that nobody decided on when it is drawn one day.
#[test]
fn every_permission_of_the_table_is_used() {
    let sources = sources();
    let mut stale = stale(&arrows_drawn(&sources));
    let is_there = |prefix: &str| sources.iter().any(|(name, _)| name.starts_with(prefix));
    let modules = ARROWS
        .iter()
        .map(|(module, _)| *module)
        .chain(PURE.iter().copied());
    let files = NOT_PURE.iter().chain(UNSAFE_FILES).copied().chain([NVML_FILES]);
    stale.extend(
        modules
            .chain(files)
            .filter(|name| !is_there(name))
            .map(str::to_owned),
    );
    assert!(stale.is_empty(), "take out of the table:\n{}", stale.join("\n"));
}

/// The table's arrows that are not in `drawn`.
fn stale(drawn: &BTreeSet<(String, String)>) -> Vec<String> {
    let mut stale = Vec::new();
    for (module, allowed) in ARROWS {
        for other in *allowed {
            if !drawn.contains(&((*module).to_owned(), (*other).to_owned())) {
                stale.push(format!("{module} -> {other}"));
            }
        }
    }
    stale
}

#[test]
fn an_arrow_that_nobody_draws_is_found() {
    let mut drawn = arrows_drawn(&sources());
    assert!(drawn.remove(&("edits".to_owned(), "mig".to_owned())));
    assert_eq!(stale(&drawn), ["edits -> mig"]);
}

/// What the rules say of one planted file beside an otherwise orderly house.
fn planted(name: &str, source: &str) -> Vec<String> {
    let forbid = "#![forbid(unsafe_code)]\n";
    let mut house: Vec<Source> = [
        "mig/mod.rs",
        "lease/mod.rs",
        "stage/mod.rs",
        "stage/poststop.rs",
        "main.rs",
    ]
    .iter()
    .filter(|known| **known != name)
    .map(|known| ((*known).to_owned(), forbid.to_owned()))
    .collect();
    house.push(("lib.rs".to_owned(), String::new()));
    assert_eq!(breaches(&house), Vec::<String>::new(), "the house itself");
    house.push((name.to_owned(), format!("{forbid}{source}")));
    breaches(&house)
}

#[test]
fn planted_breaches_are_found() {
    let breaches = [
        (
            "policy/mod.rs",
            "use crate::lease;",
            "policy/mod.rs:2: policy may not name lease",
        ),
        (
            "policy/mod.rs",
            "use crate::{mig, lease::{Lease as L, self}};",
            "policy may not name lease",
        ),
        (
            "policy/rank.rs",
            "use super::super::lease::Lease;",
            "policy may not name lease",
        ),
        (
            "policy/mod.rs",
            "pub(crate) use super::{lease as request};",
            "policy may not name lease",
        ),
        (
            "policy/mod.rs",
            "mod inner { use super::super::lease; }",
            "policy may not name lease",
        ),
        (
            "policy/mod.rs",
            "fn f() -> Vec<crate::lease::Lease> { x() }",
            "policy may not name lease",
        ),
        (
            "policy/mod.rs",
            "fn f() { println!(\"{}\", crate::lease::N) }",
            "policy may not name lease",
        ),
        (
            "policy/mod.rs",
            "macro_rules! m { () => { $crate::lease::x() } }",
            "policy may not name lease",
        ),
        (
            "policy/mod.rs",
            "#[serde(with = \"x\")] #[a(crate::lease::b)] struct S;",
            "policy may not name lease",
        ),
        (
            "policy/mod.rs",
            "#[cfg(test)] mod t { use super::*; } use crate::lease;",
            "policy may not name lease",
        ),
        (
            "policy/mod.rs",
            "#[cfg(not(test))] mod t { use crate::lease; }",
            "policy may not name lease",
        ),
        (
            "policy/mod.rs",
            "use crate as root;",
            "policy names the whole crate",
        ),
        ("policy/mod.rs", "use super::*;", "policy names the whole crate"),
        ("policy/mod.rs", "use crate::{*};", "policy names the whole crate"),
        ("attic.rs", "", "attic is not in the table of arrows"),
        (
            "main.rs",
            "use oci_mig_hook::inject::cgroup;",
            "main may not name inject",
        ),
        (
            "bin/oci-mig-runtime.rs",
            "fn main() { oci_mig_hook::lease::x() }",
            "bin may not name lease",
        ),
        (
            "operator/gc.rs",
            "use crate::inject;",
            "operator may not name inject",
        ),
        (
            "stage/precreate.rs",
            "use crate::stage::poststop;",
            "stage precreate may not name stage poststop",
        ),
        (
            "stage/precreate.rs",
            "fn f() { super::poststop::run() }",
            "may not name stage poststop",
        ),
        ("stage/precreate.rs", "use super::*;", "may not name stage *"),
        (
            "mig/mod.rs",
            "use std::{fmt, fs};",
            "mig is pure and may not name std::fs",
        ),
        (
            "request.rs",
            "fn f() { std::process::exit(1) }",
            "may not name std::process::exit",
        ),
        ("policy/mod.rs", "use ::libc as c;", "may not name libc"),
        ("policy/mod.rs", "extern crate nix;", "may not name nix"),
        (
            "edits/mod.rs",
            "fn f(p: &Path) -> bool { p.exists() }",
            "may not ask the file system: .exists",
        ),
        (
            "host/devices.rs",
            "use nvml_wrapper::Nvml;",
            "only host/nvml may name nvml_wrapper",
        ),
        ("mig/mod.rs", "fn f() { unsafe { g() } }", "may not say unsafe"),
        (
            "inject/mod.rs",
            "#[unsafe(no_mangle)] fn f() {}",
            "may not say unsafe",
        ),
        ("mig/mod.rs", "mod helpers { }", "'helpers' says nothing"),
        ("mig/util.rs", "", "'util' says nothing"),
        (
            "policy/mod.rs",
            "#[path = \"../lease/mod.rs\"] mod own;",
            "a #[path] hides",
        ),
        ("policy/mod.rs", "fn f() { ", "not Rust"),
    ];
    for (name, source, expected) in breaches {
        let found = planted(name, source);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{name}: {source}\n  found {found:?}"
        );
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    let orderly = [
        (
            "policy/mod.rs",
            "use crate::{mig::{self, Profile}, request::Request, failure};",
        ),
        (
            "policy/mod.rs",
            "/// See [`crate::lease`].\n// crate::lease\nfn f() -> &'static str { \"crate::lease\" }",
        ),
        (
            "policy/mod.rs",
            "#[cfg(test)]\nmod tests { use crate::lease; use std::fs; }",
        ),
        ("policy/mod.rs", "#[cfg(test)] pub use crate::lease::{Lease};"),
        (
            "policy/mod.rs",
            "mod inner { pub(super) fn f() { super::g() } } use self::inner::f;",
        ),
        (
            "policy/rank.rs",
            "use super::*; fn f<'a>() -> impl Sized + use<'a> { crate::policy::g() }",
        ),
        (
            "stage/precreate.rs",
            "use super::Outcome; use crate::{inject, reserve, host};",
        ),
        (
            "stage/mod.rs",
            "mod poststop; pub use poststop::run; pub use self::poststop::x;",
        ),
        (
            "host/nvml/child.rs",
            "use nvml_wrapper::Nvml; fn f() { unsafe { g() } }",
        ),
        ("edits/spec.rs", "use std::fs;"),
        (
            "main.rs",
            "use oci_mig_hook::{cli, stage::Stage, failure::Failure};",
        ),
    ];
    for (name, source) in orderly {
        assert_eq!(planted(name, source), Vec::<String>::new(), "{name}: {source}");
    }
}

/// A module of tests in its own file is named in the file that declares it, and judged by nobody.
#[test]
fn test_modules_in_their_own_files_are_left_alone() {
    let house = |declared: &str| {
        vec![
            (
                "policy/mod.rs".to_owned(),
                format!("#![forbid(unsafe_code)] {declared} mod tests;"),
            ),
            (
                "policy/tests.rs".to_owned(),
                "use crate::lease::Lease;".to_owned(),
            ),
        ]
    };
    assert_eq!(breaches(&house("#[cfg(test)]")), Vec::<String>::new());
    assert_eq!(
        breaches(&house("")),
        ["policy/tests.rs:1: policy may not name lease"]
    );
}

/// `forbid` reaches down into the files of a module, not up, nor from the library into a program.
#[test]
fn every_file_forbids_unsafe_or_inherits_it() {
    let complaint = "neither it nor a module above has #![forbid(unsafe_code)]";
    let house = |forbidding: &str| -> Vec<Source> {
        [
            "lib.rs",
            "mig/mod.rs",
            "mig/id.rs",
            "inject/mod.rs",
            "inject/node.rs",
            "inject/bpf.rs",
            "main.rs",
        ]
        .iter()
        .map(|name| {
            let text = if *name == forbidding {
                "#![forbid(unsafe_code)]"
            } else {
                ""
            };
            ((*name).to_owned(), text.to_owned())
        })
        .collect()
    };
    let complained = |forbidding: &str| -> Vec<String> {
        let breaches = breaches(&house(forbidding));
        breaches
            .iter()
            .map(|b| {
                b.strip_suffix(complaint)
                    .unwrap()
                    .trim_end_matches(":1: ")
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(complained("mig/mod.rs"), ["inject/node.rs", "main.rs"]);
    assert_eq!(
        complained("mig/id.rs"),
        ["mig/mod.rs", "inject/node.rs", "main.rs"]
    );
    assert_eq!(
        complained("main.rs"),
        ["mig/mod.rs", "mig/id.rs", "inject/node.rs"]
    );
    assert_eq!(complained("lib.rs"), ["main.rs"]);
}
