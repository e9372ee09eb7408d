//! Whether a container can be kept to its own device. One with CAP_SYS_ADMIN in the initial user namespace has every
//! capability of the driver, and one whose rules allow all devices can open every node.

use serde_json::Value;

use super::Spec;

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
        Allowed::Unsaid if has_capability(spec, "CAP_MKNOD") && !own_users => {
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

/// Which of the container's own rules or devices reaches the drivers of `nodes` (major, minor) beyond those very nodes:
/// another instance's capability, or the right to configure all.
pub fn other_devices(spec: Spec<'_>, nodes: &[(u32, u32)]) -> Option<String> {
    let number = |of: &Value, key: &str| of.get(key).and_then(Value::as_i64).filter(|number| *number >= 0);
    let reaches_others = |of: &Value| {
        let (major, minor) = (number(of, "major"), number(of, "minor"));
        let exact = nodes
            .iter()
            .any(|(a, b)| (Some(i64::from(*a)), Some(i64::from(*b))) == (major, minor));
        let same_driver = nodes
            .iter()
            .any(|(a, _)| major.is_none_or(|major| major == i64::from(*a)));
        same_driver && !exact
    };
    let is_char = |of: &Value| {
        matches!(
            of.get("type").and_then(Value::as_str),
            None | Some("" | "a" | "c" | "u")
        )
    };
    let opens = |rule: &&Value| {
        let allows = rule.get("allow").and_then(Value::as_bool).unwrap_or(false);
        allows && access(rule).is_none_or(|access| access.contains(['r', 'w']))
    };
    // A rule on all devices is not_isolated's matter: a later one may have taken it back.
    let rules = spec
        .array("/linux/resources/devices")
        .filter(opens)
        .filter(|rule| !is_on_all(rule));
    let rule = rules
        .filter(|rule| is_char(rule))
        .find(|rule| reaches_others(rule));
    let device = || {
        spec.array("/linux/devices")
            .filter(|device| is_char(device))
            .find(|device| reaches_others(device))
    };
    rule.map(|rule| format!("its device rule {rule} reaches other NVIDIA devices"))
        .or_else(|| device().map(|device| format!("its device {device} is another of NVIDIA's")))
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
            match rule.get("allow").and_then(Value::as_bool).unwrap_or(false) {
                // The kernel's v1 and runc take `a` for all devices and every access, whatever else the rule says.
                true if is_all_types(rule) => Allowed::Everything,
                // `c *:* m`, which engines give to all, lets a container make nodes, not open them.
                true if is_on_all(rule) && (covers('r') || covers('w')) => Allowed::Everything,
                false if is_on_all(rule) && covers('r') && covers('w') => Allowed::Named,
                _ => so_far,
            }
        })
}

fn access(rule: &Value) -> Option<&str> {
    rule.get("access")
        .and_then(Value::as_str)
        .filter(|access| !access.is_empty())
}

fn is_all_types(rule: &Value) -> bool {
    matches!(rule.get("type").and_then(Value::as_str), None | Some("" | "a"))
}

/// Whether it is on every character device, by its numbers.
fn is_on_all(rule: &Value) -> bool {
    let wild = |key: &str| {
        rule.get(key)
            .and_then(Value::as_i64)
            .is_none_or(|number| number < 0)
    };
    let has_them = is_all_types(rule) || rule.get("type").and_then(Value::as_str) == Some("c");
    has_them && wild("major") && wild("minor")
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
    use serde_json::json;

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

    #[test]
    fn what_reaches_the_same_drivers_must_be_the_very_nodes() {
        let nodes = [(195, 255), (195, 0), (237, 30), (237, 31)];
        let rules = |rules: Value| other_devices(Spec(&spec(json!([]), rules, json!([]))), &nodes);
        assert_eq!(rules(deny()), None);
        let ours = json!({"allow": true, "type": "c", "major": 237, "minor": 30, "access": "r"});
        let console = json!({"allow": true, "type": "c", "major": 5, "minor": 1, "access": "rwm"});
        let blocks = json!({"allow": true, "type": "b", "major": 237, "access": "rwm"});
        let only_makes = json!({"allow": true, "type": "c", "major": 237, "access": "m"});
        assert_eq!(rules(json!([ours, console, blocks, only_makes])), None);
        for other in [
            json!({"allow": true, "type": "c", "major": 237, "access": "rwm"}),
            json!({"allow": true, "type": "c", "major": 237, "minor": 1, "access": "r"}),
            json!({"allow": true, "type": "c", "major": -1, "minor": 1, "access": "r"}),
            json!({"allow": true, "major": 195, "minor": 3}),
        ] {
            assert!(
                rules(json!([other]))
                    .unwrap()
                    .contains("reaches other NVIDIA devices"),
                "{other}"
            );
        }
        let device = |minor: u32| {
            let devices = json!({"linux": {"devices": [{"path": "/dev/x", "type": "c", "major": 237, "minor": minor}]}});
            other_devices(Spec(&devices), &nodes)
        };
        assert_eq!(device(31), None);
        assert!(device(1).unwrap().contains("another of NVIDIA's"));
    }
}
