//! A bundle: the folder in which a runtime finds a container's config.json.

use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;

/// The config.json of the container whose bundle this is. The engine's, so its contents are believed.
///
/// # Errors
/// A host failure where it isn't there or isn't JSON.
pub fn read_config(bundle: &Path) -> Result<Value, Failure> {
    let path = bundle.join("config.json");
    let unusable = |why: &dyn std::fmt::Display| {
        Failure::host(format!("can't read {}", path.display()), why)
            .remedy("the runtime named that bundle; look whether it is still there")
    };
    let bytes = std::fs::read(&path).map_err(|error| unusable(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| unusable(&error))
}
