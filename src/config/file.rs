//! What may stand in the file, as it stands there. An unknown key is an error.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Daemon, Files, Guard, Unmanaged};

/// The newest layout of the file that this program knows.
const VERSION: u32 = 1;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    pub version: Option<u32>,
    pub allow_privileged: bool,
    pub mask_proc: Option<bool>,
    pub guard: Guard,
    pub unmanaged: Unmanaged,
    pub driver: DriverTable,
    pub nvml: NvmlTable,
    pub ledger: LedgerTable,
    pub lease: LeaseTable,
    pub limits: LimitsTable,
    pub requests: RequestsTable,
    pub runtime: RuntimeTable,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriverTable {
    pub root: Option<PathBuf>,
    pub proc: Option<PathBuf>,
    pub dev: Option<PathBuf>,
    pub files: Files,
    pub sockets: Option<Vec<Daemon>>,
    pub mps: Option<PathBuf>,
    pub cdi: Option<Vec<PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NvmlTable {
    pub library: Option<PathBuf>,
    pub deadline: Option<String>,
    pub avoid: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerTable {
    pub dir: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaseTable {
    pub pending: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsTable {
    pub devices: Option<u32>,
    pub wait: Option<String>,
    pub waiting: Option<usize>,
    pub profiles: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestsTable {
    pub environment: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeTable {
    pub path: Option<PathBuf>,
}

/// A file that says it is of a newer layout is not guessed at, whatever else stands in it.
pub fn read(text: &str) -> Result<File, String> {
    let file = toml::from_str::<File>(text);
    let version = match &file {
        Ok(file) => file.version,
        Err(_) => said_version(text),
    };
    match version {
        Some(version) if version > VERSION => Err(format!(
            "its version is {version}, and this program knows versions up to {VERSION}"
        )),
        Some(0) => Err("version = 0 is none; the first is 1".to_owned()),
        _ => file.map_err(|error| parse_error(text, &error)),
    }
}

fn said_version(text: &str) -> Option<u32> {
    let table: toml::Table = toml::from_str(text).ok()?;
    u32::try_from(table.get("version")?.as_integer()?).ok()
}

/// The parser's message with its line number, without the excerpt that it would draw over several lines.
fn parse_error(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
    format!("line {line}: {}", error.message())
}
