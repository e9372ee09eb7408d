//! Our hook files for Podman.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::file::Found;
use super::plan::Change;
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
        Call::read(&found.path, text)?;
        Ok(Some(Change::remove(found)))
    }
}

/// What a hook file calls.
#[derive(Deserialize)]
struct Call {
    path: String,
    args: Vec<String>,
}

impl Call {
    /// # Errors
    /// It isn't a hook file, or calls another program than ours.
    fn read(file: &Path, text: &str) -> Result<(Value, Call), Failure> {
        let all = serde_json::from_str(text);
        let read = all.and_then(|all: Value| Ok((Call::deserialize(&all["hook"])?, all)));
        let (call, all) = read.map_err(|error| {
            Failure::host(format!("{} is no hook file", file.display()), error)
                .remedy("correct or remove it first; nothing was changed")
        })?;
        match Path::new(&call.path).file_name() == Some("oci-mig-hook".as_ref()) {
            true => Ok((all, call)),
            false => Err(Failure::refused(
                format!("{} is not ours", file.display()),
                format!("it calls {}", call.path),
            )
            .remedy("move it away first; nothing was changed")),
        }
    }
}

/// The file calling this program with this configuration file. It is ours: a change may lay it out anew.
fn calling(file: &Path, text: &str, program: &str, config: Option<&str>) -> Result<String, Failure> {
    let (mut all, call) = Call::read(file, text)?;
    let args = with_config(&call.args, config);
    if (call.path.as_str(), &call.args) == (program, &args) {
        return Ok(text.to_owned());
    }
    for (key, value) in [("/hook/path", json!(program)), ("/hook/args", json!(args))] {
        if let Some(old) = all.pointer_mut(key) {
            *old = value;
        }
    }
    Ok(format!("{all:#}\n"))
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
        let of = |text: &str, program, config| calling(Path::new("/f"), text, program, config).unwrap();
        assert_eq!(of(text, "/old/oci-mig-hook", None), text, "nothing to change");
        let said = |args: Value| json!({"hook": {"args": args, "path": "/new/oci-mig-hook", "timeout": 3}});
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let moved = of(text, "/new/oci-mig-hook", None);
        assert_eq!(parsed(&moved), said(json!(["x", "precreate"])));
        let configured = of(&moved, "/new/oci-mig-hook", Some("/c"));
        assert_eq!(
            parsed(&configured),
            said(json!(["x", "precreate", "--config", "/c"]))
        );
        let other = of(&configured, "/new/oci-mig-hook", Some("/d"));
        assert_eq!(other, configured.replace("/c", "/d"));
        assert!(
            calling(
                Path::new("/f"),
                &text.replace("oci-mig-hook", "other"),
                "/x",
                None
            )
            .is_err()
        );
    }
}
