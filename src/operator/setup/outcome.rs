//! What `setup` tells the operator: the difference, where the backup is, what to do next. As text, or as JSON.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;
use similar::TextDiff;

use super::Setup;
use super::plan::{Backup, Change, Plan};

/// Everything that `--json` says.
#[derive(Serialize)]
pub struct Outcome<'a> {
    engine: &'static str,
    /// Whether anything was changed; with `dry_run`, whether anything would be.
    changed: bool,
    dry_run: bool,
    files: Vec<FileOutcome<'a>>,
    /// What to know before relying on it.
    notes: &'a [String],
    /// What to do next, in order.
    next: &'a [String],
}

#[derive(Serialize)]
struct FileOutcome<'a> {
    file: &'a Path,
    /// `created`, `edited` or `removed`.
    change: &'static str,
    /// Where the file as it was before us is kept.
    backup: Option<String>,
    diff: String,
}

impl<'a> Outcome<'a> {
    /// What the plan did.
    pub fn of(order: &Setup, plan: &'a Plan) -> Self {
        let file = |change: &'a Change| FileOutcome {
            file: &change.found.path,
            change: kind(change),
            backup: backup(change),
            diff: diff(change),
        };
        Outcome {
            engine: order.engine.name(),
            changed: !plan.changes.is_empty(),
            dry_run: order.dry_run,
            files: plan.changes.iter().map(file).collect(),
            notes: &plan.notes,
            next: &plan.next,
        }
    }
}

/// The unified difference of every file.
pub fn difference(plan: &Plan) -> String {
    let diffs: String = plan.changes.iter().map(diff).collect();
    match diffs.is_empty() {
        true => diffs,
        false => diffs + "\n",
    }
}

/// What was done, where the backup is, what to do next.
pub fn summary(order: &Setup, plan: &Plan) -> String {
    let mut lines = Vec::new();
    if plan.changes.is_empty() {
        lines.push(("unchanged", plan.already.clone()));
    }
    for change in &plan.changes {
        let label = match (kind(change), order.dry_run) {
            (kind, false) => kind,
            ("created", _) => "would create",
            ("removed", _) => "would remove",
            _ => "would edit",
        };
        lines.push((label, change.found.path.display().to_string()));
        lines.extend(backup_line(change, order.undo).map(|line| ("backup", line)));
    }
    lines.extend(plan.notes.iter().map(|note| ("note", note.clone())));
    match order.dry_run && !plan.changes.is_empty() {
        true => lines.push(("dry run", "nothing was written".to_owned())),
        false => lines.extend(plan.next.iter().map(|step| ("next", step.clone()))),
    }
    let mut text = String::new();
    for (label, what) in lines {
        // Writing into a string can't fail.
        let _ = writeln!(text, "{:<13} {what}", format!("{label}:"));
    }
    text
}

fn backup_line(change: &Change, undo: bool) -> Option<String> {
    let path = change.found.backup_path().display().to_string();
    match change.backup {
        Backup::None => None,
        Backup::Keep if undo => Some(format!("{path} stays: somebody else changed the file since")),
        Backup::Take | Backup::Keep => Some(path),
        Backup::Forget => Some(format!("{path} goes: the file is what it was, byte for byte")),
    }
}

fn kind(change: &Change) -> &'static str {
    match (&change.found.text, &change.after) {
        (None, _) => "created",
        (_, None) => "removed",
        _ => "edited",
    }
}

fn backup(change: &Change) -> Option<String> {
    let is_there = matches!(change.backup, Backup::Take | Backup::Keep);
    is_there.then(|| change.found.backup_path().display().to_string())
}

fn diff(change: &Change) -> String {
    let name = change.found.path.display().to_string();
    let named = |text: &Option<String>| match text {
        Some(_) => name.clone(),
        None => "/dev/null".to_owned(),
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (old, new) = (text(&change.found.text), text(&change.after));
    let diff = TextDiff::from_lines(&old, &new);
    diff.unified_diff()
        .header(&named(&change.found.text), &named(&change.after))
        .to_string()
}
