//! Files that containerd's config.toml imports: containerd 1.x takes a plugin's settings from the last file that has
//! any, whole.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::toml_file::Toml;

/// What to know where an imported file has settings of CRI's too.
pub fn imports_note(path: &Path, toml: &Toml) -> Option<String> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let patterns = toml.strings(&["imports"]).unwrap_or_default();
    let mut files = patterns
        .iter()
        .flat_map(|pattern| matching(&folder.join(pattern)));
    let file = files.find(|file| has_cri(file))?;
    Some(format!(
        "{0} is imported and has settings of CRI's too: containerd 1.x takes those instead of this file's. There, use --engine-config {0}",
        file.display()
    ))
}

/// The files that a pattern means: at most one `*`, in the file's name.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let Some((start, end)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let folder = pattern.parent().unwrap_or(Path::new("/"));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(start) && name.ends_with(end)
        })
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

fn has_cri(file: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(file) else {
        return false;
    };
    let toml = Toml::read(file, &text);
    toml.is_ok_and(|toml| {
        super::containerd_file::CRI
            .iter()
            .any(|cri| toml.item(&["plugins", cri]).is_some())
    })
}
