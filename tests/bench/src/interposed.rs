//! The interposed runtime before a real one that does nothing: what a call pays on its way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use fake_node::Node;

use crate::documents;
use crate::meter::Meter;
use crate::stages::Round;

/// oci-mig-runtime, set up before the program that does nothing.
#[derive(Debug)]
pub struct Interposed {
    program: PathBuf,
    config: PathBuf,
    bundle: PathBuf,
    next: u32,
}

impl Interposed {
    /// On that node; `folder` takes a configuration and a bundle.
    pub fn new(programs: &Path, node: &Node, folder: &Path) -> Result<Interposed> {
        let (config, bundle) = (folder.join("interposed.toml"), folder.join("interposed"));
        let text = fs::read_to_string(node.config())?;
        fs::write(
            &config,
            format!("{text}\n[runtime]\npath = {:?}\n", programs.join("noop")),
        )?;
        fs::create_dir_all(&bundle)?;
        Ok(Interposed {
            program: programs.join("oci-mig-runtime"),
            config,
            bundle,
            next: 2_000_000,
        })
    }

    /// By the clock alone, whatever else is counted: a program that becomes another leaves valgrind nothing to report.
    pub fn round(&mut self) -> Result<Round> {
        let id = documents::id(self.next);
        self.next += 1;
        let mut round = vec![self.call("runtime, a call that isn't ours", &["state", &id])?];
        self.write(&id, &[])?;
        let bundle = self.bundle.clone();
        let create = ["create", "--bundle", bundle.to_str().unwrap_or_default(), &id];
        round.push(self.call("runtime create, didn't ask", &create)?);
        self.write(&id, &[("mig.profile", "1g.10gb")])?;
        round.push(self.call("runtime create, reserves", &create)?);
        round.push(self.call("runtime delete, releases", &["delete", "--force", &id])?);
        Ok(round)
    }

    fn call(&self, name: &'static str, words: &[&str]) -> Result<(&'static str, crate::meter::Figures)> {
        let mut command = Command::new(&self.program);
        command
            .args(["--root", "/run/bench", "--log", "/dev/null"])
            .args(words);
        command.env("OCI_MIG_HOOK_CONFIG", &self.config);
        Ok((name, Meter::Clock.measure(&mut command, b"")?))
    }

    fn write(&self, id: &str, annotations: &[(&str, &str)]) -> Result<()> {
        let config = documents::config(id, annotations)?;
        Ok(fs::write(self.bundle.join("config.json"), config.to_string())?)
    }
}
