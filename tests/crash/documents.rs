//! The documents that engines and runtimes hand to a stage.

use serde_json::{Value, json};

use crate::support::bundle::Bundle;
use crate::support::machine::PROGRAM;
use crate::support::scratch;

/// A config.json as Podman gives it to precreate, of a container that asks for so many devices.
pub fn config(count: usize) -> Value {
    asking(count, &[])
}

/// The same with these annotations more.
pub fn asking(count: usize, more: &[(&str, &str)]) -> Value {
    let id = format!("{:064x}", 0xc0_ffee_u64 + u64::from(scratch::number()));
    let bundle = Bundle::new()
        .annotation("mig.profile", "1g.10gb")
        .annotation("mig.count", &count.to_string());
    let bundle = more
        .iter()
        .fold(bundle, |bundle, (key, value)| bundle.annotation(key, value));
    let path = format!("/libpod_parent/libpod-{id}");
    bundle
        .with(|config| config["linux"]["cgroupsPath"] = path.into())
        .config
        .take()
}

/// The state of a container of that config.json and process, as a runtime tells it.
pub fn state(config: &Value, status: &str, pid: i32) -> String {
    let path = config["linux"]["cgroupsPath"].as_str().unwrap_or_default();
    let id = path.rsplit("libpod-").next().unwrap_or_default();
    let state = json!({"ociVersion": "1.0.2", "id": id, "status": status, "pid": pid, "bundle": "/no/such/bundle",
                       "annotations": config["annotations"]});
    state.to_string()
}

/// The arguments of our own hook of this stage in an edited config.json, as a runtime passes them.
pub fn hook_arguments(config: &Value, stage: &str) -> Vec<String> {
    let hooks = config["hooks"][stage].as_array().expect("hooks").iter();
    let mut ours = hooks.filter(|hook| hook["path"] == PROGRAM);
    let words = ours.next().expect("our hook")["args"]
        .as_array()
        .expect("arguments");
    let words = words.iter().skip(1);
    words
        .map(|word| word.as_str().expect("a word").to_owned())
        .collect()
}

/// The lease that an edited config.json names.
pub fn lease_of(config: &Value) -> &str {
    config["annotations"]["mig.lease"].as_str().unwrap_or_default()
}

/// The devices that an edited config.json gives.
pub fn devices_of(config: &Value) -> Vec<String> {
    let env = config["process"]["env"].as_array().into_iter().flatten();
    let mut given = env.filter_map(|entry| entry.as_str()?.strip_prefix("NVIDIA_VISIBLE_DEVICES="));
    given
        .next()
        .unwrap_or_default()
        .split(',')
        .map(str::to_owned)
        .collect()
}
