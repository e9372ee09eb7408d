//! A folder with a configuration file in it, the program under test, and what it says of that file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_oci-mig-hook");

/// A folder of the test's own, gone when this is dropped.
pub struct Place {
    pub folder: PathBuf,
    engine: &'static str,
    file: PathBuf,
}

/// How one run ended.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// For this engine, with its configuration file of this name, and a wrapper beside it.
    pub fn new(engine: &'static str, file: &str) -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("oci-mig-hook-setup-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let folder = folder.canonicalize().unwrap();
        let place = Place {
            file: folder.join(file),
            folder,
            engine,
        };
        fs::create_dir_all(place.file.parent().unwrap()).unwrap();
        fs::write(place.wrapper(), "#!/bin/sh\n").unwrap();
        fs::set_permissions(place.wrapper(), Permissions::from_mode(0o755)).unwrap();
        place
    }

    /// With this in the file.
    pub fn with(self, text: &str) -> Place {
        fs::write(&self.file, text).unwrap();
        self
    }

    pub fn wrapper(&self) -> PathBuf {
        self.folder.join("oci-mig-runtime")
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn backup(&self) -> PathBuf {
        let mut name = self.file.clone().into_os_string();
        name.push(".before-oci-mig-hook");
        name.into()
    }

    /// What the file says now; nothing where there is none.
    pub fn text(&self) -> Option<String> {
        fs::read_to_string(&self.file).ok()
    }

    /// `setup`, with the file and the wrapper named.
    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(["setup", self.engine, "--engine-config"])
            .arg(&self.file);
        match self.engine {
            "podman" => command.arg("--hooks-dir").arg(self.folder.join("hooks")),
            _ => command.arg("--runtime-path").arg(self.wrapper()),
        };
        command.args(options);
        command
    }

    /// Runs it.
    pub fn setup(&self, options: &[&str]) -> Said {
        Said::of(&mut self.command(options))
    }

    /// The same in a JSON.
    #[track_caller]
    pub fn json(&self, options: &[&str]) -> Value {
        serde_json::from_str(&self.setup(&[options, &["--json"]].concat()).ok().stdout).unwrap()
    }

    /// Put in, looked at by `check`, put in once more, taken out: the file is what it was, byte for byte, and nothing
    /// else is left.
    #[track_caller]
    pub fn there_and_back(&self, check: impl FnOnce(&str)) {
        let before = self.text();
        let names = self.names();
        let dry = self.setup(&["--dry-run"]).ok();
        assert!(dry.stdout.contains("nothing was written"), "{}", dry.stdout);
        assert_eq!(
            (self.text(), self.names()),
            (before.clone(), names.clone()),
            "a dry run"
        );
        let said = self.setup(&[]).ok();
        let after = self.text().expect("the file");
        assert_ne!(before.as_ref(), Some(&after));
        assert!(said.stdout.contains("+++ "), "{}", said.stdout);
        assert_eq!(fs::read_to_string(self.backup()).ok(), before, "the backup");
        check(&after);
        let again = self.setup(&[]).ok();
        assert!(again.stdout.starts_with("unchanged: "), "{}", again.stdout);
        assert_eq!(self.text(), Some(after), "a second time");
        self.setup(&["--undo"]).ok();
        assert_eq!(self.text(), before, "undone");
        assert_eq!(self.names(), names);
        let nothing = self.setup(&["--undo"]).ok();
        assert!(nothing.stdout.starts_with("unchanged: "), "{}", nothing.stdout);
    }

    /// Refused with this code and line, the folder as it was.
    #[track_caller]
    pub fn refused(&self, options: &[&str], code: i32, line: &str) {
        let before = (self.text(), self.names());
        let said = self.setup(options);
        let place = self.folder.display().to_string();
        assert_eq!(
            said.stderr.replace(&place, "P"),
            format!("oci-mig-hook: {line}\n")
        );
        assert_eq!((said.code, said.stdout.as_str()), (code, ""));
        assert_eq!((self.text(), self.names()), before);
    }

    /// Every file below the folder.
    fn names(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => found.push(entry.path()),
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Said {
    pub fn of(command: &mut Command) -> Said {
        let output = command
            .output()
            .unwrap_or_else(|why| panic!("{command:?}: {why}"));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said {
            code: output.status.code().expect("an exit code"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    #[track_caller]
    pub fn ok(self) -> Said {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{}", self.stdout);
        self
    }
}
