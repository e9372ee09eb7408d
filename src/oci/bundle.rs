//! A bundle: the folder in which a runtime finds a container's config.json.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;

/// The config.json of the container whose bundle this is. The engine's, so its contents are believed.
///
/// # Errors
/// A host failure where it isn't there or isn't JSON.
pub fn read_config(bundle: &Path) -> Result<Value, Failure> {
    read(bundle)
}

/// Where that container's root file system is, for one of which nothing else matters: each container that was served before it
/// was made pays for this.
///
/// # Errors
/// As [`read_config`]; and where it names none.
pub fn read_rootfs(bundle: &Path) -> Result<PathBuf, Failure> {
    let found = read::<Config>(bundle)?.root.and_then(|root| root.path);
    let path = found.filter(|path| !path.as_os_str().is_empty());
    path.map(|path| bundle.join(path))
        .ok_or_else(|| no_rootfs(bundle))
}

/// The failure of a config.json that names no root file system.
pub fn no_rootfs(bundle: &Path) -> Failure {
    Failure::host(
        "config.json names no root file system",
        bundle.join("config.json").display(),
    )
    .remedy("look at the engine that wrote it")
}

#[derive(Deserialize)]
struct Config {
    root: Option<Root>,
}

#[derive(Deserialize)]
struct Root {
    path: Option<PathBuf>,
}

fn read<Document: DeserializeOwned>(bundle: &Path) -> Result<Document, Failure> {
    let path = bundle.join("config.json");
    let unusable = |why: &dyn std::fmt::Display| {
        Failure::host(format!("can't read {}", path.display()), why)
            .remedy("the runtime named that bundle; look whether it is still there")
    };
    let bytes = std::fs::read(&path).map_err(|error| unusable(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| unusable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rootfs(config: &str) -> Option<PathBuf> {
        let config: Config = serde_json::from_str(config).unwrap();
        config.root?.path
    }

    #[test]
    fn the_root_file_system_is_found_among_whatever_else_there_is() {
        let config = r#"{"ociVersion": "1", "process": {"env": ["root=x"]}, "root": {"readonly": true, "path": "a/b"}, "linux": null}"#;
        assert_eq!(rootfs(config), Some("a/b".into()));
        for none in ["{}", r#"{"root": null}"#, r#"{"root": {"path": null}}"#] {
            assert_eq!(rootfs(none), None, "{none}");
        }
    }
}
