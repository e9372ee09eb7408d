//! One of an engine's files: read as it is, replaced in one step, with a copy of what it was before.

#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// What a backup's name ends in. No engine reads files that end so.
const BACKUP: &str = ".before-oci-mig-hook";

/// A file as it was when we looked.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it really is: links are followed, so that a linked file stays one.
    pub path: PathBuf,
    /// What it says; `None` where there is no such file.
    pub text: Option<String>,
}

impl Found {
    /// Reads the file. That there is none is no error.
    pub fn look(named: &Path) -> Result<Found, Failure> {
        let path = match fs::symlink_metadata(named) {
            Ok(_) => fs::canonicalize(named).map_err(|error| unreadable(named, error))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                std::path::absolute(named).map_err(|error| unreadable(named, error))?
            }
            Err(error) => return Err(unreadable(named, error)),
        };
        let text = read(&path)?;
        Ok(Found { path, text })
    }

    /// What it says; nothing where there is no such file.
    pub fn says(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// Where the copy of the file as it was before us stands.
    pub fn backup_path(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(BACKUP);
        name.into()
    }

    /// The copy of the file as it was before us.
    pub fn backup(&self) -> Result<Option<String>, Failure> {
        read(&self.backup_path())
    }

    /// Copies the file, as it is, to the backup's place.
    pub fn back_up(&self) -> Result<(), Failure> {
        let text = self.says();
        let like = fs::metadata(&self.path).map_err(|error| unreadable(&self.path, error))?;
        replace(&self.backup_path(), text, Some(&like), || Ok(()))
    }

    /// Removes the backup, which says what the file says again.
    pub fn forget_backup(&self) -> Result<(), Failure> {
        let path = self.backup_path();
        fs::remove_file(&path).map_err(|error| unwritable(&path, &error))
    }

    /// Makes the file say `text`, or removes it. Where it changed since we looked, it is left alone.
    pub fn write(&self, text: Option<&str>) -> Result<(), Failure> {
        let like = fs::metadata(&self.path).ok();
        match text {
            Some(text) => {
                self.make_folder()?;
                replace(&self.path, text, like.as_ref(), || self.still_the_same())
            }
            None => {
                self.still_the_same()?;
                fs::remove_file(&self.path).map_err(|error| unwritable(&self.path, &error))
            }
        }
    }

    fn make_folder(&self) -> Result<(), Failure> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
        made.map_err(|error| unwritable(folder, &error))
    }

    fn still_the_same(&self) -> Result<(), Failure> {
        match read(&self.path)? == self.text {
            true => Ok(()),
            false => Err(Failure::host(
                format!("{} was left alone", self.path.display()),
                "somebody else changed it just now",
            )
            .remedy("run this again")),
        }
    }
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(unreadable(path, "not a file")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, error)),
        Ok(_) => match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(unreadable(path, error)),
        },
    }
}

/// Writes a new file beside the old one and lets it take its place, with the owner and mode of `like`.
fn replace(
    path: &Path,
    text: &str,
    like: Option<&Metadata>,
    check: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let draft = draft_of(path);
    let written = write_draft(&draft, text, like).map_err(|error| unwritable(path, &error));
    let placed = written.and_then(|()| check()).and_then(|()| {
        let placed = fs::rename(&draft, path).and_then(|()| sync_folder(path));
        placed.map_err(|error| unwritable(path, &error))
    });
    if placed.is_err() {
        // Gone already where the rename was done; where it can't be removed the first error says why.
        let _ = fs::remove_file(&draft);
    }
    placed
}

/// The new file's name until it takes the old one's place: hidden, and unlike any that an engine reads.
fn draft_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.oci-mig-hook-{}", std::process::id()))
}

fn write_draft(draft: &Path, text: &str, like: Option<&Metadata>) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    file.write_all(text.as_bytes())?;
    if let Some(like) = like {
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (like.uid(), like.gid()) {
            fchown(&file, Some(like.uid()), Some(like.gid()))?;
        }
    }
    let mode = like.map_or(0o644, |like| like.mode() & 0o7777);
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn unreadable(path: &Path, why: impl std::fmt::Display) -> Failure {
    let why = why.to_string();
    let remedy = match why.starts_with("Permission denied") {
        true => "run this as root; nothing was changed",
        false => "nothing was changed",
    };
    Failure::host(format!("can't read {}", path.display()), why).remedy(remedy)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::host(format!("can't write {}", path.display()), error);
    match error.kind() {
        ErrorKind::PermissionDenied => failure.remedy("run this as root"),
        _ => failure,
    }
}
