//! Podman's list of hooks folders: whose it is, our folder in and out.
//!
//! The last file that has the list decides. A list of the administrator's is added to in its place: a drop-in of ours
//! would put another in its stead. Only where there is none, we write a drop-in.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::file::Found;
use super::plan::Change;
use super::toml_file::{Toml, appended, quoted};
use super::toml_list;
use crate::failure::Failure;

/// The distribution's file, which is not ours to change.
const DISTRIBUTION: &str = "/usr/share/containers/containers.conf";
const ADMINISTRATOR: &str = "/etc/containers/containers.conf";
const DROP_IN: &str = "/etc/containers/containers.conf.d/50-oci-mig-hook.conf";
const NEW: &str = include_str!("../../../hooks/podman/50-oci-mig-hook.conf");
const KEY: [&str; 2] = ["engine", "hooks_dir"];

/// The files that can have the list, in the order in which Podman reads them.
pub struct HooksDir {
    files: Vec<Found>,
    /// Where the list goes when nobody has one.
    ours: Found,
    folder: String,
}

impl HooksDir {
    /// Reads the files; only `named` where one is named.
    pub fn look(named: Option<&Path>, folder: &str) -> Result<HooksDir, Failure> {
        let paths = match named {
            Some(named) => vec![named.to_owned()],
            None => usual_files(),
        };
        let files: Result<Vec<Found>, Failure> = paths.iter().map(|path| Found::look(path)).collect();
        let hooks = HooksDir {
            files: files?,
            ours: Found::look(named.unwrap_or(Path::new(DROP_IN)))?,
            folder: folder.to_owned(),
        };
        // Podman reads all of them: one that it can't read is to be told before anything is changed.
        hooks.files.iter().try_for_each(|file| read(file).map(drop))?;
        Ok(hooks)
    }

    /// The change that brings our folder in.
    pub fn put_in(&self) -> Result<Option<Change>, Failure> {
        let last = self.files.iter().rev().find(|file| strings(file).is_some());
        let folders = last.and_then(strings).unwrap_or_default();
        if folders.contains(&self.folder) {
            return Ok(None);
        }
        let (file, base) = match last {
            Some(file) if file.path != Path::new(DISTRIBUTION) => (file, vec![]),
            _ => (&self.ours, self.before_ours()),
        };
        let after = self.added(file.says(), file, &base)?;
        Change::put_in(file.clone(), after, false).map(Some)
    }

    /// The changes that take our folder out of every list.
    pub fn take_out(&self) -> Result<Vec<Change>, Failure> {
        let has_ours = |file: &&Found| strings(file).is_some_and(|folders| folders.contains(&self.folder));
        let theirs = self
            .files
            .iter()
            .filter(|file| file.path != Path::new(DISTRIBUTION));
        theirs.filter(has_ours).map(|file| self.out_of(file)).collect()
    }

    fn out_of(&self, file: &Found) -> Result<Change, Failure> {
        let base = self.before_ours();
        let (left, says_nothing) = self.removed(file)?;
        Change::take_out(
            file.clone(),
            |before| self.added(before, file, &base),
            left,
            says_nothing,
        )
    }

    /// The folders that Podman reads without us.
    fn before_ours(&self) -> Vec<String> {
        let distribution = self
            .files
            .iter()
            .find(|file| file.path == Path::new(DISTRIBUTION));
        distribution.and_then(strings).unwrap_or_else(defaults)
    }

    /// The text with our folder in its list; with a list that begins with `base` where it has none.
    fn added(&self, text: &str, file: &Found, base: &[String]) -> Result<String, Failure> {
        let toml = Toml::read(&file.path, text)?;
        let after = if toml.item(&KEY).is_some() {
            toml.with_list(&KEY, |list| toml_list::add(list, &self.folder))
        } else if toml.item(&KEY[..1]).is_some() {
            let new = Toml::read(&file.path, &self.new_file(base))?;
            new.item(&KEY)
                .and_then(|list| toml.with_value(&KEY, list.clone()))
        } else {
            Some(appended(text, &self.new_file(base)))
        };
        after.ok_or_else(|| self.cant_be_added(file))
    }

    fn new_file(&self, base: &[String]) -> String {
        let lines = |folders: &[String]| -> String {
            let line = |folder: &String| format!("  {},\n", quoted(folder));
            folders.iter().map(line).collect()
        };
        let template = [defaults(), vec![super::podman::USUAL.to_owned()]].concat();
        let wanted = [base, std::slice::from_ref(&self.folder)].concat();
        NEW.replace(&lines(&template), &lines(&wanted))
    }

    /// The text without our folder, and whether it says nothing else.
    fn removed(&self, file: &Found) -> Result<(String, bool), Failure> {
        let toml = read(file)?;
        let ours = [self.before_ours(), vec![self.folder.clone()]].concat();
        if strings(file).as_ref() != Some(&ours) {
            let left = toml.with_list(&KEY, |list| toml_list::remove(list, &self.folder));
            return Ok((left.unwrap_or_default(), false));
        }
        let left = toml.without(&KEY, NEW);
        let says_nothing = matches!(left.trim(), "" | "[engine]");
        Ok((left, says_nothing))
    }

    fn cant_be_added(&self, file: &Found) -> Failure {
        let what = format!("{} can't be added to", file.path.display());
        Failure::refused(
            what,
            "its [engine] or hooks_dir is written in a way that this program can't change",
        )
        .remedy(format!(
            "add {} to hooks_dir by hand; nothing was changed",
            self.folder
        ))
    }
}

fn usual_files() -> Vec<PathBuf> {
    let folder = Path::new(DROP_IN).parent().unwrap_or(Path::new("/"));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension() == Some("conf".as_ref()));
    paths.sort();
    let first = [DISTRIBUTION, ADMINISTRATOR].map(PathBuf::from);
    first.into_iter().chain(paths).collect()
}

fn read(file: &Found) -> Result<Toml, Failure> {
    Toml::read(&file.path, file.says())
}

/// The file's list, where it has one.
fn strings(file: &Found) -> Option<Vec<String>> {
    let toml = read(file).ok()?;
    let list = toml.strings(&KEY)?;
    Some(list.into_iter().map(str::to_owned).collect())
}

/// Podman's own folders.
fn defaults() -> Vec<String> {
    ["/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"]
        .map(str::to_owned)
        .to_vec()
}
