//! The ledger's folder, read as anybody reads files: nothing of the program under test looks for us.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A folder's files, folders and links, by their paths inside: to be put back as they were.
pub struct Snapshot {
    folder: PathBuf,
    found: BTreeMap<PathBuf, Found>,
}

enum Found {
    Folder,
    File(Vec<u8>),
    Link(PathBuf),
}

impl Snapshot {
    pub fn of(folder: &Path) -> Self {
        let mut found = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
                let path = entry.path();
                let kind = entry.file_type().expect("what it is");
                let what = match (kind.is_dir(), kind.is_symlink()) {
                    (true, _) => Found::Folder,
                    (_, true) => Found::Link(fs::read_link(&path).expect("a link")),
                    _ => Found::File(fs::read(&path).expect("a file")),
                };
                if kind.is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path.strip_prefix(folder).expect("it is inside").to_owned(), what);
            }
        }
        let folder = folder.to_owned();
        Self { folder, found }
    }

    /// Puts everything back as it was.
    pub fn restore(&self) {
        let _ = fs::remove_dir_all(&self.folder);
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path).expect("a folder");
        if !self.found.is_empty() {
            make(&self.folder);
        }
        for (inside, what) in &self.found {
            let path = self.folder.join(inside);
            match what {
                Found::Folder => make(&path),
                Found::Link(to) => symlink(to, &path).expect("a link"),
                Found::File(bytes) => {
                    fs::write(&path, bytes).expect("a file");
                    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
                }
            }
        }
    }
}

/// The leases by id; what is no lease, and what has no records of its devices, is told to `wrong`.
pub fn read(ledger: &Path, mut wrong: impl FnMut(String)) -> BTreeMap<String, Value> {
    let mut leases = BTreeMap::new();
    for (path, lease) in documents(&ledger.join("leases"), &mut wrong) {
        let id = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        match lease["id"] == id {
            true => drop(leases.insert(id.to_owned(), lease)),
            false => wrong(format!("{} is another lease", path.display())),
        }
    }
    let records = documents(&ledger.join("devices"), &mut wrong);
    for (id, lease) in &leases {
        for device in devices(lease) {
            let record = records.get(&ledger.join("devices").join(device));
            if record.is_none_or(|record| record["lease"] != **id) {
                wrong(format!("the record of {device} is not lease {id}'s: {record:?}"));
            }
        }
    }
    leases
}

/// How many records of devices there are.
pub fn records(ledger: &Path) -> usize {
    documents(&ledger.join("devices"), &mut |_| {}).len()
}

/// The documents in a folder, all but hidden ones.
fn documents(folder: &Path, wrong: &mut dyn FnMut(String)) -> BTreeMap<PathBuf, Value> {
    let mut documents = BTreeMap::new();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        match serde_json::from_str(&text) {
            Ok(document) => drop(documents.insert(path, document)),
            Err(why) => wrong(format!("{} is no whole document: {why}", path.display())),
        }
    }
    documents
}

/// The devices of a lease.
pub fn devices(lease: &Value) -> Vec<&str> {
    let devices = lease["devices"].as_array().into_iter().flatten();
    devices
        .filter_map(|device| device["mig"]["uuid"].as_str())
        .collect()
}

/// Devices that are under two of these leases.
pub fn held_twice(leases: &BTreeMap<String, Value>) -> Vec<String> {
    let mut holders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, lease) in leases {
        for device in devices(lease) {
            holders.entry(device).or_default().push(id);
        }
    }
    let twice = holders.into_iter().filter(|(_, leases)| leases.len() > 1);
    twice
        .map(|(device, leases)| format!("{device} is under {leases:?}"))
        .collect()
}

/// The process that a lease is bound to.
pub fn process(lease: &Value) -> i64 {
    lease["holder"]["container"]["process"]["pid"]
        .as_i64()
        .unwrap_or_default()
}
