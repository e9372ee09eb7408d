//! A container's config.json, read as loosely as Go writes it: `null` is absent, unknown members are left alone.

use std::path::{Path, PathBuf};

use std::time::Duration;

use serde_json::Value;

/// A look at a config.json.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'json>(pub &'json Value);

impl<'json> Spec<'json> {
    /// Its annotations, in the order in which they stand; a value that is no string counts as empty.
    pub fn annotations(self) -> impl Iterator<Item = (&'json str, &'json str)> + Clone {
        let members = self.0.get("annotations").and_then(Value::as_object);
        members
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
    }

    /// The annotation of that key.
    pub fn annotation(self, key: &str) -> Option<&'json str> {
        self.annotations()
            .find(|(found, _)| *found == key)
            .map(|(_, value)| value)
    }

    /// Its first process's environment: `NAME=VALUE`, each.
    pub fn environment(self) -> impl Iterator<Item = &'json str> {
        self.array("/process/env").filter_map(Value::as_str)
    }

    /// Where its cgroup is to be.
    pub fn cgroups_path(self) -> Option<&'json str> {
        self.text("/linux/cgroupsPath")
    }

    /// The root file system, from the bundle.
    pub fn rootfs(self, bundle: &Path) -> Option<PathBuf> {
        self.text("/root/path").map(|path| bundle.join(path))
    }

    /// Whether it gets a user namespace that nobody had before. One that it joins by path may be anyone's by the time
    /// that it is joined.
    pub fn new_user_namespace(self) -> bool {
        self.array("/linux/namespaces").any(|namespace| {
            let path = namespace.get("path").and_then(Value::as_str).unwrap_or_default();
            namespace.get("type").and_then(Value::as_str) == Some("user") && path.is_empty()
        })
    }

    /// Whether it has a user namespace other than ours, new or joined.
    pub fn user_namespace(self) -> bool {
        self.array("/linux/namespaces").any(|namespace| {
            let path = namespace
                .get("path")
                .and_then(Value::as_str)
                .filter(|path| !path.is_empty());
            namespace.get("type").and_then(Value::as_str) == Some("user") && path.is_none_or(is_not_ours)
        })
    }

    /// The container's id, which Podman's config names only in passing: in its cgroup's name. (Mounts name it too, and
    /// are the user's to override.)
    pub fn podman_id(self) -> Option<&'json str> {
        let last = self.cgroups_path()?.rsplit(['/', ':']).next()?;
        let name = last.strip_suffix(".scope").unwrap_or(last);
        let name = name.strip_prefix("libpod-").unwrap_or(name);
        let id = name.strip_prefix("payload-").unwrap_or(name);
        (id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
    }

    /// How long the runtime lets the hook `program` take when the container is made: the shortest timeout of its entries,
    /// whose paths end in that name. None where none has one.
    pub fn hook_timeout(self, program: &str) -> Option<Duration> {
        let entries = ["/hooks/createRuntime", "/hooks/prestart"].map(|stage| self.array(stage));
        let is_ours = |entry: &&Value| {
            let path = entry.get("path").and_then(Value::as_str);
            path.is_some_and(|path| path.rsplit('/').next() == Some(program))
        };
        let ours = entries.into_iter().flatten().filter(is_ours);
        let seconds = ours.filter_map(|entry| entry.get("timeout")?.as_u64());
        seconds
            .filter(|seconds| *seconds > 0)
            .min()
            .map(Duration::from_secs)
    }

    /// What stands in the list at that JSON pointer.
    pub fn array(self, pointer: &str) -> impl Iterator<Item = &'json Value> + use<'json> {
        self.0
            .pointer(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    }

    fn text(self, pointer: &str) -> Option<&'json str> {
        self.0
            .pointer(pointer)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }
}

/// The path of the host that a mount binds; none where it binds none.
pub fn bind_source(mount: &Value) -> Option<&str> {
    let text = |key: &str| mount.get(key).and_then(Value::as_str);
    let options = mount
        .get("options")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let mut words = options.filter_map(Value::as_str);
    let is_bind = text("type") == Some("bind") || words.any(|word| matches!(word, "bind" | "rbind"));
    text("source").filter(|_| is_bind)
}

fn is_not_ours(path: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |path: &str| {
        std::fs::metadata(path)
            .map(|found| (found.dev(), found.ino()))
            .ok()
    };
    match (inode(path), inode("/proc/self/ns/user")) {
        (Some(theirs), Some(ours)) => theirs != ours,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn podmans_id_is_found_in_each_of_its_places() {
        for path in [
            format!("/libpod_parent/libpod-{ID}"),
            format!("machine.slice:libpod:{ID}"),
            format!("/machine.slice/libpod-{ID}.scope"),
            format!("/system.slice/x.service/libpod-payload-{ID}"),
        ] {
            let spec = json!({"linux": {"cgroupsPath": path}});
            assert_eq!(Spec(&spec).podman_id(), Some(ID), "{path}");
        }
        let elsewhere = json!({"linux": {"cgroupsPath": "/a/b"}});
        assert_eq!(Spec(&elsewhere).podman_id(), None);
    }

    #[test]
    fn the_shortest_timeout_of_a_hooks_entries_counts() {
        let entry = |path: &str, timeout: Option<u64>| json!({"path": path, "timeout": timeout});
        let spec = json!({"hooks": {
            "prestart": [entry("/usr/bin/oci-mig-hook", Some(30)), entry("/usr/bin/other", Some(1))],
            "createRuntime": [entry("/usr/bin/oci-mig-hook", Some(20)), entry("/usr/bin/oci-mig-hook", Some(0))],
            "poststop": [entry("/usr/bin/oci-mig-hook", Some(2))],
        }});
        let timeout = |name| Spec(&spec).hook_timeout(name);
        assert_eq!(timeout("oci-mig-hook"), Some(Duration::from_secs(20)));
        assert_eq!(timeout("oci-mig"), None);
        let none = json!({"hooks": {"createRuntime": [entry("/usr/bin/oci-mig-hook", None)]}});
        assert_eq!(Spec(&none).hook_timeout("oci-mig-hook"), None);
    }

    #[test]
    fn null_is_absent() {
        let spec = json!({"annotations": null, "linux": {"namespaces": null, "cgroupsPath": ""}});
        assert_eq!(Spec(&spec).annotations().count(), 0);
        assert!(!Spec(&spec).user_namespace());
        assert_eq!(Spec(&spec).cgroups_path(), None);
    }

    #[test]
    fn our_own_user_namespace_is_none() {
        let own = json!({"linux": {"namespaces": [{"type": "user", "path": "/proc/self/ns/user"}]}});
        assert!(!Spec(&own).user_namespace());
        let new = json!({"linux": {"namespaces": [{"type": "pid"}, {"type": "user"}]}});
        assert!(Spec(&new).user_namespace());
    }
}
