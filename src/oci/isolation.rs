//! Whether a container can be kept to its own device. One with CAP_SYS_ADMIN in the initial user namespace has every
//! capability of the driver, and one whose rules allow all devices can open every node.

use super::Spec;
use super::rule::{access, allows, is_all_types, is_on_all};

/// Why the container that `spec` describes would have every MIG device of the node; none where it can be kept to its
/// own.
pub fn not_isolated(spec: Spec<'_>) -> Option<String> {
    let own_users = spec.new_user_namespace();
    if has_capability(spec, "CAP_SYS_ADMIN") && !own_users {
        let why =
            "it has CAP_SYS_ADMIN outside a user namespace (--privileged?), and with it every MIG capability";
        return Some(why.to_owned());
    }
    match allowed_devices(spec) {
        Allowed::Everything => Some("its device rules allow every device (--privileged?)".to_owned()),
        Allowed::Unsaid if makes_nodes(spec) => {
            Some("no device rule limits it, and with CAP_MKNOD it can make every node".to_owned())
        }
        Allowed::Unsaid | Allowed::Named => None,
    }
}

/// Why no device rule would hold for that container: it has no cgroup, or none that its engine names. Without one it can
/// open whatever node it can make or is given.
pub fn no_cgroup(spec: Spec<'_>) -> Option<String> {
    let why = "it has no cgroup of its own (--cgroups=disabled?), so no device rule holds";
    spec.cgroups_path().is_none().then(|| why.to_owned())
}

/// Whether no rule on all devices is there: then it depends on the runtime what the container may open. crun lets it open
/// everything.
pub fn says_nothing_of_all(spec: Spec<'_>) -> bool {
    allowed_devices(spec) == Allowed::Unsaid
}

/// Whether the container can make a node of any device: what opens it is another matter.
pub fn makes_nodes(spec: Spec<'_>) -> bool {
    has_capability(spec, "CAP_MKNOD") && !spec.new_user_namespace()
}

#[derive(Debug, PartialEq, Eq)]
enum Allowed {
    /// The last rule on all devices allows them.
    Everything,
    /// The last rule on all devices denies them.
    Named,
    /// There is no rule on all devices: it depends on the runtime, or there is no cgroup at all.
    Unsaid,
}

fn allowed_devices(spec: Spec<'_>) -> Allowed {
    spec.array("/linux/resources/devices")
        .fold(Allowed::Unsaid, |so_far, rule| {
            let covers = |letter: char| access(rule).is_none_or(|access| access.contains(letter));
            match allows(rule) {
                // The kernel's v1 and runc take `a` for all devices and every access, whatever else the rule says.
                true if is_all_types(rule) => Allowed::Everything,
                // `c *:* m`, which engines give to all, lets a container make nodes, not open them.
                true if is_on_all(rule) && (covers('r') || covers('w')) => Allowed::Everything,
                false if is_on_all(rule) && covers('r') && covers('w') => Allowed::Named,
                _ => so_far,
            }
        })
}

/// In any set: the bounding set too, since a program with file capabilities can gain what stands there.
fn has_capability(spec: Spec<'_>, name: &str) -> bool {
    ["bounding", "effective", "permitted", "inheritable", "ambient"]
        .iter()
        .any(|set| {
            spec.array(&format!("/process/capabilities/{set}"))
                .any(|cap| cap.as_str() == Some(name))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(capabilities: Value, rules: Value, namespaces: Value) -> Value {
        json!({
            "process": {"capabilities": {"bounding": capabilities}},
            "linux": {"resources": {"devices": rules}, "namespaces": namespaces},
        })
    }

    fn deny() -> Value {
        json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "access": "m"}])
    }

    #[test]
    fn an_ordinary_container_can_be_isolated() {
        assert_eq!(
            not_isolated(Spec(&spec(json!(["CAP_MKNOD"]), deny(), json!([])))),
            None
        );
        assert_eq!(
            not_isolated(Spec(&spec(json!(null), json!(null), json!(null)))),
            None
        );
    }

    #[test]
    fn a_privileged_one_cannot() {
        let admin = spec(json!(["CAP_SYS_ADMIN"]), deny(), json!([]));
        assert!(not_isolated(Spec(&admin)).unwrap().contains("CAP_SYS_ADMIN"));
        let in_user_namespace = spec(json!(["CAP_SYS_ADMIN"]), deny(), json!([{"type": "user"}]));
        assert_eq!(not_isolated(Spec(&in_user_namespace)), None);
        let all = spec(
            json!([]),
            json!([{"allow": false, "access": "rwm"}, {"allow": true, "access": "rwm"}]),
            json!([]),
        );
        assert!(not_isolated(Spec(&all)).unwrap().contains("every device"));
        let wild = spec(
            json!([]),
            json!([{"allow": true, "type": "c", "major": -1, "minor": -1, "access": "r"}]),
            json!([]),
        );
        assert!(not_isolated(Spec(&wild)).is_some());
        let half_denied = json!([{"allow": true, "access": "rwm"}, {"allow": false, "access": "r"}]);
        assert!(not_isolated(Spec(&spec(json!([]), half_denied, json!([])))).is_some());
    }

    /// Seen on cgroup v1 with runc: after a deny of all, each of these leaves `a *:* rwm` in devices.list.
    #[test]
    fn a_rule_on_all_types_is_on_all_devices_whatever_it_says() {
        for rule in [
            json!({"allow": true, "type": "a", "major": 7, "minor": 0, "access": "r"}),
            json!({"allow": true, "type": "a", "major": 7, "minor": 0, "access": "m"}),
            json!({"allow": true, "major": 7, "minor": 0, "access": "rwm"}),
            json!({"allow": true, "type": "a", "major": -1, "minor": -1, "access": "m"}),
            json!({"allow": true, "access": "m"}),
        ] {
            let rules = json!([{"allow": false, "access": "rwm"}, rule]);
            assert!(
                not_isolated(Spec(&spec(json!([]), rules, json!([])))).is_some(),
                "{rule}"
            );
        }
        let numbered_deny =
            json!([{"allow": true, "access": "rwm"}, {"allow": false, "type": "a", "major": 7, "minor": 0}]);
        assert!(not_isolated(Spec(&spec(json!([]), numbered_deny, json!([])))).is_some());
    }

    #[test]
    fn without_rules_mknod_decides() {
        let unsaid = spec(json!(["CAP_MKNOD"]), json!([]), json!([]));
        assert!(not_isolated(Spec(&unsaid)).unwrap().contains("CAP_MKNOD"));
    }

    #[test]
    fn without_a_cgroup_no_rule_holds() {
        let with = json!({"linux": {"cgroupsPath": "/libpod_parent/x"}});
        assert_eq!(no_cgroup(Spec(&with)), None);
        for without in [
            json!({}),
            json!({"linux": {"cgroupsPath": ""}}),
            json!({"linux": {"cgroupsPath": null}}),
        ] {
            assert!(no_cgroup(Spec(&without)).unwrap().contains("--cgroups=disabled"));
        }
    }
}
