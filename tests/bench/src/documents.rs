//! What an engine and its runtime give to the hooks. `config.json` is what Podman 4.3 gave to a precreate hook for
//! `podman run --network none IMAGE true`, with its folders where they are by default.

use anyhow::{Context, Result};
use serde_json::{Value, json};

const CONFIG: &str = include_str!("../config.json");

/// The container's id in [`CONFIG`].
const ID: &str = "6e0f06904ecc82d7f6c0403cb75d5887668c0750654f11e2ea528c69cabf84fb";

/// Where the containers' control groups are.
const CGROUP_PARENT: &str = "/oci-mig-hook-bench";

/// The id of the container of that number.
pub fn id(number: u32) -> String {
    format!("{number:064x}")
}

/// Where that container's control groups are.
pub fn cgroups_path(id: &str) -> String {
    format!("{CGROUP_PARENT}/libpod-{id}")
}

/// That container's config.json, as an engine writes it, with these annotations beside the engine's own.
pub fn config(id: &str, annotations: &[(&str, &str)]) -> Result<Value> {
    let mut config: Value = serde_json::from_str(&CONFIG.replace(ID, id))?;
    config["linux"]["cgroupsPath"] = cgroups_path(id).into();
    for (key, value) in annotations {
        config["annotations"][key] = (*value).into();
    }
    Ok(config)
}

/// The state of a container that `config` describes, as runc writes it; `pid` is none once it is stopped.
pub fn state(id: &str, pid: Option<u32>, config: &Value) -> Value {
    let mut state = json!({"ociVersion": "1.0.2-dev", "id": id, "status": "stopped"});
    if let Some(pid) = pid {
        state["status"] = "creating".into();
        state["pid"] = pid.into();
    }
    state["bundle"] = format!("/var/lib/containers/storage/overlay-containers/{id}/userdata").into();
    state["annotations"] = config["annotations"].clone();
    state
}

/// The arguments of the one hook that a config has at this stage, without argv\[0\].
pub fn hook_arguments(config: &Value, stage: &str) -> Result<Vec<String>> {
    let args = config["hooks"][stage][0]["args"].as_array();
    let args = args.with_context(|| format!("the edited config.json has no {stage} hook"))?;
    Ok(args
        .iter()
        .skip(1)
        .filter_map(|arg| Some(arg.as_str()?.to_owned()))
        .collect())
}
