//! Our hook files for Podman.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file::Found;
use super::json_text::Object;
use super::plan::Change;
use super::spliced;
use crate::failure::Failure;

/// One of our hook files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Serves containers that ask.
    Request,
    /// Judges those that don't.
    Guard,
}

impl Hook {
    /// Where it lies.
    pub fn file(self, folder: &str) -> PathBuf {
        Path::new(folder).join(match self {
            Hook::Request => "oci-mig-hook.json",
            Hook::Guard => "oci-mig-hook-guard.json",
        })
    }

    fn template(self) -> &'static str {
        match self {
            Hook::Request => include_str!("../../../hooks/podman/oci-mig-hook.json"),
            Hook::Guard => include_str!("../../../hooks/podman/oci-mig-hook-guard.json"),
        }
    }

    /// The file calling this program with this configuration file. One that is there keeps what else it says, and its
    /// configuration file where none is named.
    pub fn put_in(
        self,
        found: Found,
        program: &str,
        config: Option<&str>,
    ) -> Result<Option<Change>, Failure> {
        let is_ours = found.text.is_some();
        let text = found.text.as_deref().unwrap_or(self.template());
        let after = calling(&found.path, text, program, config)?;
        match found.text.as_ref() == Some(&after) {
            true => Ok(None),
            false => Change::put_in(found, after, is_ours).map(Some),
        }
    }

    /// Without the file, where it is ours.
    pub fn take_out(self, found: Found) -> Result<Option<Change>, Failure> {
        let Some(text) = &found.text else {
            return Ok(None);
        };
        Entry::read(&found.path, text)?;
        Change::take_out(found, None).map(Some)
    }
}

/// A hook file, read.
struct Entry {
    hook: Object,
    path: String,
    args: Vec<String>,
}

impl Entry {
    /// # Errors
    /// It isn't a hook file, or calls another program than ours.
    fn read(file: &Path, text: &str) -> Result<Entry, Failure> {
        let bad = |why: &dyn std::fmt::Display| {
            Failure::host(format!("{} is no hook file", file.display()), why)
                .remedy("correct or remove it first; nothing was changed")
        };
        let all = Object::outermost(text).map_err(|error| bad(&error))?;
        let hook = all.object(text, "hook").map_err(|error| bad(&error))?;
        let hook = hook.ok_or_else(|| bad(&"it has no hook"))?;
        let of = |name: &str| hook.value(name).map(|span| &text[span]).unwrap_or("null");
        let path: String = serde_json::from_str(of("path")).map_err(|error| bad(&error))?;
        let args = serde_json::from_str(of("args")).map_err(|error| bad(&error))?;
        if Path::new(&path).file_name() != Some("oci-mig-hook".as_ref()) {
            return Err(Failure::refused(
                format!("{} is not ours", file.display()),
                format!("it calls {path}"),
            )
            .remedy("move it away first; nothing was changed"));
        }
        Ok(Entry { hook, path, args })
    }
}

fn calling(file: &Path, text: &str, program: &str, config: Option<&str>) -> Result<String, Failure> {
    let entry = Entry::read(file, text)?;
    let mut changes = Vec::new();
    if entry.path != program {
        changes.extend(
            entry
                .hook
                .value("path")
                .map(|span| (span, Value::from(program).to_string())),
        );
    }
    let args = with_config(&entry.args, config);
    if args != entry.args {
        let args = args.iter().map(|arg| Value::from(arg.as_str()).to_string());
        let args = format!("[{}]", args.collect::<Vec<_>>().join(", "));
        changes.extend(entry.hook.value("args").map(|span| (span, args)));
    }
    // The last first: the places of the others stay right.
    changes.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let text = changes
        .into_iter()
        .fold(text.to_owned(), |text, (span, new)| spliced(&text, span, &new));
    Ok(text)
}

/// The arguments with this configuration file in the place of another.
fn with_config(args: &[String], config: Option<&str>) -> Vec<String> {
    let Some(config) = config else {
        return args.to_vec();
    };
    let mut args = args.to_vec();
    args.retain(|arg| !arg.starts_with("--config="));
    match args.iter().position(|arg| arg == "--config") {
        Some(at) if at + 1 < args.len() => args[at + 1] = config.to_owned(),
        at => {
            args.truncate(at.unwrap_or(args.len()));
            args.extend(["--config".to_owned(), config.to_owned()]);
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_file_keeps_what_else_it_says() {
        let text = "{\"hook\": {\"args\": [\"x\", \"precreate\"],\n \"path\": \"/old/oci-mig-hook\", \"timeout\": 3}}";
        let file = Path::new("/f");
        let with = |config| calling(file, text, "/new/oci-mig-hook", config).unwrap();
        let moved = text.replace("/old", "/new");
        assert_eq!(with(None), moved);
        let args = "[\"x\", \"precreate\", \"--config\", \"/c\"]";
        let configured = with(Some("/c"));
        assert_eq!(configured, moved.replace("[\"x\", \"precreate\"]", args));
        let other = calling(file, &configured, "/new/oci-mig-hook", Some("/d")).unwrap();
        assert_eq!(other, configured.replace("/c", "/d"));
        assert!(calling(file, &text.replace("oci-mig-hook", "other"), "/x", None).is_err());
    }
}
