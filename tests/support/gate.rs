//! A hook that stops where it is until the test says go: what a container's life looks like at that moment, and what
//! becomes of it when somebody is killed there.

use std::fs;
use std::path::{Path, PathBuf};

use super::process::until;
use super::scratch::Scratch;

/// A gate; it opens when this is dropped.
pub struct Gate(Scratch);

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    pub fn new() -> Self {
        let folder = Scratch::new("gate");
        folder.file("closed", "");
        let path = folder.path().display();
        // The state on standard input is read: crun fails a container whose hook does not.
        let script = format!(
            "#!/bin/sh\ncat >/dev/null\n: >{path}/reached\nwhile [ -e {path}/closed ]; do sleep 0.02; done\n"
        );
        folder.program("gate", &script);
        Self(folder)
    }

    /// The hook's program.
    pub fn program(&self) -> PathBuf {
        self.0.join("gate")
    }

    /// A hooks folder that puts the gate, as a hook of this stage, before every Podman container with the
    /// annotation `gate`.
    pub fn hooks(&self, stage: &str) -> Scratch {
        hooks(stage, &self.program())
    }

    /// Waits until somebody stands before the gate.
    #[track_caller]
    pub fn await_reached(&self) {
        until("somebody before the gate", || self.0.join("reached").exists());
    }

    pub fn open(&self) {
        let _ = fs::remove_file(self.0.join("closed"));
    }
}

/// A hooks folder with one hook of this stage, for every Podman container with the annotation `gate`.
pub fn hooks(stage: &str, program: &Path) -> Scratch {
    let folder = Scratch::new("hooks");
    let hook = serde_json::json!({
        "version": "1.0.0",
        "hook": {"path": program, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "when": {"annotations": {"^gate$": "."}},
        "stages": [stage],
    });
    folder.file("hook.json", &hook.to_string());
    folder
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}
