//! The rules: given every source file, the sentences that say what breaks which.

use std::collections::BTreeSet;

use crate::reader::{Reading, read};
use crate::table::*;

/// A source file: its path below src/, and its text.
pub type Source = (String, String);

struct File {
    name: String,
    module: Vec<String>,
    reading: Reading,
}

/// Every breach of the rules in these files, one sentence each: `policy/rank.rs:3: policy may not name lease`.
pub fn breaches(sources: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut files = Vec::new();
    for (name, source) in sources {
        let module = module_of(name);
        match read(source, &module) {
            Ok(reading) => files.push(File {
                name: name.clone(),
                module,
                reading,
            }),
            Err(error) => breaches.push(format!("{name}: {error}")),
        }
    }
    let tests: Vec<Vec<String>> = files
        .iter()
        .flat_map(|f| f.reading.test_modules.clone())
        .collect();
    files.retain(|file| !tests.iter().any(|test| file.module.starts_with(test)));
    for file in &files {
        let mut say = |line: usize, what: String| breaches.push(format!("{}:{line}: {what}", file.name));
        names(file, &mut say);
        arrows(file, &mut say);
        siblings(file, &files, &mut say);
        purity(file, &mut say);
        nvml(file, &mut say);
        unsafety(file, &files, &mut say);
    }
    breaches.dedup();
    breaches
}

/// Every arrow between modules that these files draw.
pub fn arrows_drawn(sources: &[Source]) -> BTreeSet<(String, String)> {
    let mut drawn = BTreeSet::new();
    for (name, source) in sources {
        let module = module_of(name);
        let Ok(reading) = read(source, &module) else {
            continue;
        };
        for (path, _) in &reading.paths {
            match (module.as_slice(), path.as_slice()) {
                ([own, ..], [root, other, ..]) if root == "crate" && own != other => {
                    drawn.insert((own.clone(), other.clone()));
                }
                _ => {}
            }
        }
    }
    drawn
}

/// `stage/mod.rs` is `stage`, `mig/id.rs` is `mig::id`, `lib.rs` the root, `bin/x.rs` is `bin::x`.
fn module_of(name: &str) -> Vec<String> {
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let mut module: Vec<String> = stem.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

/// No module is a drawer, and none comes from a place that its name doesn't say.
fn names(file: &File, say: &mut impl FnMut(usize, String)) {
    let declared = file
        .reading
        .modules
        .iter()
        .map(|(name, line)| (name.as_str(), *line));
    let own = file.module.iter().map(|name| (name.as_str(), 1));
    for (name, line) in declared.chain(own) {
        if DRAWERS.contains(&name) {
            say(line, format!("'{name}' says nothing of what is inside"));
        }
    }
    for line in &file.reading.path_attributes {
        say(*line, "a #[path] hides where a module lies".to_owned());
    }
}

fn arrows(file: &File, say: &mut impl FnMut(usize, String)) {
    let Some(own) = file.module.first() else {
        return;
    };
    let Some((_, allowed)) = ARROWS.iter().find(|(module, _)| module == own) else {
        return say(1, format!("{own} is not in the table of arrows"));
    };
    for (path, line) in &file.reading.paths {
        let [root, rest @ ..] = path.as_slice() else {
            continue;
        };
        if root != "crate" {
            continue;
        }
        match rest.first().map(String::as_str) {
            None | Some("*") => say(*line, format!("{own} names the whole crate")),
            Some(other) if other == own || EVERYONE_MAY.contains(&other) || allowed.contains(&other) => {}
            Some(other) => say(*line, format!("{own} may not name {other}")),
        }
    }
}

/// Stages never call one another: what they share stands in stage/mod.rs or below them.
fn siblings(file: &File, files: &[File], say: &mut impl FnMut(usize, String)) {
    let [stage, own, ..] = file.module.as_slice() else {
        return;
    };
    if stage != "stage" {
        return;
    }
    let is_stage = |name: &str| {
        files
            .iter()
            .any(|file| matches!(file.module.as_slice(), [s, other, ..] if s == "stage" && other == name))
    };
    for (path, line) in &file.reading.paths {
        let [root, stage, other, ..] = path.as_slice() else {
            continue;
        };
        let theirs = root == "crate" && stage == "stage" && other != own;
        if theirs && (other == "*" || is_stage(other)) {
            say(*line, format!("stage {own} may not name stage {other}"));
        }
    }
}

fn purity(file: &File, say: &mut impl FnMut(usize, String)) {
    let pure = file
        .module
        .first()
        .is_some_and(|module| PURE.contains(&module.as_str()));
    if !pure || NOT_PURE.contains(&file.name.as_str()) {
        return;
    }
    for (path, line) in &file.reading.paths {
        let path = path.join("::");
        if IO_PATHS
            .iter()
            .any(|io| path == *io || path.starts_with(&format!("{io}::")))
        {
            say(
                *line,
                format!("{} is pure and may not name {path}", file.module[0]),
            );
        }
    }
    for (method, line) in &file.reading.methods {
        if IO_METHODS.contains(&method.as_str()) {
            say(
                *line,
                format!(
                    "{} is pure and may not ask the file system: .{method}",
                    file.module[0]
                ),
            );
        }
    }
}

fn nvml(file: &File, say: &mut impl FnMut(usize, String)) {
    if file.name.starts_with(NVML_FILES) {
        return;
    }
    for (path, line) in &file.reading.paths {
        if NVML_CRATES.contains(&path[0].as_str()) {
            say(*line, format!("only {NVML_FILES} may name {}", path[0]));
        }
    }
}

/// `unsafe` stands only where it is listed, and everywhere else the compiler is told so: by the file itself or by
/// a module above it. A module above a listed file can't forbid it, which is all that excuses it.
fn unsafety(file: &File, files: &[File], say: &mut impl FnMut(usize, String)) {
    let listed = |name: &str| UNSAFE_FILES.iter().any(|listed| name.starts_with(listed));
    if listed(&file.name) {
        return;
    }
    for line in &file.reading.unsafe_lines {
        say(*line, "may not say unsafe".to_owned());
    }
    let is_above = |upper: &File| file.module.starts_with(&upper.module) && root_of(upper) == root_of(file);
    let forbidden = files
        .iter()
        .any(|upper| upper.reading.forbids_unsafe && is_above(upper));
    let is_program = matches!(file.module.first().map(String::as_str), Some("main" | "bin"));
    let excused = !is_program
        && UNSAFE_FILES.iter().any(|listed| {
            let below = module_of(listed);
            below.starts_with(&file.module) && below != file.module
        });
    if !forbidden && !excused {
        say(
            1,
            "neither it nor a module above has #![forbid(unsafe_code)]".to_owned(),
        );
    }
}

/// Which crate a file belongs to: a program's root inherits nothing from the library's.
fn root_of(file: &File) -> &str {
    match file.module.first().map(String::as_str) {
        Some(root @ ("main" | "bin")) => root,
        _ => "lib",
    }
}
